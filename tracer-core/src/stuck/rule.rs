//! The states in which a socket can be stuck, and what ends each of them.

use tcpclose_common::TcpState;

/// The states in which every socket that stays is looked at. ESTABLISHED is none: an idle
/// connection is no fault, so silent ones are listed on request only.
pub const STUCK_STATES: [TcpState; 5] = [
    TcpState::CloseWait,
    TcpState::FinWait2,
    TcpState::LastAck,
    TcpState::FinWait1,
    TcpState::Closing,
];

/// Returns whether the time in this state is watched from its beginning. In the others of
/// [`STUCK_STATES`] every close is for a moment: those are looked at that have been closing for
/// long.
pub(crate) const fn is_timed_from_entry(state: TcpState) -> bool {
    matches!(state, TcpState::CloseWait)
}

/// What ends a state, and so what is missing where a socket stays in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StuckRule {
    /// CLOSE_WAIT: the application's close(). The kernel has no timer for it.
    Close,
    /// FIN_WAIT2 with a holder, after shutdown(): the peer's FIN, or close(). The kernel's timer
    /// (`tcp_fin_timeout`) begins with close() (`__tcp_close` of net/ipv4/tcp.c).
    PeerFin,
    /// FIN_WAIT1, CLOSING and LAST_ACK: the peer's acknowledgement of what was sent, the FIN
    /// last. The kernel sends again, and gives up after `tcp_orphan_retries` or `tcp_retries2`;
    /// never while the peer answers that its window is closed.
    Acknowledgement,
    /// ESTABLISHED: a sign that the peer is there.
    Silence,
}

impl StuckRule {
    /// Returns the rule of a state; `None` where a socket cannot be stuck.
    pub const fn for_state(state: TcpState) -> Option<Self> {
        match state {
            TcpState::CloseWait => Some(Self::Close),
            TcpState::FinWait2 => Some(Self::PeerFin),
            TcpState::FinWait1 | TcpState::Closing | TcpState::LastAck => {
                Some(Self::Acknowledgement)
            }
            TcpState::Established => Some(Self::Silence),
            TcpState::SynSent
            | TcpState::SynRecv
            | TcpState::TimeWait
            | TcpState::Close
            | TcpState::Listen
            | TcpState::NewSynRecv => None,
        }
    }
}
