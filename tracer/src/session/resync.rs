//! After a loss a snapshot of all sockets shows which ends are gone and which were never seen. Records go on coming while it
//! is taken, and they are newer than what it shows.

use std::collections::HashSet;

use super::snapshot::Snapshot;
use tcpclose_core::Input;
use tcpclose_core::event::Event;
use tcpclose_core::finding::Loss;
use tcpclose_core::types::{EndpointId, Nanos, NetNs, Tuple};

/// A snapshot costs the kernel a walk over all its sockets.
const PERIOD: Nanos = Nanos::from_secs(10);

/// At most one repair in ten seconds.
#[derive(Default)]
pub(super) struct Resync {
    last: Option<Nanos>,
    /// Something was lost since.
    owed: bool,
    under_way: Option<UnderWay>,
}

/// A snapshot that is being taken.
struct UnderWay {
    /// What it is to repair.
    losses: Vec<Loss>,
    /// What the records have told of since it was asked for.
    sockets: HashSet<EndpointId>,
    places: HashSet<(Option<NetNs>, Tuple)>,
}

impl Resync {
    /// Whether a snapshot is to be taken, for these losses, which are then told with it, or for earlier ones, which it was
    /// too soon for.
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
            places: HashSet::new(),
        });
        true
    }

    /// A record has come.
    pub fn note(&mut self, event: &Event) {
        let Some(under_way) = &mut self.under_way else {
            return;
        };
        match event {
            Event::Transition(transition) => {
                under_way.sockets.insert(transition.id);
                let place = (transition.netns, transition.tuple);
                under_way.places.insert(place);
            }
            Event::Signal(signal) => {
                under_way.sockets.insert(signal.id);
            }
        }
    }

    /// What the core is to be told of the snapshot.
    pub fn end(&mut self, snapshot: Snapshot) -> Vec<Input> {
        let Some(under_way) = self.under_way.take() else {
            return Vec::new();
        };
        let UnderWay {
            losses,
            sockets: stirred,
            places,
        } = under_way;
        let mut sockets = snapshot.sockets;
        sockets.retain(|socket| {
            !stirred.contains(&socket.cookie)
                && !places.contains(&(Some(socket.netns), socket.tuple))
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

    /// The snapshot could not be taken: returns the losses that it was to be told with. Another one
    /// is taken in its place.
    pub fn fail(&mut self) -> Vec<Loss> {
        self.owed |= self.under_way.is_some();
        self.abandon()
    }

    /// Nobody waits for it any more: the losses that it was to be told with.
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
        let mut repair = Resync::default();
        let begun = Nanos::from_secs(100);
        assert!(repair.begin(&mut vec![LOSS], begun));
        repair.end(snapshot(&[]));
        let mut losses = vec![LOSS];
        let soon = begun + Nanos::from_secs(9);
        assert!(!repair.begin(&mut losses, soon));
        assert_eq!(losses, [LOSS], "it is told at once");
        let later = begun + PERIOD;
        assert!(repair.begin(&mut Vec::new(), later));
        let said = repair.end(snapshot(&[]));
        assert!(!said.iter().any(|input| matches!(input, Input::Lost(_))));
        assert!(!repair.begin(&mut Vec::new(), later + PERIOD));
    }

    #[test]
    fn what_the_records_tell_is_newer_than_the_snapshot() {
        let mut repair = Resync::default();
        let mut losses = vec![LOSS];
        assert!(repair.begin(&mut losses, Nanos(2)));
        assert_eq!(losses, [], "it is told with the repair");
        repair.note(&Event::Signal(Signal {
            at: Nanos(5),
            id: EndpointId(2),
            kind: SignalKind::ResetReceived,
        }));
        let told = repair.end(snapshot(&[1, 2, 3]));
        let [
            Input::Alive { .. },
            Input::SnapshotSocket { sockets, .. },
            Input::Lost(loss),
        ] = &told[..]
        else {
            panic!("{told:?}")
        };
        let cookies: Vec<u64> = sockets.iter().map(|socket| socket.cookie.0).collect();
        assert_eq!(cookies, [1, 3]);
        assert_eq!((loss.lost, loss.repaired), (7, true));
    }

    #[test]
    fn there_is_one_repair_in_ten_seconds_and_no_loss_waits_for_the_next() {
        let mut repair = Resync::default();
        assert!(!repair.begin(&mut Vec::new(), Nanos(1)), "nothing is lost");
        assert!(repair.begin(&mut vec![LOSS], Nanos(2)));
        let mut again = vec![LOSS];
        assert!(!repair.begin(&mut again, Nanos(3)), "one is under way");
        repair.end(snapshot(&[]));
        assert!(!repair.begin(&mut again, Nanos(4)));
        assert_eq!(again.len(), 1, "it is told at once");
        assert!(repair.begin(&mut again, Nanos(2) + PERIOD));
        assert_eq!(repair.abandon(), [LOSS], "the session ends meanwhile");
    }

    #[test]
    fn another_snapshot_is_taken_in_place_of_one_that_failed() {
        let mut repair = Resync::default();
        assert!(repair.begin(&mut vec![LOSS], Nanos(2)));
        assert_eq!(repair.fail(), [LOSS], "nothing has repaired it");
        assert!(!repair.begin(&mut Vec::new(), Nanos(3)));
        assert!(repair.begin(&mut Vec::new(), Nanos(2) + PERIOD));
        repair.end(snapshot(&[]));
        assert_eq!(repair.fail(), []);
        assert!(!repair.begin(&mut Vec::new(), Nanos(2) + PERIOD + PERIOD));
    }
}
