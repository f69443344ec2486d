//! Endpoints that have not closed yet, for who compares the two ends of a connection.

use tcpclose_common::TcpState;

use super::close_progress::StateChange;
use super::endpoint::Endpoint;
use super::finding::{SegmentFlags, Side, StateDurations, Step, Steps};
use super::live_endpoint::LiveEndpoint;
use super::types::{Certainty, Nanos, SharedOwner};

/// An endpoint that has not closed yet.
#[derive(Clone, Debug, PartialEq)]
pub struct OpenEndpoint {
    /// Addresses, ports, namespace and role.
    pub endpoint: Endpoint,
    /// The process it belongs to, where that is known.
    pub owner: Option<SharedOwner>,
    /// The socket's present state.
    pub state: TcpState,
    /// When it entered that state, where that was seen.
    pub since: Option<Nanos>,
    /// The closing segments so far, as its states show them: without numbers.
    pub steps: Steps,
    /// The states before the present one, as in [`Close::states`](super::finding::Close::states).
    pub states: StateDurations,
}

impl OpenEndpoint {
    /// Returns the live or parked endpoint as it is now.
    pub(super) fn from_live(live: &LiveEndpoint) -> Self {
        let mut changes = live.changes();
        let mut state = live.state;
        let mut since = live.since.get();
        // A parked endpoint has become a minisocket, which is still in FIN_WAIT2.
        if state == TcpState::Close
            && let Some((last, earlier)) = changes.split_last()
        {
            (state, changes) = (last.old, earlier);
            since = earlier.last().map(|change| change.at);
        }
        Self {
            endpoint: live.to_endpoint(None),
            owner: live.owner.clone(),
            state,
            since,
            steps: changes.iter().filter_map(step).collect(),
            states: changes
                .iter()
                .map(|change| (change.old, change.dwell))
                .collect(),
        }
    }
}

/// Returns the segment that a change of state shows.
fn step(change: &StateChange) -> Option<Step> {
    let (from, flags) = match (change.old, change.new) {
        (_, TcpState::FinWait1 | TcpState::LastAck) => (Side::Local, SegmentFlags::FinAck),
        (_, TcpState::CloseWait | TcpState::Closing) => (Side::Peer, SegmentFlags::FinAck),
        (TcpState::FinWait1, TcpState::FinWait2) => (Side::Peer, SegmentFlags::Ack),
        _ => return None,
    };
    // A FIN of this host may wait before it leaves.
    let is_sure = from == Side::Peer
        || change
            .evidence
            .is_some_and(|evidence| evidence.fin_leaves_surely());
    Some(Step {
        from,
        flags,
        seq: None,
        ack: None,
        at: Some(change.at).filter(|_| is_sure && !change.missed),
        known: match is_sure && !change.missed {
            true => Certainty::Observed,
            false => Certainty::Inferred,
        },
    })
}
