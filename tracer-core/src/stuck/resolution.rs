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
        let end = match (transition.old, transition.new) {
            (TcpState::CloseWait, TcpState::LastAck) => by_process(),
            (TcpState::CloseWait, TcpState::Close) => {
                let error = transition.evidence.map(|evidence| evidence.tcp.error);
                match error {
                    Some(0) => by_process(),
                    Some(ECONNABORTED) => Some(Self::Destroyed),
                    Some(ETIMEDOUT) => Some(Self::Timeout),
                    Some(error) if errno::is_reset(error, transition.old) => Some(Self::Reset),
                    _ => None,
                }
            }
            // What led here was lost.
            _ => None,
        };
        end.unwrap_or(Self::Unknown)
    }
}
