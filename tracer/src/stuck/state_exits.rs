//! When and how sockets left the state in which they were stuck, as a tracing session has seen it.

use std::collections::HashMap;

use tcpclose_core::event::Transition;
use tcpclose_core::stuck::{Resolution, STUCK_STATES};
use tcpclose_core::types::{EndpointId, Nanos};

/// Sockets remembered at most between two scans. How others left is not known.
const MAX_EXITS: usize = 1 << 20;

/// The sockets that left their state since the scan before the last. The scan under way when one
/// left may still show it, so it is the next one that misses it.
#[derive(Debug)]
pub struct StateExits {
    /// A scan reports no socket that stayed for a shorter time.
    min_age: Nanos,
    since_last_scan: HashMap<EndpointId, (Nanos, Resolution)>,
    before: HashMap<EndpointId, (Nanos, Resolution)>,
}

impl StateExits {
    /// Remembers sockets that stayed in their state for at least `min_age`.
    #[must_use]
    pub fn new(min_age: Nanos) -> Self {
        Self {
            min_age,
            since_last_scan: HashMap::new(),
            before: HashMap::new(),
        }
    }

    /// Takes a transition. `stayed`: the time in the old state, where that was seen.
    pub fn record(&mut self, transition: &Transition, stayed: Option<Nanos>) {
        let Transition {
            at, id, old, new, ..
        } = *transition;
        let was_reported = stayed.is_none_or(|stayed| stayed >= self.min_age);
        let has_room = self.since_last_scan.len() < MAX_EXITS;
        if old != new && STUCK_STATES.contains(&old) && was_reported && has_room {
            let left = (at, Resolution::from_transition(transition));
            self.since_last_scan.insert(id, left);
        }
    }

    /// Returns when and how those of these sockets left their state that were seen to.
    #[must_use]
    pub fn exits_of(&self, ids: &[EndpointId]) -> HashMap<EndpointId, (Nanos, Resolution)> {
        let left = |id| self.since_last_scan.get(id).or_else(|| self.before.get(id));
        ids.iter()
            .filter_map(|id| Some((*id, *left(id)?)))
            .collect()
    }

    /// Notes that a scan is over: what two scans have not missed is forgotten.
    pub fn end_scan(&mut self) {
        self.before = std::mem::take(&mut self.since_last_scan);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tcpclose_common::TcpState;
    use tcpclose_common::TcpState::{CloseWait, Established, LastAck};
    use tcpclose_core::event::{Evidence, Task};
    use tcpclose_core::types::{NetNs, Tuple};

    const MINUTE: Nanos = Nanos::from_secs(60);

    fn transition(id: u64, second: u64, old: TcpState, new: TcpState) -> Transition {
        Transition {
            at: Nanos::from_secs(second),
            id: EndpointId(id),
            skaddr: None,
            old,
            new,
            netns: NetNs::new(1),
            tuple: Tuple::from((([10, 0, 0, 1], 80).into(), ([10, 0, 0, 2], 40_000).into())),
            task: Some(Task {
                pid: 9,
                uid: 0,
                cgroup: None,
                comm: [0; 16],
                exits: Some(false),
                thread: None,
            }),
            evidence: Some(Evidence::default()),
        }
    }

    #[test]
    fn only_sockets_that_stayed_long_enough_are_remembered_when_they_leave() {
        let mut state_exits = StateExits::new(MINUTE);
        let mut leave = |id, stayed| {
            state_exits.record(&transition(id, 160, CloseWait, LastAck), stayed);
        };
        leave(1, Some(Nanos::from_secs(59)));
        leave(2, Some(MINUTE));
        // This one was not seen to enter.
        leave(4, None);
        state_exits.record(&transition(5, 160, Established, CloseWait), None);
        state_exits.record(&transition(6, 160, CloseWait, CloseWait), None);
        let all = [1, 2, 3, 4, 5, 6].map(EndpointId);
        let closed = (Nanos::from_secs(160), Resolution::Closed);
        let expected = HashMap::from([(EndpointId(2), closed), (EndpointId(4), closed)]);
        assert_eq!(state_exits.exits_of(&all), expected);
        // A scan that still showed the second.
        state_exits.end_scan();
        assert_eq!(state_exits.exits_of(&all), expected);
    }

    #[test]
    fn exits_older_than_two_scans_are_forgotten() {
        let mut state_exits = StateExits::new(MINUTE);
        state_exits.record(&transition(1, 10, CloseWait, LastAck), None);
        state_exits.end_scan();
        state_exits.end_scan();
        assert!(state_exits.exits_of(&[EndpointId(1)]).is_empty());
    }
}
