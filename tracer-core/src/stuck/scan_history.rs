//! The history of repeated scans.

use std::collections::HashMap;

use tcpclose_common::TcpState;

use super::observed::ObservedSocket;
use super::poll_history::PollHistory;
use super::socket::{StuckEvent, StuckSocket};
use crate::endpoint::Endpoint;
use crate::types::{EndpointId, Nanos, Role};

/// What the scans so far have shown of each socket. It holds those that the last one has found,
/// some 120 bytes each.
#[derive(Clone, Debug, Default)]
pub struct ScanHistory {
    sockets: HashMap<EndpointId, Scanned>,
    /// Number of the last scan.
    scan: u64,
}

#[derive(Clone, Copy, Debug)]
struct Scanned {
    polls: PollHistory,
    /// Whether a scan has found the socket stuck.
    reported: bool,
    /// The scan that has found it last.
    scan: u64,
}

/// The result of one scan, without the holders of the sockets.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ScanOutcome {
    /// Sockets that are old enough, half-closes at work among them.
    pub old: Vec<StuckSocket>,
    /// The number of younger sockets in CLOSE_WAIT and FIN_WAIT2.
    pub younger: usize,
    /// The younger sockets that may be older than estimated.
    pub possibly_stuck: Vec<StuckSocket>,
    /// Sockets that an earlier scan has found stuck and this one has not found in that state.
    pub gone: Vec<EndpointId>,
}

impl ScanHistory {
    /// Takes in a scan: each socket that was found in one of the states, once. Old are those that
    /// are in their state for at least `min_age`.
    pub fn add(&mut self, sockets: Vec<ObservedSocket>, at: Nanos, min_age: Nanos) -> ScanOutcome {
        self.scan += 1;
        let mut outcome = ScanOutcome::default();
        let known = self.sockets.len();
        self.sockets.reserve(sockets.len().saturating_sub(known));
        for socket in sockets {
            let before = self.sockets.get(&socket.id);
            let polls = PollHistory::new(&socket, at, before.map(|before| &before.polls), None);
            let was_reported = before.is_some_and(|before| before.reported);
            let is_same_state = before.is_some_and(|before| before.polls.state == socket.state);
            let reported = was_reported && is_same_state;
            if was_reported && !is_same_state {
                outcome.gone.push(socket.id);
            }
            let is_old = polls.has_age(at, min_age);
            let scanned = Scanned {
                polls,
                reported: reported || polls.is_stuck(&socket, at, min_age),
                scan: self.scan,
            };
            self.sockets.insert(socket.id, scanned);
            // In other states sockets are young all the time, and without a fault.
            let is_counted = matches!(socket.state, TcpState::CloseWait | TcpState::FinWait2);
            outcome.younger += usize::from(!is_old && is_counted);
            let list = if is_old {
                &mut outcome.old
            } else if PollHistory::may_have_age(&socket, min_age) {
                &mut outcome.possibly_stuck
            } else {
                continue;
            };
            let event = if reported || self.scan == 1 {
                StuckEvent::Ongoing
            } else {
                StuckEvent::Opened
            };
            let verdict = polls.verdict(&socket, at, min_age);
            let endpoint = endpoint(&socket);
            list.push(StuckSocket::new(
                at, event, endpoint, socket, polls.age, verdict,
            ));
        }
        self.sockets.retain(|id, scanned| {
            let is_there = scanned.scan == self.scan;
            if !is_there && scanned.reported {
                outcome.gone.push(*id);
            }
            is_there
        });
        outcome
    }

    /// Forgets a socket that is found to be gone before the next scan.
    pub fn forget(&mut self, id: EndpointId) {
        self.sockets.remove(&id);
    }
}

/// A scan does not see how a connection began.
fn endpoint(socket: &ObservedSocket) -> Endpoint {
    Endpoint {
        id: socket.id,
        netns: socket.netns,
        tuple: socket.tuple,
        role: Role::Unknown,
        initial: None,
        seen_from_start: false,
        opened: None,
        lifetime: None,
        peer: None,
        peer_owner: None,
    }
}
