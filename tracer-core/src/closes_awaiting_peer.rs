//! Closes by the peer's RST that wait for what the peer's end, on this host, shows of it.

use std::collections::VecDeque;

use foldhash::HashMap;

use super::close_path::MinisocketOutcome;
use super::kernel_timing::RESET_SIGNAL_TIMEOUT;
use super::live_endpoint::LiveEndpoint;
use super::types::{EndpointId, Nanos};

/// How long a close waits for its peer's. The peer's own wait for the record of its RST is as long,
/// and began earlier.
const PEER_CLOSE_TIMEOUT: Nanos = RESET_SIGNAL_TIMEOUT;

/// How long a close waits in all where the peer is still open, and is probed. On a busy host the
/// answer takes a while.
const PEER_PROBE_TIMEOUT: Nanos = Nanos::from_secs(2);

/// The most closes that wait for a probe of their peer. Further ones are reported without.
const MAX_PROBES: usize = 1024;

/// A close that waits for its peer's.
#[derive(Debug)]
pub(super) struct WaitingClose {
    pub endpoint: LiveEndpoint,
    pub outcome: MinisocketOutcome,
    /// When it has closed.
    pub at: Nanos,
    /// Whether its peer is to be probed, or is being probed.
    pub is_probed: bool,
    /// Whether records were lost since it waits.
    pub has_lost_records: bool,
}

/// All closes that wait, by the endpoint's id.
#[derive(Debug, Default)]
pub(super) struct ClosesAwaitingPeer {
    waiting: HashMap<EndpointId, WaitingClose>,
    /// When each one's wait is over, in order. Those that are over already are passed over.
    deadlines: VecDeque<(Nanos, EndpointId)>,
    /// The same for those whose peer is probed.
    probe_deadlines: VecDeque<(Nanos, EndpointId)>,
    /// The peers that are to be probed.
    to_probe: VecDeque<EndpointId>,
}

impl ClosesAwaitingPeer {
    /// Adds a close of that time. Returns an earlier one of the same socket.
    pub fn add(
        &mut self,
        endpoint: LiveEndpoint,
        outcome: MinisocketOutcome,
        at: Nanos,
    ) -> Option<WaitingClose> {
        let id = endpoint.id;
        self.deadlines.push_back((at + PEER_CLOSE_TIMEOUT, id));
        self.waiting.insert(
            id,
            WaitingClose {
                endpoint,
                outcome,
                at,
                is_probed: false,
                has_lost_records: false,
            },
        )
    }

    /// Has the peer of a close probed, which waits for the answer. Returns the close if too many
    /// wait.
    pub fn await_probe(&mut self, waiting: WaitingClose) -> Option<WaitingClose> {
        let id = waiting.endpoint.id;
        let Some(peer) = waiting.endpoint.peer.get() else {
            return Some(waiting);
        };
        if self.probe_deadlines.len() >= MAX_PROBES {
            return Some(waiting);
        }
        let deadline = waiting.at + PEER_PROBE_TIMEOUT;
        self.probe_deadlines.push_back((deadline, id));
        self.to_probe.push_back(peer);
        let waiting = WaitingClose {
            is_probed: true,
            ..waiting
        };
        self.waiting.insert(id, waiting)
    }

    pub fn contains(&self, id: EndpointId) -> bool {
        self.waiting.contains_key(&id)
    }

    pub fn get_mut(&mut self, id: EndpointId) -> Option<&mut LiveEndpoint> {
        Some(&mut self.waiting.get_mut(&id)?.endpoint)
    }

    pub fn remove(&mut self, id: EndpointId) -> Option<WaitingClose> {
        self.waiting.remove(&id)
    }

    /// Removes and returns a close that waits for a probe of this peer, whose answer is as of `at`.
    pub fn remove_probed(
        &mut self,
        id: EndpointId,
        peer: EndpointId,
        at: Nanos,
    ) -> Option<WaitingClose> {
        let waiting = self.waiting.get(&id)?;
        let is_answered = waiting.is_probed
            && waiting.endpoint.peer.get() == Some(peer)
            && at >= waiting.at + PEER_CLOSE_TIMEOUT;
        if is_answered { self.remove(id) } else { None }
    }

    /// Notes that records were lost: the absence of one proves nothing for those that wait.
    pub fn note_loss(&mut self) {
        for waiting in self.waiting.values_mut() {
            waiting.has_lost_records = true;
        }
    }

    /// Removes and returns the next close whose wait is over by `now`.
    pub fn take_due(&mut self, now: Nanos) -> Option<WaitingClose> {
        for (is_probed, deadlines) in [
            (false, &mut self.deadlines),
            (true, &mut self.probe_deadlines),
        ] {
            while let Some((at, id)) = deadlines.pop_front_if(|(at, _)| *at <= now) {
                let is_over = |waiting: &WaitingClose| {
                    waiting.is_probed == is_probed && deadline(waiting) == at
                };
                if self.waiting.get(&id).is_some_and(is_over) {
                    return self.waiting.remove(&id);
                }
            }
        }
        None
    }

    /// Removes and returns any close that waits.
    pub fn take_any(&mut self) -> Option<WaitingClose> {
        self.take_due(Nanos(u64::MAX))
    }

    /// Takes the next peer that is to be probed.
    pub fn take_probe(&mut self) -> Option<EndpointId> {
        self.to_probe.pop_front()
    }

    /// Returns when the next wait is over.
    pub fn next_due(&self) -> Option<Nanos> {
        let probe = self.to_probe.front().map(|_| Nanos(0));
        let deadlines = [self.deadlines.front(), self.probe_deadlines.front()];
        let deadlines = deadlines.into_iter().flatten().map(|(at, _)| *at);
        deadlines.chain(probe).min()
    }
}

fn deadline(waiting: &WaitingClose) -> Nanos {
    waiting.at
        + if waiting.is_probed {
            PEER_PROBE_TIMEOUT
        } else {
            PEER_CLOSE_TIMEOUT
        }
}
