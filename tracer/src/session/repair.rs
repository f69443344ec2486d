//! After a loss a snapshot of all sockets shows which ends are gone and which were never seen. Records go on coming while it
//! is taken, and they are newer than what it shows.

use std::collections::HashSet;

use super::snapshot::Snapshot;
use crate::lifecycle::Input;
use crate::lifecycle::event::Event;
use crate::lifecycle::finding::Loss;
use crate::lifecycle::types::{ConnId, Nanos, NetNs, Tuple};

/// A snapshot costs the kernel a walk over all its sockets.
const PERIOD: Nanos = Nanos::from_secs(10);

/// At most one repair in ten seconds.
#[derive(Default)]
pub(super) struct Repair {
    last: Option<Nanos>,
    under_way: Option<UnderWay>,
}

/// A snapshot that is being taken.
struct UnderWay {
    /// What it is to repair.
    losses: Vec<Loss>,
    /// What the records have told of since it was asked for.
    sockets: HashSet<ConnId>,
    places: HashSet<(NetNs, Tuple)>,
}

impl Repair {
    /// Whether a snapshot is to be taken for these losses, which are told with it.
    pub fn begin(&mut self, losses: &mut Vec<Loss>, at: Nanos) -> bool {
        let rests = self.last.is_some_and(|last| at - last < PERIOD);
        if losses.is_empty() || rests || self.under_way.is_some() {
            return false;
        }
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
            !stirred.contains(&socket.cookie) && !places.contains(&(socket.netns, socket.tuple))
        });
        let repaired = snapshot.unseen.is_empty();
        let alive = Input::Alive {
            namespaces: snapshot.complete,
            alive: snapshot.alive,
            began: snapshot.began,
        };
        let existing = Input::Existing {
            sockets,
            at: snapshot.ended,
        };
        let losses = losses
            .into_iter()
            .map(|loss| Input::Lost(Loss { repaired, ..loss }));
        [alive, existing].into_iter().chain(losses).collect()
    }

    /// Nobody waits for it any more: the losses that it was to be told with.
    pub fn abandon(&mut self) -> Vec<Loss> {
        let under_way = self.under_way.take();
        under_way.map_or_else(Vec::new, |under_way| under_way.losses)
    }
}
