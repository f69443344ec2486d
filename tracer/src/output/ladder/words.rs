//! One endpoint's close in words.

use std::fmt::Write as _;

use tcpclose_core::finding::{Cause, Close, ClosePath, HalfClose, Initiator, Side};
use tcpclose_core::types::SharedOwner;

use super::endpoint::{LadderEndpoint, waits};
use crate::output::cause_text::cause_text;
use crate::output::close_text::{MIN_SILENCE, push_owner, thread_text};
use crate::output::duration::push_with_unit;
use crate::output::symbols::Symbols;
use crate::plural::plural;

pub(super) const DOTTED: &str = " Dotted segments are inferred, not observed.";

/// What the two ends are called.
#[derive(Clone, Copy, Debug)]
pub(super) struct Names {
    /// The end that the words are about.
    pub us: &'static str,
    pub peer: &'static str,
}

/// The names where only one endpoint was seen.
const THIS_HOST: Names = Names {
    us: "this host",
    peer: "the peer",
};

/// Returns what happened, as one endpoint has it.
pub(super) fn in_words(close: &Close, symbols: Symbols) -> String {
    let mut words = path_in_words(close, THIS_HOST);
    if let Some(cause) = close.cause {
        words.pop();
        let _ = write!(words, ": {}.", cause_text(cause).what);
    }
    push_idle(&mut words, close);
    push_initiator(&mut words, close, THIS_HOST);
    push_thread(&mut words, close.owner.as_ref(), symbols);
    if let Some(owner) = &close.endpoint.peer_owner {
        words.push_str(" The peer is ");
        push_owner(&mut words, owner, symbols);
        words.push_str(" on this host.");
    }
    if let Some(cause) = close.peer_cause {
        let _ = write!(words, " It says: {}.", cause_text(cause).what);
    }
    if let Some(half_close) = &close.half_close {
        push_half_close(&mut words, half_close, THIS_HOST);
    }
    push_retransmits(&mut words, close, "");
    if LadderEndpoint::from_close(close).has_inferred() {
        words.push_str(DOTTED);
    }
    words
}

/// Appends which thread connected, where that is worth a sentence.
pub(super) fn push_thread(words: &mut String, owner: Option<&SharedOwner>, symbols: Symbols) {
    if let Some(thread) = owner.and_then(|owner| thread_text(owner, symbols)) {
        let _ = write!(words, " The connect() was that of {thread}.");
    }
}

/// Returns how the connection ended, as a sentence.
pub(super) fn path_in_words(close: &Close, Names { us, peer }: Names) -> String {
    let reset_by = close.reset.as_ref().map(|reset| reset.by);
    let words = match close.path {
        ClosePath::FourWay => counted(close, 4, "each side sent its FIN and got its ACK"),
        ClosePath::ThreeWay => counted(close, 3, "the second FIN carried the ACK of the first"),
        ClosePath::Simultaneous => "The FINs of both sides crossed.".to_owned(),
        ClosePath::Reset if close.cause == Some(Cause::FromPath) => {
            "A RST ended the connection.".to_owned()
        }
        ClosePath::Reset => match reset_by {
            Some(Side::Local) => format!("{us} reset the connection."),
            Some(Side::Peer) => format!("{peer} reset the connection."),
            None => "A RST ended the connection.".to_owned(),
        },
        ClosePath::Timeout => format!("{us} gave up waiting for {peer}."),
        ClosePath::Destroyed => format!("{us} ended the connection."),
        ClosePath::ConnectFailed => "The connection was never established.".to_owned(),
        ClosePath::Unknown => "Not all of this close was seen: its path is unknown.".to_owned(),
    };
    capitalized(&words)
}

pub(super) fn push_idle(words: &mut String, close: &Close) {
    if let Some(idle) = close.idle.filter(|idle| *idle >= MIN_SILENCE) {
        words.push_str(" The connection had been silent for ");
        push_with_unit(words, idle);
        words.push('.');
    }
}

/// Appends who closed first, unless the path says that.
pub(super) fn push_initiator(words: &mut String, close: &Close, Names { us, peer }: Names) {
    let reset_by = close.reset.as_ref().map(|reset| reset.by);
    let is_mentioned = matches!(
        (close.initiator, reset_by),
        (Initiator::Local, Some(Side::Local)) | (Initiator::Peer, Some(Side::Peer))
    );
    if close.path == ClosePath::ConnectFailed || is_mentioned {
        return;
    }
    let sentence = match (close.initiator, waits(close)) {
        (Initiator::Local, true) => format!(
            "{us} closed first, so its endpoint goes to TIME_WAIT, normally for 60 s: the last ACK \
             can be sent again, and old segments die out."
        ),
        (Initiator::Local, false) => format!("{us} began to close."),
        (Initiator::Peer, _) => format!("{peer} began to close."),
        (Initiator::Both, _) => "both began to close.".to_owned(),
        (Initiator::Unknown, _) => return,
    };
    let _ = write!(words, " {}", capitalized(&sentence));
}

/// Appends how many segments an endpoint has sent again; `by` is empty, or names it.
pub(super) fn push_retransmits(words: &mut String, close: &Close, by: &str) {
    if let Some(again @ 1..) = close.retransmits {
        let were = plural(again.into(), "segment was", "segments were");
        let _ = write!(
            words,
            " {again} {were} retransmitted{by} in its whole life."
        );
    }
}

/// Returns the words for an orderly close that has so many segments where none is repeated.
fn counted(close: &Close, usual: u32, words: &str) -> String {
    match close.segments {
        Some(count) if count == usual => format!("{count} segments: {words}."),
        Some(count) => format!("{count} segments, with repeated FINs: {words}."),
        None => format!("In an unknown number of segments, {words}."),
    }
}

pub(super) fn push_half_close(
    words: &mut String,
    half_close: &HalfClose,
    Names { us, peer }: Names,
) {
    let _ = match half_close.by {
        Side::Local => write!(words, " For "),
        Side::Peer => write!(words, " After {peer}'s FIN, for "),
    };
    push_with_unit(words, half_close.lasted);
    let HalfClose {
        bytes_sent,
        bytes_received,
        ..
    } = half_close;
    let _ = match half_close.by {
        Side::Local => write!(
            words,
            " {us} was only receiving: {bytes_received} {} came.",
            plural(*bytes_received, "byte", "bytes")
        ),
        Side::Peer => write!(
            words,
            " {us} was only sending: {bytes_sent} {}.",
            plural(*bytes_sent, "byte", "bytes")
        ),
    };
}

/// Returns a sentence with a capital letter at its beginning.
pub(super) fn capitalized(words: &str) -> String {
    let mut rest = words.chars();
    let first = rest.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(rest).collect()
}
