//! Finds the sender and the cause of a reset.

use tcpclose_common::TcpState;

use super::outcome::Outcome;
use crate::errno::{self, ECONNABORTED, ECONNREFUSED, ETIMEDOUT};
use crate::event::Evidence;
use crate::finding::{Reset, ResetReason, Side};
use crate::live_endpoint::{LiveEndpoint, StateChange};

/// Returns the sender and the cause of the reset; `None` if the connection was not reset, or if
/// that could not be seen.
pub(super) fn cause(endpoint: &LiveEndpoint, outcome: Outcome) -> Option<Reset> {
    let closing = endpoint.closing.as_deref()?;
    let last = closing.changes.last()?;
    let sent = closing.reset_sent;
    let by_us = |reason: Option<ResetReason>| {
        let kernel_reason = sent.and_then(|sent| sent.kernel_reason);
        // The kernel knows best.
        let reason = kernel_reason.and_then(from_kernel).or(reason);
        // With TCP_LINGER2 below zero the mere ACK of the FIN is refused.
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
        Outcome::Seen => {}
        Outcome::ResetByUs(_) => return by_us(Some(ResetReason::DataAfterClose)),
        Outcome::ResetByPeer(_) => {
            return Some(Reset {
                by: Side::Peer,
                reason: None,
                kernel_reason: None,
            });
        }
        Outcome::PeerFin(_) | Outcome::FinTimeout(_) | Outcome::Lost(_) => return None,
    }
    let evidence = last.evidence.as_ref()?;
    let waited_for_fin = matches!(last.old, TcpState::FinWait1 | TcpState::FinWait2);
    match evidence.error {
        ECONNABORTED => sent.and_then(|_| by_us(Some(ResetReason::Destroyed))),
        // tcp_rcv_state_process calls tcp_reset() itself when data comes for a socket that was
        // closed; the RST that goes out is its own.
        error if errno::is_reset(error) && sent.is_some() && waited_for_fin => {
            by_us(Some(ResetReason::DataAfterClose))
        }
        error if errno::is_reset(error) || closing.reset_received.is_some() => Some(Reset {
            by: Side::Peer,
            reason: (error == ECONNREFUSED).then_some(ResetReason::NoSocket),
            kernel_reason: None,
        }),
        // The keepalive timer sends a RST before it gives up (tcp_keepalive_timer), the
        // retransmission timer does not.
        ETIMEDOUT if last.old == TcpState::Established => {
            sent.and_then(|_| by_us(Some(ResetReason::Keepalive)))
        }
        0 if is_abort(last.old, evidence) => by_us(abort(evidence)),
        _ => sent.and_then(|_| by_us(None)),
    }
}

/// Returns whether →CLOSE was this host's own abort (tcp_disconnect, __tcp_close): there was no
/// error, and the state could not have ended by itself just then. In LAST_ACK and CLOSING only the
/// ACK of the FIN ends it; in FIN_WAIT2 a socket that a process still holds waits for the peer.
fn is_abort(old: TcpState, evidence: &Evidence) -> bool {
    match old {
        _ if evidence.error != 0 || evidence.repair => false,
        TcpState::Established | TcpState::CloseWait => true,
        TcpState::FinWait1 => !evidence.dead,
        TcpState::FinWait2 => !evidence.dead && !evidence.done,
        TcpState::LastAck | TcpState::Closing => evidence.snd_una != evidence.write_seq,
        _ => false,
    }
}

/// Returns whether the record of a RST that this host sends may still follow the transition.
pub(crate) fn may_follow(last: &StateChange) -> bool {
    let Some(evidence) = &last.evidence else {
        return false;
    };
    let waiting = matches!(last.old, TcpState::FinWait1 | TcpState::FinWait2);
    is_abort(last.old, evidence)
        // Out of memory for orphans (tcp_out_of_resources), and data for a closed socket.
        || (last.old == TcpState::FinWait1 && evidence.error == 0)
        || (waiting && errno::is_reset(evidence.error))
}

/// Returns the cause of an abort by this host. __tcp_close checks for unread data first, then for
/// `SO_LINGER`.
fn abort(evidence: &Evidence) -> Option<ResetReason> {
    if evidence.no_socket && !evidence.dead {
        Some(ResetReason::NotAccepted)
    } else if evidence.unread {
        Some(ResetReason::UnreadData)
    } else if evidence.linger_zero {
        Some(ResetReason::Linger)
    } else if evidence.owned && !evidence.no_socket {
        // connect() to AF_UNSPEC
        Some(ResetReason::Disconnect)
    } else {
        None
    }
}

/// The kernel's own reason, where it is one of ours.
fn from_kernel(name: &'static str) -> Option<ResetReason> {
    match name {
        "TCP_ABORT_ON_CLOSE" => Some(ResetReason::UnreadData),
        "TCP_ABORT_ON_LINGER" => Some(ResetReason::Linger),
        "TCP_ABORT_ON_DATA" => Some(ResetReason::DataAfterClose),
        "TCP_KEEPALIVE_TIMEOUT" => Some(ResetReason::Keepalive),
        "TCP_DISCONNECT_WITH_DATA" => Some(ResetReason::Disconnect),
        "NO_SOCKET" => Some(ResetReason::NoSocket),
        _ => None,
    }
}
