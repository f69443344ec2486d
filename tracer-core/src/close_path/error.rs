//! What `sk_err` shows of the end of a connection. An error may have been there before the end:
//! with IP_RECVERR, an ICMP error stays in a connection that lives on (tcp_v4_err, tcp_v6_err).

use tcpclose_common::TcpState;

use crate::errno::{self, ECONNABORTED, ETIMEDOUT};
use crate::live_endpoint::LiveEndpoint;

/// The error that ended a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FinalError {
    /// The connection ended without an error, whatever `sk_err` has held since before.
    NoError,
    /// The kernel took a RST as the peer's (tcp_reset).
    Reset,
    /// `SOCK_DESTROY` (tcp_abort).
    Destroyed,
    /// A timer gave up (tcp_write_err), or ICMP ended a connect().
    GaveUp,
    /// Either a timer gave up, or this host aborted a connection with an earlier error.
    GaveUpOrNoError,
}

/// Returns the error that ended the endpoint; `None` where the evidence is missing.
pub(super) fn final_error(endpoint: &LiveEndpoint) -> Option<FinalError> {
    let last = endpoint.last_change()?;
    let evidence = last.evidence.as_ref()?;
    let error = evidence.tcp.error;
    Some(if endpoint.reset_received().is_some() {
        FinalError::Reset
    } else if error == 0 || last.is_time_wait() || last.is_parking() {
        FinalError::NoError
    } else if last.old == TcpState::LastAck && evidence.all_is_acknowledged() {
        // The ACK of the FIN ends LAST_ACK at once, so nothing else did.
        FinalError::NoError
    } else if error == ECONNABORTED {
        FinalError::Destroyed
    } else if errno::is_reset(error, last.old) {
        FinalError::Reset
    } else if error == ETIMEDOUT || last.old == TcpState::SynSent {
        FinalError::GaveUp
    } else {
        FinalError::GaveUpOrNoError
    })
}
