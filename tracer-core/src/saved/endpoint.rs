//! An endpoint as it is saved.

use serde::{Deserialize, Serialize};
use tcpclose_common::TcpState;

use crate::close_progress::StateChange;
use crate::kernel_ids::zero_is_none;
use crate::stuck::{Age, Holder, ObservedSocket, OwnerUnknown, PollHistory, Verdict};
use crate::types::{EndpointId, Nanos, NetNs, Role, Tuple};

/// The position of an owner or process in the list of all.
pub(super) type Position = u32;

/// An endpoint, with the owners and processes of all endpoints apart.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct SavedEndpoint {
    pub id: EndpointId,
    #[serde(with = "zero_is_none")]
    pub netns: Option<NetNs>,
    pub tuple: Tuple,
    pub role: Role,
    pub seen_from_start: bool,
    pub state: TcpState,
    pub since: Option<Nanos>,
    pub opened: Option<Nanos>,
    pub iss: Option<u32>,
    pub irs: Option<u32>,
    pub syn_in_bytes_acked: u8,
    /// Restored with `TCP_REPAIR`, so that its role is not known.
    pub repaired: bool,
    pub owner: Option<Position>,
    pub peer: Option<EndpointId>,
    pub closing: Option<Box<SavedProgress>>,
}

/// The events of its close so far.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct SavedProgress {
    pub changes: Vec<StateChange>,
    pub fin_retransmits: u32,
    pub armed: bool,
    pub gap: bool,
    /// Whether this host dropped segments before they left.
    pub has_dropped: bool,
    pub peer_owner: Option<Position>,
    pub stuck: Option<SavedTracking>,
}

/// What probes have shown of a socket that may be stuck.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct SavedTracking {
    pub polls: PollHistory,
    pub reported: Option<SavedStuck>,
}

/// The report that a socket is stuck.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct SavedStuck {
    pub at: Nanos,
    pub socket: ObservedSocket,
    pub age: Age,
    pub verdict: Verdict,
    pub idle_before_fin: Option<Nanos>,
    pub owner: Option<Position>,
    pub owner_unknown: Option<OwnerUnknown>,
    pub holders: Vec<Holder>,
    pub process: Option<(Nanos, Position)>,
    pub peer_owner: Option<Position>,
}

impl SavedEndpoint {
    /// Returns the holders of the socket, if it was reported as stuck.
    pub fn holders(&self) -> &[Holder] {
        let tracking = self
            .closing
            .as_deref()
            .and_then(|saved| saved.stuck.as_ref());
        let reported = tracking.and_then(|tracking| tracking.reported.as_ref());
        reported.map_or(&[], |reported| &reported.holders)
    }

    /// Returns the number of state changes.
    pub fn changes(&self) -> usize {
        let closing = self.closing.as_deref();
        closing.map_or(0, |closing| closing.changes.len())
    }
}
