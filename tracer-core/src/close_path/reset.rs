//! Finds the sender and the cause of a reset.

use tcpclose_common::TcpState;

use super::error::{FinalError, final_error};
use super::minisocket_outcome::MinisocketOutcome;
use crate::close_progress::MAX_RESET_TO_CLOSE;
use crate::errno::ECONNREFUSED;
use crate::event::Evidence;
use crate::finding::{Reset, ResetReason, Side};
use crate::live_endpoint::LiveEndpoint;

/// Returns the sender and the cause of the reset; `None` if the connection was not reset, or if
/// that could not be seen.
pub(super) fn cause(endpoint: &LiveEndpoint, outcome: MinisocketOutcome) -> Option<Reset> {
    let last = endpoint.last_change()?;
    let sent = endpoint.reset_sent();
    let by_local = |reason: Option<ResetReason>| {
        let kernel_reason = sent.and_then(|sent| sent.kernel_reason);
        // The kernel knows best.
        let reason = kernel_reason.and_then(from_kernel).or(reason);
        // TCP_LINGER2 below zero ends the wait for the peer's FIN before it begins: by a RST of its
        // own accord (__tcp_close; SO_LINGER has TCP_STATE), or in answer to the ACK of the FIN.
        let reason = reason.filter(|_| kernel_reason != Some("TCP_ABORT_ON_LINGER"));
        let no_data = sent
            .and_then(|sent| sent.answers)
            .is_some_and(|answered| !answered.has_data());
        let reason = reason.filter(|reason| *reason != ResetReason::DataAfterClose || !no_data);
        Some(Reset {
            by: Side::Local,
            reason,
            kernel_reason,
        })
    };
    match outcome {
        MinisocketOutcome::SeenInTransitions => {}
        MinisocketOutcome::ResetByLocal(at) => {
            // An abort that goes with close() answers nothing.
            let answers = sent.is_some_and(|sent| sent.answers.is_some());
            let answers = answers || at - last.at > MAX_RESET_TO_CLOSE;
            return by_local(answers.then_some(ResetReason::DataAfterClose));
        }
        MinisocketOutcome::ResetByPeer(_) => {
            return Some(Reset {
                by: Side::Peer,
                reason: None,
                kernel_reason: None,
            });
        }
        MinisocketOutcome::PeerFin(_)
        | MinisocketOutcome::FinTimeout(_)
        | MinisocketOutcome::Unseen(_) => {
            return None;
        }
    }
    let evidence = last.evidence.as_ref()?;
    let waited_for_fin = matches!(last.old, TcpState::FinWait1 | TcpState::FinWait2);
    match final_error(endpoint)? {
        FinalError::Destroyed => {
            sent?;
            by_local(Some(ResetReason::Destroyed))
        }
        // tcp_rcv_state_process calls tcp_reset() itself when data comes for a socket that was
        // closed; the RST that goes out is its own.
        FinalError::Reset if sent.is_some() && waited_for_fin => {
            by_local(Some(ResetReason::DataAfterClose))
        }
        FinalError::Reset => Some(Reset {
            by: Side::Peer,
            reason: (evidence.tcp.error == ECONNREFUSED).then_some(ResetReason::NoSocket),
            kernel_reason: None,
        }),
        FinalError::GaveUpOrNoError if follows_close(endpoint) => by_local(abort(evidence)),
        // The keepalive timer sends a RST before it gives up (tcp_keepalive_timer), the
        // retransmission timer does not.
        FinalError::GaveUp | FinalError::GaveUpOrNoError if last.old == TcpState::Established => {
            sent?;
            by_local(Some(ResetReason::Keepalive))
        }
        FinalError::NoError if is_abort(last.old, evidence) => by_local(abort(evidence)),
        // An abort sends no RST here if all has been sent (tcp_disconnect), unless there was
        // unread data (__tcp_close).
        FinalError::NoError if matches!(last.old, TcpState::LastAck | TcpState::Closing) => {
            sent?;
            by_local(abort(evidence))
        }
        FinalError::NoError | FinalError::GaveUp | FinalError::GaveUpOrNoError => {
            sent?;
            by_local(None)
        }
    }
}

/// Returns whether →CLOSE without an error was this host's own abort (tcp_disconnect, __tcp_close)
/// and sent a RST: the state could not have ended by itself just then. In FIN_WAIT2 a socket that a
/// process still holds waits for the peer.
fn is_abort(old: TcpState, evidence: &Evidence) -> bool {
    match old {
        _ if evidence.flags.repair => false,
        TcpState::Established | TcpState::CloseWait => true,
        TcpState::FinWait1 => !evidence.flags.dead,
        TcpState::FinWait2 => !evidence.flags.dead && !evidence.flags.done,
        _ => false,
    }
}

/// Returns whether this host sent a RST of its own accord after →CLOSE, as an abort does; timers
/// send theirs before.
pub(super) fn follows_close(endpoint: &LiveEndpoint) -> bool {
    let closed = endpoint.last_change().map(|last| last.at);
    let sent = endpoint.reset_sent();
    sent.zip(closed)
        .is_some_and(|(sent, closed)| sent.answers.is_none() && sent.at >= closed)
}

/// Returns whether the record of a RST that this host sends may still follow the last transition.
pub(crate) fn may_follow(endpoint: &LiveEndpoint) -> bool {
    let Some((last, error)) = endpoint.last_change().zip(final_error(endpoint)) else {
        return false;
    };
    let Some(evidence) = &last.evidence else {
        return false;
    };
    match (error, last.old) {
        // Data for a closed socket is answered.
        (FinalError::Reset, TcpState::FinWait1 | TcpState::FinWait2) => true,
        (FinalError::GaveUpOrNoError, _) => !evidence.flags.repair,
        // Out of memory for orphans (tcp_out_of_resources), and a listener that is closed over its
        // accept queue (inet_csk_listen_stop).
        (FinalError::NoError, TcpState::FinWait1 | TcpState::SynRecv) => true,
        (FinalError::NoError, TcpState::LastAck | TcpState::Closing) => {
            !evidence.all_is_acknowledged()
        }
        (FinalError::NoError, old) => is_abort(old, evidence),
        _ => false,
    }
}

/// Returns the cause of an abort by this host. __tcp_close checks for unread data first, then for
/// `SO_LINGER`.
fn abort(evidence: &Evidence) -> Option<ResetReason> {
    if evidence.flags.no_socket && !evidence.flags.dead {
        Some(ResetReason::NotAccepted)
    } else if evidence.flags.unread {
        Some(ResetReason::UnreadData)
    } else if evidence.flags.linger_zero {
        Some(ResetReason::Linger)
    } else if evidence.flags.lock_owned && !evidence.flags.no_socket {
        // connect() to AF_UNSPEC
        Some(ResetReason::Disconnect)
    } else {
        None
    }
}

/// Returns the cause for a kernel's own reason, where there is one.
fn from_kernel(name: &'static str) -> Option<ResetReason> {
    match name {
        "TCP_ABORT_ON_CLOSE" => Some(ResetReason::UnreadData),
        "TCP_ABORT_ON_DATA" => Some(ResetReason::DataAfterClose),
        "TCP_KEEPALIVE_TIMEOUT" => Some(ResetReason::Keepalive),
        "TCP_DISCONNECT_WITH_DATA" => Some(ResetReason::Disconnect),
        "NO_SOCKET" => Some(ResetReason::NoSocket),
        _ => None,
    }
}
