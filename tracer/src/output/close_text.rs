//! How a connection closed, in words: what tables and groups of closes share.

use std::fmt;
use std::fmt::Write as _;

use tcpclose_common::TcpState;
use tcpclose_core::finding::{Cause, Close, ClosePath, Initiator, Reset, ResetReason, Side};
use tcpclose_core::types::{Nanos, OwnerSource, SharedOwner};

use super::cause_text::cause_text;
use super::duration::push_with_unit;
use super::symbols::Symbols;
use crate::escape::push_for_terminal;
use crate::plural::plural;

/// The shortest silence before a close that is worth a word.
pub(super) const MIN_SILENCE: Nanos = Nanos::from_secs(1);

/// How a connection closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct CloseSummary {
    /// What happened: `reset by peer`.
    pub what: &'static str,
    /// Why, where that is known and `what` does not say it.
    pub why: Option<&'static str>,
}

impl CloseSummary {
    /// The columns that have room for every `what`.
    pub const WIDTH: usize = 21;
    /// The columns that have room for every `what` with every cause.
    pub const MAX_WIDTH: usize = 34;

    /// Returns how a connection closed.
    pub fn from_close(close: &Close) -> Self {
        let cause = close.cause.map(|cause| cause_text(cause).short);
        let reset_by = close.reset.as_ref().map(|reset| reset.by);
        let (what, why) = match (close.path, reset_by, close.initiator) {
            (ClosePath::Reset, Some(Side::Local), _) => ("reset by us", cause),
            (ClosePath::Reset, ..) if close.cause == Some(Cause::FromPath) => {
                ("reset from the path", None)
            }
            (ClosePath::Reset, Some(Side::Peer), _) => {
                let at_peer = close.peer_cause.map(|cause| cause_text(cause).short);
                ("reset by peer", cause.or(at_peer))
            }
            (ClosePath::Reset, None, _) => ("reset", cause),
            (ClosePath::Timeout, ..) => (cause.unwrap_or("timed out"), None),
            (ClosePath::Destroyed, ..) => (cause.unwrap_or("destroyed"), None),
            (ClosePath::ConnectFailed, ..) => (cause.unwrap_or("connect failed"), None),
            (ClosePath::Unknown, ..) => ("not fully seen", cause),
            (ClosePath::Simultaneous, ..) | (_, _, Initiator::Both) => ("closed by both", cause),
            (_, _, Initiator::Local) => ("closed by us", cause),
            (_, _, Initiator::Peer) => ("closed by peer", cause),
            (_, _, Initiator::Unknown) => ("closed", cause),
        };
        let why = why.or_else(|| match close.path {
            ClosePath::Reset if close.cause.is_none() => close.reset.as_ref().and_then(reason),
            _ => None,
        });
        Self { what, why }
    }
}

impl fmt::Display for CloseSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.what)?;
        self.why.map_or(Ok(()), |why| write!(f, ": {why}"))
    }
}

/// Returns the reason of a reset that has no cause of its own.
fn reason(reset: &Reset) -> Option<&'static str> {
    let words = match reset.reason {
        Some(ResetReason::UnreadData) => "unread data",
        Some(ResetReason::Linger) => "linger",
        Some(ResetReason::NoSocket) => "no socket",
        Some(ResetReason::NotAccepted) => "not accepted",
        Some(ResetReason::DataAfterClose) => "data after close",
        Some(ResetReason::Keepalive) => "keepalive timeout",
        Some(ResetReason::Timeout) => "timeout",
        Some(ResetReason::Destroyed) => "destroyed",
        Some(ResetReason::Disconnect) => "disconnect",
        None => return reset.kernel_reason,
    };
    Some(words)
}

/// Returns what else is known of a close that went wrong, as the parts of a sentence.
pub(super) fn details(close: &Close, symbols: Symbols) -> Vec<String> {
    let mut parts = Vec::new();
    if close.path.is_abnormal() != Some(true) {
        return parts;
    }
    if let Some(idle) = close.idle.filter(|idle| *idle >= MIN_SILENCE) {
        let mut text = "idle for ".to_owned();
        push_with_unit(&mut text, idle);
        parts.push(text);
    }
    parts.extend(last_phase(close));
    if close.path != ClosePath::ConnectFailed {
        parts.extend(bytes(close));
    }
    parts.extend(unacknowledged(close));
    parts.extend(sent_again(close));
    if let Some(peer) = &close.endpoint.peer_owner {
        let mut text = "the peer is ".to_owned();
        push_owner(&mut text, peer, symbols);
        text.push_str(" on this host");
        parts.push(text);
    }
    parts
}

/// Returns the bytes that the peer had not acknowledged, if there are any.
fn unacknowledged(close: &Close) -> Option<String> {
    let lost = close.lost.filter(|lost| lost.unacknowledged > 0)?;
    let size = Size(lost.unacknowledged.into());
    Some(format!("{size} not acknowledged"))
}

/// Returns the segments that were retransmitted, if there are any.
pub(super) fn sent_again(close: &Close) -> Option<String> {
    let again = close.retransmits.filter(|again| *again > 0)?;
    let segments = plural(again.into(), "segment", "segments");
    Some(format!("{again} {segments} sent again"))
}

/// Returns how long after a FIN the connection ended.
fn last_phase(close: &Close) -> Option<String> {
    let span_in = |wanted: &[TcpState]| {
        let spans = close.states.iter();
        let mut spans = spans.filter(|(state, _)| wanted.contains(state));
        spans.try_fold(Nanos(0), |sum, (_, span)| Some(sum + (*span)?))
    };
    let (last, _) = close.states.last()?;
    let (span, after) = match last {
        TcpState::CloseWait => (span_in(&[TcpState::CloseWait])?, "the peer's FIN"),
        TcpState::FinWait1 | TcpState::FinWait2 => {
            let waits = [TcpState::FinWait1, TcpState::FinWait2];
            (span_in(&waits)?, "our FIN")
        }
        TcpState::LastAck | TcpState::Closing => (span_in(&[*last])?, "both FINs"),
        _ => return None,
    };
    let mut text = String::new();
    push_with_unit(&mut text, span);
    let _ = write!(text, " after {after}");
    Some(text)
}

/// Returns the bytes in each direction, as far as they are known, and those after a FIN.
pub(super) fn bytes(close: &Close) -> Option<String> {
    let half = close.half_close.as_ref();
    let later = half.and_then(|half| match half.by {
        Side::Peer if half.bytes_sent > 0 => Some((half.bytes_sent, "after the peer's FIN")),
        Side::Local if half.bytes_received > 0 => Some((half.bytes_received, "after our FIN")),
        _ => None,
    });
    let later = later.map_or(String::new(), |(count, when)| {
        format!(" ({} {when})", Size(count))
    });
    if (close.bytes.sent, close.bytes.received) == (Some(0), Some(0)) {
        return Some("no data either way".to_owned());
    }
    let text = match (close.bytes.sent.map(Size), close.bytes.received.map(Size)) {
        (Some(sent), Some(received)) => format!("{sent} sent, {received} received{later}"),
        (Some(sent), None) => format!("{sent} sent{later}"),
        (None, Some(received)) => format!("{received} received{later}"),
        (None, None) => return None,
    };
    Some(text)
}

/// A number of bytes, in at most 6 columns below a thousand TB: `27 B`, `1.5 kB`, `640 MB`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size(pub u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
        if self.0 < 1_000 {
            return write!(f, "{} B", self.0);
        }
        let mut scale = 1_000;
        let mut units = UNITS.iter();
        let mut unit = units.next().unwrap_or(&"");
        // What is rounded up to a thousand belongs to the next unit.
        while self.0.saturating_add(scale / 2) / scale >= 1_000 {
            let Some(next) = units.next() else { break };
            (scale, unit) = (scale * 1_000, next);
        }
        let tenths = self.0.saturating_add(scale / 20) / (scale / 10);
        match tenths {
            ..100 => write!(f, "{}.{} {unit}", tenths / 10, tenths % 10),
            _ => write!(f, "{} {unit}", self.0.saturating_add(scale / 2) / scale),
        }
    }
}

/// Appends `python3 7524`, in parentheses where the process was found through the listening socket
/// only: another one may have accepted.
pub(super) fn push_owner(text: &mut String, owner: &SharedOwner, symbols: Symbols) {
    let (open, close) = owner_marks(owner);
    let _ = write!(
        text,
        "{open}{} {}{close}",
        shown_comm(owner, symbols),
        owner.pid
    );
}

/// Returns the thread that called connect(): `thread pool-3 7531`. `None` for the first thread of
/// its process, of which the process says enough.
pub(super) fn thread_text(owner: &SharedOwner, symbols: Symbols) -> Option<String> {
    let thread = owner.further_thread()?;
    let mut name = String::new();
    push_for_terminal(&mut name, thread.name());
    let name = symbols.show(&name);
    Some(format!("thread {name} {}", thread.id))
}

/// Returns what stands before and after an owner.
pub(super) fn owner_marks(owner: &SharedOwner) -> (&'static str, &'static str) {
    match owner.source {
        OwnerSource::Listen => ("(", ")"),
        _ => ("", ""),
    }
}

/// Returns the name of a process as it is shown.
pub(super) fn shown_comm(owner: &SharedOwner, symbols: Symbols) -> String {
    let mut name = String::new();
    push_for_terminal(&mut name, &owner.comm);
    symbols.show(&name).into_owned()
}
