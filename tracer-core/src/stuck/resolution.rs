//! The ways in which a socket ceases to be stuck.

use tcpclose_common::TcpState;

use crate::errno::{self, ECONNABORTED, ETIMEDOUT};
use crate::event::Transition;

/// How a socket ceased to be stuck.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, strum::Display, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Resolution {
    /// The application closed it: with close(), shutdown(), or an abort of its own.
    Closed,
    /// The process exited, which closed the last descriptor.
    ProcessExited,
    /// The peer's FIN came.
    PeerClosed,
    /// The peer acknowledged all that was sent.
    Acknowledged,
    /// The peer's RST.
    Reset,
    /// The kernel gave up on the peer.
    Timeout,
    /// `SOCK_DESTROY` (`ss -K`).
    Destroyed,
    /// The end was not seen.
    Unknown,
}

impl Resolution {
    /// Returns how a socket leaves its state by this transition.
    #[must_use]
    pub fn from_transition(transition: &Transition) -> Self {
        let by_process = || match transition.task?.exits? {
            true => Some(Self::ProcessExited),
            false => Some(Self::Closed),
        };
        let flags = transition.evidence.map(|evidence| evidence.flags);
        let by_peer_fin = flags.is_some_and(|flags| flags.done);
        let error = transition.evidence.map(|evidence| evidence.tcp.error);
        let ended = |without_error: Option<Self>| match error {
            Some(0) => without_error,
            Some(ECONNABORTED) => Some(Self::Destroyed),
            Some(ETIMEDOUT) => Some(Self::Timeout),
            Some(error) if errno::is_reset(error, transition.old) => Some(Self::Reset),
            _ => None,
        };
        let end = match (transition.old, transition.new) {
            (TcpState::CloseWait, TcpState::LastAck)
            | (TcpState::Established, TcpState::FinWait1) => by_process(),
            (TcpState::Established, TcpState::CloseWait)
            | (TcpState::FinWait1, TcpState::Closing) => Some(Self::PeerClosed),
            (TcpState::FinWait1, TcpState::FinWait2) => Some(Self::Acknowledged),
            (TcpState::CloseWait | TcpState::Established, TcpState::Close) => ended(by_process()),
            // Into TIME_WAIT; without the peer's FIN into a minisocket, by close().
            (TcpState::FinWait2, TcpState::Close) if by_peer_fin => ended(Some(Self::PeerClosed)),
            (TcpState::FinWait2, TcpState::Close) => ended(by_process()),
            (TcpState::LastAck | TcpState::Closing, TcpState::Close) => {
                ended(Some(Self::Acknowledged))
            }
            (TcpState::FinWait1, TcpState::Close) => ended(None),
            // What led here was lost.
            _ => None,
        };
        end.unwrap_or(Self::Unknown)
    }
}
