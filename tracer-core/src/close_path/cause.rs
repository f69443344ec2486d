//! Finds why a connection ended abnormally. A cause is one endpoint's own: what the peer did shows
//! in its RST, seldom why.

use tcpclose_common::TcpState;

use super::facts::CloseFacts;
use super::idle::passed_by_the_fin;
use super::minisocket_outcome::MinisocketOutcome;
use crate::close_progress::DroppedSegment;
use crate::errno::{EACCES, ECONNREFUSED, EHOSTDOWN, EHOSTUNREACH, ENETUNREACH, ETIMEDOUT};
use crate::finding::{Cause, ClosePath, Reset, ResetReason, Side};
use crate::types::{Nanos, Role};

/// The shortest time without data of this host after which its next data is a new request, and not
/// the rest of one that the peer has refused (an upload that is answered before its end).
const MIN_PAUSE: Nanos = Nanos::from_millis(200);

impl CloseFacts<'_> {
    /// Returns the cause of a close with this path; `None` where it was orderly or nothing proves
    /// a cause.
    pub(super) fn cause(&self, path: ClosePath, reset: Option<&Reset>) -> Option<Cause> {
        if self.end_was_dropped_by_netfilter(path, reset) {
            return Some(Cause::DroppedHere);
        }
        match path {
            ClosePath::ConnectFailed => self.connect_failure(reset),
            ClosePath::Timeout if matches!(self.outcome, MinisocketOutcome::FinTimeout(_)) => {
                Some(Cause::PeerNeverClosed)
            }
            ClosePath::Timeout => self
                .own_reset(reset?)
                .filter(|cause| *cause == Cause::KeepaliveTimeout),
            ClosePath::Destroyed => Some(Cause::Destroyed),
            ClosePath::Reset => self
                .own_reset(reset?)
                .or_else(|| self.keepalive_race(reset?)),
            ClosePath::FourWay
            | ClosePath::ThreeWay
            | ClosePath::Simultaneous
            | ClosePath::Unknown => None,
        }
    }

    /// Returns whether netfilter on this host dropped the RST that ended the connection, or each
    /// FIN until the kernel gave up. (A try that netfilter drops is not counted as sent:
    /// tcp_write_xmit.)
    fn end_was_dropped_by_netfilter(&self, path: ClosePath, reset: Option<&Reset>) -> bool {
        if let Some(dropped) = self.dropped_reset(reset) {
            return dropped.is_by_netfilter();
        }
        path == ClosePath::Timeout
            && self.outcome == MinisocketOutcome::SeenInTransitions
            && !self.fin_was_sent()
            && self.dropped_fins().any(DroppedSegment::is_by_netfilter)
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

impl CloseFacts<'_> {
    /// Returns why the peer answered data with a RST, where it had closed an idle connection before
    /// it saw the data. Crossed comes before stale: what was on its way when the FIN arrived is
    /// answered first.
    ///
    /// A connection is idle when no answer is due: the client has the last word of the server. A
    /// server that owes an answer writes it to a client that would not wait, and a client that has
    /// not got one, or is just sending, writes to a server that refuses to go on; neither used the
    /// connection again.
    fn keepalive_race(&self, reset: &Reset) -> Option<Cause> {
        let fin = self.peer_fin?;
        let (at_fin, end) = (fin.evidence?, self.last.evidence?);
        let restored = self.endpoint.initial.restored;
        if reset.by != Side::Peer || self.endpoint.has_gap() || restored {
            return None;
        }
        // A peer that has only shut down its sending side acknowledges what comes. (The RST's own
        // ACK is not looked at: tcp_validate_incoming comes before tcp_ack.)
        if end.tcp.snd_una != at_fin.tcp.snd_una {
            return None;
        }
        let role = self.endpoint.role;
        if passed_by_the_fin(fin, &at_fin) {
            return (role == Role::Client).then_some(Cause::CrossedKeepalive);
        }
        if at_fin.tcp.snd_una != at_fin.tcp.write_seq
            || self.end_of_data(&end) == at_fin.tcp.snd_nxt
        {
            return None;
        }
        let (sent, received) = (at_fin.since_sent()?, at_fin.since_received()?);
        let is_settled = match role {
            // In one tick, the answer to a request nearly always.
            Role::Client => received <= sent,
            // In one tick, either an answer or the next request.
            Role::Server => sent < received,
            Role::Unknown => false,
        };
        (is_settled && sent >= MIN_PAUSE).then_some(Cause::StaleKeepalive)
    }
}

impl CloseFacts<'_> {
    /// Returns the cause of a RST that this host sent. A process that exits reads nothing more, so
    /// its exit comes before what it had not read and what came later. `SO_LINGER` and the end of
    /// a listener reset in any case.
    fn own_reset(&self, reset: &Reset) -> Option<Cause> {
        if reset.by != Side::Local {
            return None;
        }
        match reset.reason? {
            ResetReason::UnreadData | ResetReason::DataAfterClose
                if self.endpoint.is_closed_by_exit() =>
            {
                Some(Cause::ProcessExited)
            }
            ResetReason::UnreadData => Some(Cause::UnreadData),
            ResetReason::Linger => Some(Cause::Linger),
            ResetReason::DataAfterClose => Some(Cause::DataAfterClose),
            ResetReason::NotAccepted => Some(Cause::NotAccepted),
            ResetReason::Keepalive => Some(Cause::KeepaliveTimeout),
            ResetReason::Destroyed => Some(Cause::Destroyed),
            ResetReason::NoSocket | ResetReason::Timeout | ResetReason::Disconnect => None,
        }
    }
}
