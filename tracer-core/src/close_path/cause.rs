//! Finds why a connection ended abnormally. A cause is one endpoint's own: what the peer did shows
//! in its RST, seldom why.

use tcpclose_common::TcpState;

use super::facts::CloseFacts;
use super::minisocket_outcome::MinisocketOutcome;
use crate::errno::{EACCES, ECONNREFUSED, EHOSTDOWN, EHOSTUNREACH, ENETUNREACH, ETIMEDOUT};
use crate::finding::{Cause, ClosePath, Reset, ResetReason, Side};

impl CloseFacts<'_> {
    /// Returns the cause of a close with this path; `None` where it was orderly or nothing proves
    /// a cause.
    pub(super) fn cause(&self, path: ClosePath, reset: Option<&Reset>) -> Option<Cause> {
        match path {
            ClosePath::ConnectFailed => self.connect_failure(reset),
            ClosePath::Timeout if matches!(self.outcome, MinisocketOutcome::FinTimeout(_)) => {
                Some(Cause::PeerNeverClosed)
            }
            ClosePath::Timeout => {
                own_reset(reset?).filter(|cause| *cause == Cause::KeepaliveTimeout)
            }
            ClosePath::Destroyed => Some(Cause::Destroyed),
            ClosePath::Reset => own_reset(reset?),
            ClosePath::FourWay
            | ClosePath::ThreeWay
            | ClosePath::Simultaneous
            | ClosePath::Unknown => None,
        }
    }

    /// Returns `sk_err` of a connect() that failed.
    pub(super) fn connect_error(&self, path: ClosePath) -> Option<u16> {
        let error = self.last.evidence?.tcp.error;
        (path == ClosePath::ConnectFailed && error != 0).then_some(error)
    }

    fn connect_failure(&self, reset: Option<&Reset>) -> Option<Cause> {
        if self.last.old != TcpState::SynSent {
            return None;
        }
        if let Some(reset) = reset {
            return (reset.by == Side::Peer).then_some(Cause::Refused);
        }
        let evidence = self.last.evidence?;
        match evidence.tcp.error {
            // inet_hash_connect() fails before the socket has a port; the rest of connect() and a
            // later close() find one.
            0 => (self.endpoint.tuple.local_port.is_none() && !evidence.flags.repair)
                .then_some(Cause::NoLocalPort),
            // Something came that the kernel did not take for an answer.
            ETIMEDOUT if evidence.tcp.segs_in > 0 => None,
            ETIMEDOUT => Some(Cause::ConnectTimeout),
            // A RST, whose record may be lost, sets it too; but then a segment has come.
            ECONNREFUSED if evidence.tcp.segs_in > 0 => None,
            // tcp_v4_err(), tcp_v6_err(), or tcp_write_err() with what these or the routing had
            // noted (inet_sk_rebuild_header).
            ECONNREFUSED | EACCES | ENETUNREACH | EHOSTUNREACH | EHOSTDOWN => {
                Some(Cause::Unreachable)
            }
            _ => None,
        }
    }
}

/// Returns the cause of a RST that this host sent.
fn own_reset(reset: &Reset) -> Option<Cause> {
    if reset.by != Side::Local {
        return None;
    }
    match reset.reason? {
        ResetReason::UnreadData => Some(Cause::UnreadData),
        ResetReason::Linger => Some(Cause::Linger),
        ResetReason::DataAfterClose => Some(Cause::DataAfterClose),
        ResetReason::NotAccepted => Some(Cause::NotAccepted),
        ResetReason::Keepalive => Some(Cause::KeepaliveTimeout),
        ResetReason::Destroyed => Some(Cause::Destroyed),
        ResetReason::NoSocket | ResetReason::Timeout | ResetReason::Disconnect => None,
    }
}
