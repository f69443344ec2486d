//! Repairs the core's table after a loss: a snapshot of all sockets shows which endpoints are gone
//! and which were never seen. Records that arrive while the snapshot is taken are newer than the
//! snapshot.

use super::snapshot::SocketSnapshot;
use tcpclose_core::event::Event;
use tcpclose_core::finding::Loss;
use tcpclose_core::types::Nanos;
use tcpclose_core::{Input, SnapshotJoin};

/// The shortest time between two resyncs, because a snapshot makes the kernel iterate over all its
/// sockets.
const MIN_RESYNC_INTERVAL: Nanos = Nanos::from_secs(10);

/// Decides when to resync, and turns a snapshot into inputs of the core.
#[derive(Default)]
pub(super) struct Resync {
    last: Option<Nanos>,
    /// Whether something was lost since the last snapshot was started.
    is_needed: bool,
    under_way: Option<SnapshotUnderWay>,
}

/// A snapshot that is being taken.
struct SnapshotUnderWay {
    /// The losses that the snapshot makes up for.
    losses: Vec<Loss>,
    /// What has arrived since the snapshot was started.
    records: SnapshotJoin,
}

impl Resync {
    /// Returns whether to take a snapshot now, for `losses` or for earlier ones that came too soon
    /// after the last snapshot. If so, takes `losses`, which are reported after the snapshot.
    pub fn begin(&mut self, losses: &mut Vec<Loss>, at: Nanos) -> bool {
        self.is_needed |= !losses.is_empty();
        let rests = self
            .last
            .is_some_and(|last| at - last < MIN_RESYNC_INTERVAL);
        if !self.is_needed || rests || self.under_way.is_some() {
            return false;
        }
        self.is_needed = false;
        self.last = Some(at);
        self.under_way = Some(SnapshotUnderWay {
            losses: std::mem::take(losses),
            records: SnapshotJoin::default(),
        });
        true
    }

    /// Notes the socket of a record that arrives while a snapshot is taken.
    pub fn note(&mut self, event: &Event) {
        if let Some(under_way) = &mut self.under_way {
            under_way.records.note(event);
        }
    }

    /// Asks for a snapshot when one may be taken again.
    pub fn request(&mut self) {
        self.is_needed = true;
    }

    /// Returns the inputs that bring the core up to date with the snapshot.
    pub fn end(&mut self, snapshot: SocketSnapshot) -> Vec<Input> {
        let Some(under_way) = self.under_way.take() else {
            return Vec::new();
        };
        let SnapshotUnderWay { losses, records } = under_way;
        self.is_needed |= records.is_full();
        let repaired = snapshot.unseen.is_empty();
        let alive = Input::AliveSockets {
            namespaces: snapshot.complete,
            alive: snapshot.alive,
            began: snapshot.began,
        };
        let parts = snapshot.parts.into_iter();
        let existing = parts.map(|part| Input::Snapshot {
            sockets: records.untouched(part.sockets),
            at: part.at,
        });
        let losses = losses
            .into_iter()
            .map(|loss| Input::Loss(Loss { repaired, ..loss }));
        let table = std::iter::once(alive).chain(existing);
        table.chain(losses).collect()
    }

    /// Called when the snapshot could not be taken: returns its losses. Another snapshot is taken
    /// later.
    pub fn fail(&mut self) -> Vec<Loss> {
        self.is_needed |= self.under_way.is_some();
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
    use tcpclose_core::event::{Signal, SignalKind};
    use tcpclose_core::finding::LossLocation;
    use tcpclose_core::types::{EndpointId, NetNs, Tuple};
    use tcpclose_core::{SnapshotSocket, SocketKind};

    const LOSS: Loss = Loss {
        at: Nanos(1),
        lost: 7,
        location: LossLocation::Ring,
        repaired: false,
        duration: None,
    };

    fn snapshot(cookies: &[u64]) -> SocketSnapshot {
        let there = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let socket = |&cookie: &u64| SnapshotSocket {
            cookie: EndpointId(cookie),
            netns: NetNs::new(1).expect("it is not 0"),
            tuple: Tuple::from((there(cookie as u16), there(80))),
            state: TcpState::Established,
            kind: SocketKind::Full,
            owner: None,
        };
        SocketSnapshot::from_sockets(Nanos(10), cookies.iter().map(socket).collect())
    }

    #[test]
    fn a_loss_soon_after_a_resync_is_resynced_later() {
        let mut resync = Resync::default();
        let begun = Nanos::from_secs(100);
        assert!(resync.begin(&mut vec![LOSS], begun));
        resync.end(snapshot(&[]));
        let mut losses = vec![LOSS];
        let soon = begun + Nanos::from_secs(9);
        assert!(!resync.begin(&mut losses, soon));
        assert_eq!(losses, [LOSS], "it is reported at once");
        let later = begun + MIN_RESYNC_INTERVAL;
        assert!(resync.begin(&mut Vec::new(), later));
        let inputs = resync.end(snapshot(&[]));
        assert!(!inputs.iter().any(|input| matches!(input, Input::Loss(_))));
        assert!(!resync.begin(&mut Vec::new(), later + MIN_RESYNC_INTERVAL));
    }

    #[test]
    fn records_take_precedence_over_the_snapshot() {
        let mut resync = Resync::default();
        let mut losses = vec![LOSS];
        assert!(resync.begin(&mut losses, Nanos(2)));
        assert_eq!(losses, [], "it is reported after the resync");
        resync.note(&Event::Signal(Signal {
            at: Nanos(5),
            id: EndpointId(2),
            kind: SignalKind::ResetReceived,
        }));
        let inputs = resync.end(snapshot(&[1, 2, 3]));
        let [
            Input::AliveSockets { .. },
            Input::Snapshot { sockets, .. },
            Input::Loss(loss),
        ] = &*inputs
        else {
            panic!("{inputs:?}")
        };
        let cookies: Vec<u64> = sockets.iter().map(|socket| socket.cookie.0).collect();
        assert_eq!(cookies, [1, 3]);
        assert_eq!((loss.lost, loss.repaired), (7, true));
    }

    #[test]
    fn resyncs_are_ten_seconds_apart_and_losses_are_reported_at_once() {
        let mut resync = Resync::default();
        assert!(!resync.begin(&mut Vec::new(), Nanos(1)), "nothing is lost");
        assert!(resync.begin(&mut vec![LOSS], Nanos(2)));
        let mut again = vec![LOSS];
        assert!(!resync.begin(&mut again, Nanos(3)), "one is under way");
        resync.end(snapshot(&[]));
        assert!(!resync.begin(&mut again, Nanos(4)));
        assert_eq!(again.len(), 1, "it is reported at once");
        assert!(resync.begin(&mut again, Nanos(2) + MIN_RESYNC_INTERVAL));
        assert_eq!(resync.abandon(), [LOSS], "the session ends meanwhile");
    }

    #[test]
    fn another_snapshot_is_taken_in_place_of_one_that_failed() {
        let mut resync = Resync::default();
        assert!(resync.begin(&mut vec![LOSS], Nanos(2)));
        assert_eq!(resync.fail(), [LOSS], "no snapshot has made up for it");
        assert!(!resync.begin(&mut Vec::new(), Nanos(3)));
        assert!(resync.begin(&mut Vec::new(), Nanos(2) + MIN_RESYNC_INTERVAL));
        resync.end(snapshot(&[]));
        assert_eq!(resync.fail(), []);
        assert!(!resync.begin(
            &mut Vec::new(),
            Nanos(2) + MIN_RESYNC_INTERVAL + MIN_RESYNC_INTERVAL
        ));
    }
}
