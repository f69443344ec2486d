//! A connection of which both endpoints were seen: what is drawn of it, and what happened, in
//! words.

use std::fmt::Write as _;

use tcpclose_core::finding::{Close, Initiator};
use tcpclose_core::types::{Nanos, Role};

use super::words::{
    Names, path_in_words, push_half_close, push_idle, push_initiator, push_retransmits,
};
use crate::output::cause_text::cause_text;
use crate::output::symbols::Symbols;

/// The two ends of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct JoinedEnds<'a> {
    /// When the drawn close took place, by the left end's clock.
    pub at: Nanos,
    pub left: &'a Close,
    pub right: &'a Close,
}

impl<'a> JoinedEnds<'a> {
    /// Returns two ends on this host: the one that connected is the left one.
    pub fn from_closes(one: &'a Close, other: &'a Close) -> Self {
        let is_right = one.endpoint.role == Role::Server || other.endpoint.role == Role::Client;
        let (left, right) = if is_right { (other, one) } else { (one, other) };
        Self {
            at: one.at.max(other.at),
            left,
            right,
        }
    }
}

/// Returns what happened, without what the drawing needs explained.
pub(super) fn in_words(ends: &JoinedEnds<'_>, symbols: Symbols) -> String {
    let JoinedEnds { left, right, .. } = *ends;
    let (left_name, right_name) = match (left.endpoint.role, right.endpoint.role) {
        (Role::Client, _) | (_, Role::Server) => ("the client", "the server"),
        (Role::Server, _) | (_, Role::Client) => ("the server", "the client"),
        (Role::Unknown, Role::Unknown) => ("the left end", "the right end"),
    };
    let mut words = String::new();
    let sides = [
        (left, left_name, right_name),
        (right, right_name, left_name),
    ];
    // Who closed first knows best; what is not fully seen is shown by the other end.
    let mut tellers = sides.map(|(close, us, peer)| (close, Names { us, peer }));
    tellers.sort_by_key(|(close, _)| {
        let began = matches!(close.initiator, Initiator::Local | Initiator::Both);
        (close.path.is_abnormal().is_none(), !began)
    });
    let [(close, names), _] = tellers;
    words.push_str(&path_in_words(close, names));
    push_idle(&mut words, close);
    push_initiator(&mut words, close, names);
    for (close, Names { us, .. }) in &tellers {
        if let Some(cause) = close.cause {
            let _ = write!(words, " As {us} has it: {}.", cause_text(cause).what);
        }
    }
    let half_close = |(close, names): &(&Close, Names)| Some((close.half_close?, *names));
    if let Some((half_close, names)) = tellers.iter().find_map(half_close) {
        push_half_close(&mut words, &half_close, names);
    }
    for (close, Names { us, .. }) in &tellers {
        push_retransmits(&mut words, close, &format!(" by {us}"));
    }
    push_translations(&mut words, ends, symbols);
    words
}

/// Appends the addresses that are others at the other end.
fn push_translations(words: &mut String, ends: &JoinedEnds<'_>, symbols: Symbols) {
    let JoinedEnds { left, right, .. } = ends;
    let (left, right) = (&left.endpoint.tuple, &right.endpoint.tuple);
    for (own, seen) in [(left.local(), right.peer()), (right.local(), left.peer())] {
        if own != seen {
            let arrow = symbols.connected();
            let _ = write!(words, " NAT: {own} {arrow} {seen} at the other end.");
        }
    }
}
