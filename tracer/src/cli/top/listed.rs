//! Which endpoints are listed.

use tcpclose_common::TcpState;
use tcpclose_core::types::SharedOwner;

/// The most endpoints of one service that are listed.
pub(super) const MAX_SOCKETS: usize = 1_000;
/// The most endpoints that close now that are listed.
pub(super) const MAX_CLOSING: usize = 500;

/// Returns whether an endpoint in this state closes.
pub(super) fn closes_now(state: TcpState, _: Option<&SharedOwner>) -> bool {
    matches!(
        state,
        TcpState::FinWait1
            | TcpState::FinWait2
            | TcpState::Closing
            | TcpState::CloseWait
            | TcpState::LastAck
    )
}
