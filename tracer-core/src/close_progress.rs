//! The events of a close so far: state changes, RSTs, dropped segments.

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;
use tcpclose_common::TcpState;

use super::errno::{self, ECONNABORTED};
use super::event::{Evidence, Segment};
use super::peer::PeerFacts;
use super::stuck::StuckTracking;
use super::types::Nanos;

/// The most state changes that are kept for one close. The longest path has four and repeats are
/// merged; the rest is room for unexpected ones.
pub(super) const MAX_CHANGES: usize = 8;

/// The most dropped segments that are kept for one close. A firewall may drop each try of a FIN.
pub(super) const MAX_DROPPED: usize = 16;

/// The longest time between the RST and the →CLOSE that one kernel function causes; an interrupt
/// may lie between.
pub(super) const MAX_RESET_TO_CLOSE: Nanos = Nanos::from_millis(5);

/// The events of a close so far.
#[derive(Clone, Debug, Default)]
pub(super) struct CloseProgress {
    /// Stored inline up to the number of changes that a usual close has.
    pub changes: SmallVec<[StateChange; 4]>,
    pub fin_retransmits: u32,
    /// When the kernel accepted a RST as the peer's.
    pub reset_received: Option<Nanos>,
    pub reset_sent: Option<ResetSent>,
    /// The FIN or RST that the minisocket received.
    pub minisocket_segment: Option<Segment>,
    /// Whether a hook saw the kernel start a minisocket for the socket.
    pub armed: bool,
    /// Whether the states that were seen do not join, so that at least one transition was missed.
    pub gap: bool,
    /// Whether the exit of the process closed the socket, and no call of close().
    pub closed_by_exit: bool,
    /// The results of probes while the socket is in a state in which it can be stuck.
    pub stuck_tracking: Option<Box<StuckTracking>>,
    /// What the other endpoint has lent, where it was on this host and has closed.
    pub peer_facts: PeerFacts,
    /// The segments that this host dropped before they left.
    pub dropped: Vec<DroppedSegment>,
    /// Whether it dropped more than these.
    pub more_dropped: bool,
}

/// A segment of this endpoint that this host dropped before it left.
#[derive(Clone, Copy, Debug)]
pub(super) struct DroppedSegment {
    pub at: Nanos,
    pub segment: Segment,
    /// The kernel's name of the reason.
    pub reason: Option<&'static str>,
}

/// A RST that this host sent for the connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct ResetSent {
    pub at: Nanos,
    pub kernel_reason: Option<&'static str>,
    /// The segment that the RST answers, if any.
    pub answers: Option<Segment>,
    /// Whether the minisocket sent the RST.
    pub minisocket: bool,
}

/// A state change of a close, with the time spent in the state that was left. Saved endpoints
/// contain it as it is.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct StateChange {
    pub at: Nanos,
    pub old: TcpState,
    pub new: TcpState,
    pub dwell: Option<Nanos>,
    pub evidence: Option<Evidence>,
    /// Whether the change was not seen and follows from a later event, whose time is `at`.
    pub missed: bool,
}

impl StateChange {
    /// Returns whether the kernel put the socket into a FIN_WAIT2 minisocket: its process had
    /// closed it (SOCK_DEAD), and the peer's FIN had not come (tcp_rcv_state_process, __tcp_close).
    /// Other errors than those that end FIN_WAIT2 came earlier.
    pub fn is_parking(&self) -> bool {
        self.old == TcpState::FinWait2
            && self.evidence.is_some_and(|evidence| {
                evidence.flags.dead
                    && !evidence.flags.done
                    && evidence.tcp.error != ECONNABORTED
                    && !errno::is_reset(evidence.tcp.error, self.old)
            })
    }

    /// Returns whether the kernel put the socket into TIME_WAIT by this →CLOSE: the peer's FIN had
    /// come, and the local FIN was acknowledged (tcp_fin, tcp_rcv_state_process).
    pub fn is_time_wait(&self) -> bool {
        self.new == TcpState::Close
            && self.evidence.is_some_and(|evidence| {
                evidence.flags.done
                    && match self.old {
                        TcpState::FinWait2 => true,
                        TcpState::Closing => evidence.all_is_acknowledged(),
                        _ => false,
                    }
            })
    }
}
