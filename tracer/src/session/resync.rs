//! Repairs the core's table after a loss: a snapshot of all sockets shows which endpoints are gone
//! and which were never seen. Records that arrive while the snapshot is taken are newer than the
//! snapshot.

use std::collections::HashSet;

use super::snapshot::Snapshot;
use tcpclose_core::Input;
use tcpclose_core::event::Event;
use tcpclose_core::finding::Loss;
use tcpclose_core::types::{EndpointId, Nanos, NetNs, Tuple};

/// The shortest time between two resyncs, because a snapshot makes the kernel iterate over all its
/// sockets.
const PERIOD: Nanos = Nanos::from_secs(10);

/// Decides when to resync, and turns a snapshot into inputs of the core.
#[derive(Default)]
pub(super) struct Resync {
    last: Option<Nanos>,
    /// Whether something was lost since the last snapshot was started.
    owed: bool,
    under_way: Option<UnderWay>,
}

/// A snapshot that is being taken.
struct UnderWay {
    /// The losses that the snapshot makes up for.
    losses: Vec<Loss>,
    /// The sockets in the records that arrived since the snapshot was started.
    sockets: HashSet<EndpointId>,
    /// The addresses and ports of those sockets.
    tuples: HashSet<(Option<NetNs>, Tuple)>,
}

impl Resync {
    /// Returns whether to take a snapshot now, for `losses` or for earlier ones that came too soon
    /// after the last snapshot. If so, takes `losses`, which are reported after the snapshot.
    pub fn begin(&mut self, losses: &mut Vec<Loss>, at: Nanos) -> bool {
        self.owed |= !losses.is_empty();
        let rests = self.last.is_some_and(|last| at - last < PERIOD);
        if !self.owed || rests || self.under_way.is_some() {
            return false;
        }
        self.owed = false;
        self.last = Some(at);
        self.under_way = Some(UnderWay {
            losses: std::mem::take(losses),
            sockets: HashSet::new(),
            tuples: HashSet::new(),
        });
        true
    }

    /// Notes the socket of a record that arrives while a snapshot is taken.
    pub fn note(&mut self, event: &Event) {
        let Some(under_way) = &mut self.under_way else {
            return;
        };
        match event {
            Event::Transition(transition) => {
                under_way.sockets.insert(transition.id);
                let tuple = (transition.netns, transition.tuple);
                under_way.tuples.insert(tuple);
            }
            Event::Signal(signal) => {
                under_way.sockets.insert(signal.id);
            }
        }
    }

    /// Returns the inputs that bring the core up to date with the snapshot.
    pub fn end(&mut self, snapshot: Snapshot) -> Vec<Input> {
        let Some(under_way) = self.under_way.take() else {
            return Vec::new();
        };
        let UnderWay {
            losses,
            sockets: newer,
            tuples,
        } = under_way;
        let mut sockets = snapshot.sockets;
        sockets.retain(|socket| {
            !newer.contains(&socket.cookie) && !tuples.contains(&(Some(socket.netns), socket.tuple))
        });
        let repaired = snapshot.unseen.is_empty();
        let alive = Input::Alive {
            namespaces: snapshot.complete,
            alive: snapshot.alive,
            began: snapshot.began,
        };
        let existing = Input::SnapshotSocket {
            sockets,
            at: snapshot.ended,
        };
        let losses = losses
            .into_iter()
            .map(|loss| Input::Lost(Loss { repaired, ..loss }));
        [alive, existing].into_iter().chain(losses).collect()
    }

    /// Called when the snapshot could not be taken: returns its losses. Another snapshot is taken
    /// later.
    pub fn fail(&mut self) -> Vec<Loss> {
        self.owed |= self.under_way.is_some();
        self.abandon()
    }

    /// Gives up the snapshot that is being taken, and returns its losses.
    pub fn abandon(&mut self) -> Vec<Loss> {
        let under_way = self.under_way.take();
        under_way.map_or_else(Vec::new, |under_way| under_way.losses)
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use tcpclose_common::TcpState;

    use super::*;
    use tcpclose_core::SnapshotSocket;
    use tcpclose_core::event::{Signal, SignalKind};
    use tcpclose_core::finding::LossLocation;

    const LOSS: Loss = Loss {
        at: Nanos(1),
        lost: 7,
        location: LossLocation::Ring,
        repaired: false,
    };

    fn snapshot(cookies: &[u64]) -> Snapshot {
        let there = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let socket = |&cookie: &u64| SnapshotSocket {
            cookie: EndpointId(cookie),
            netns: NetNs::new(1).expect("it is not 0"),
            tuple: Tuple::from((there(cookie as u16), there(80))),
            state: TcpState::Established,
            left: None,
            owner: None,
        };
        Snapshot::of(Nanos(10), cookies.iter().map(socket).collect())
    }

    #[test]
    fn what_is_lost_too_soon_after_a_repair_is_repaired_later() {
        let mut resync = Resync::default();
        let begun = Nanos::from_secs(100);
        assert!(resync.begin(&mut vec![LOSS], begun));
        resync.end(snapshot(&[]));
        let mut losses = vec![LOSS];
        let soon = begun + Nanos::from_secs(9);
        assert!(!resync.begin(&mut losses, soon));
        assert_eq!(losses, [LOSS], "it is told at once");
        let later = begun + PERIOD;
        assert!(resync.begin(&mut Vec::new(), later));
        let inputs = resync.end(snapshot(&[]));
        assert!(!inputs.iter().any(|input| matches!(input, Input::Lost(_))));
        assert!(!resync.begin(&mut Vec::new(), later + PERIOD));
    }

    #[test]
    fn what_the_records_tell_is_newer_than_the_snapshot() {
        let mut resync = Resync::default();
        let mut losses = vec![LOSS];
        assert!(resync.begin(&mut losses, Nanos(2)));
        assert_eq!(losses, [], "it is told with the repair");
        resync.note(&Event::Signal(Signal {
            at: Nanos(5),
            id: EndpointId(2),
            kind: SignalKind::ResetReceived,
        }));
        let inputs = resync.end(snapshot(&[1, 2, 3]));
        let [
            Input::Alive { .. },
            Input::SnapshotSocket { sockets, .. },
            Input::Lost(loss),
        ] = &inputs[..]
        else {
            panic!("{inputs:?}")
        };
        let cookies: Vec<u64> = sockets.iter().map(|socket| socket.cookie.0).collect();
        assert_eq!(cookies, [1, 3]);
        assert_eq!((loss.lost, loss.repaired), (7, true));
    }

    #[test]
    fn there_is_one_repair_in_ten_seconds_and_no_loss_waits_for_the_next() {
        let mut resync = Resync::default();
        assert!(!resync.begin(&mut Vec::new(), Nanos(1)), "nothing is lost");
        assert!(resync.begin(&mut vec![LOSS], Nanos(2)));
        let mut again = vec![LOSS];
        assert!(!resync.begin(&mut again, Nanos(3)), "one is under way");
        resync.end(snapshot(&[]));
        assert!(!resync.begin(&mut again, Nanos(4)));
        assert_eq!(again.len(), 1, "it is told at once");
        assert!(resync.begin(&mut again, Nanos(2) + PERIOD));
        assert_eq!(resync.abandon(), [LOSS], "the session ends meanwhile");
    }

    #[test]
    fn another_snapshot_is_taken_in_place_of_one_that_failed() {
        let mut resync = Resync::default();
        assert!(resync.begin(&mut vec![LOSS], Nanos(2)));
        assert_eq!(resync.fail(), [LOSS], "nothing has repaired it");
        assert!(!resync.begin(&mut Vec::new(), Nanos(3)));
        assert!(resync.begin(&mut Vec::new(), Nanos(2) + PERIOD));
        resync.end(snapshot(&[]));
        assert_eq!(resync.fail(), []);
        assert!(!resync.begin(&mut Vec::new(), Nanos(2) + PERIOD + PERIOD));
    }
}
