//! A connection of which both endpoints were seen: what is drawn of it, and what happened, in
//! words.

use std::fmt::Write as _;

use tcpclose_core::compare::EndpointView;
use tcpclose_core::finding::{Close, Initiator, Side};
use tcpclose_core::types::{Nanos, Role};

use super::words::{
    Names, capitalized, path_in_words, push_half_close, push_idle, push_initiator,
    push_retransmits, push_thread,
};
use crate::output::cause_text::cause_text;
use crate::output::symbols::Symbols;

/// The two ends of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EndpointPair<'a> {
    /// When the drawn close took place, by the left end's clock.
    pub at: Nanos,
    pub left: EndpointView<'a>,
    pub right: EndpointView<'a>,
}

impl<'a> EndpointPair<'a> {
    /// Returns two ends on this host: the one that connected is the left one.
    pub fn from_closes(one: &'a Close, other: &'a Close) -> Self {
        let is_right = one.endpoint.role == Role::Server || other.endpoint.role == Role::Client;
        let (left, right) = if is_right { (other, one) } else { (one, other) };
        Self {
            at: one.at.max(other.at),
            left: EndpointView::Closed(left),
            right: EndpointView::Closed(right),
        }
    }
}

/// Returns what happened, without what the drawing needs explained.
pub(super) fn in_words(ends: &EndpointPair<'_>, symbols: Symbols) -> String {
    let EndpointPair { left, right, .. } = *ends;
    let (left_name, right_name) = match (left.endpoint().role, right.endpoint().role) {
        (Role::Client, _) | (_, Role::Server) => ("the client", "the server"),
        (Role::Server, _) | (_, Role::Client) => ("the server", "the client"),
        (Role::Unknown, Role::Unknown) => ("the left end", "the right end"),
    };
    let mut words = String::new();
    let sides = [
        (left, left_name, right_name),
        (right, right_name, left_name),
    ];
    let closed = sides.map(|(end, us, peer)| end.close().map(|close| (close, Names { us, peer })));
    // Who closed first knows best; what is not fully seen is shown by the other end.
    let mut ranked: Vec<(&Close, Names)> = closed.into_iter().flatten().collect();
    ranked.sort_by_key(|(close, _)| {
        let began = matches!(close.initiator, Initiator::Local | Initiator::Both);
        (close.path.is_abnormal().is_none(), !began)
    });
    if let Some((close, names)) = ranked.first() {
        let closes = [left, right].map(EndpointView::close);
        match is_reset_unsent(close, closes) {
            true => {
                let Names { us, peer } = names;
                let _ = write!(words, "A RST reached {us}; the record of {peer} has none.");
            }
            false => words.push_str(&path_in_words(close, *names)),
        }
        push_idle(&mut words, close);
        push_initiator(&mut words, close, *names);
    }
    for (close, Names { us, .. }) in &ranked {
        if let Some(cause) = close.cause {
            let _ = write!(words, " As {us} has it: {}.", cause_text(cause).what);
        }
    }
    for (end, name, _) in sides {
        if end.close().is_none() {
            let _ = write!(words, " {} is still open.", capitalized(&end_of(name)));
        }
    }
    let half_close = |(close, names): &(&Close, Names)| Some((close.half_close?, *names));
    if let Some((half_close, names)) = ranked.iter().find_map(half_close) {
        push_half_close(&mut words, &half_close, names);
    }
    for (close, Names { us, .. }) in &ranked {
        push_retransmits(&mut words, close, &format!(" by {us}"));
    }
    for (end, ..) in sides {
        push_thread(&mut words, end.owner(), symbols);
    }
    push_translations(&mut words, ends, symbols);
    words
}

/// Returns whether an endpoint received a RST, and no endpoint has a record of having sent one.
fn is_reset_unsent(close: &Close, closes: [Option<&Close>; 2]) -> bool {
    let is_by = |close: &Close, side| close.reset.as_ref().is_some_and(|reset| reset.by == side);
    let is_sent = closes
        .into_iter()
        .flatten()
        .any(|close| is_by(close, Side::Local));
    is_by(close, Side::Peer) && !is_sent
}

/// `the client's end`
fn end_of(name: &str) -> String {
    match name.strip_suffix(" end") {
        Some(_) => name.to_owned(),
        None => format!("{name}'s end"),
    }
}

/// Appends the addresses that are others at the other end.
fn push_translations(words: &mut String, ends: &EndpointPair<'_>, symbols: Symbols) {
    let EndpointPair { left, right, .. } = ends;
    let (left, right) = (&left.endpoint().tuple, &right.endpoint().tuple);
    for (own, seen) in [(left.local(), right.peer()), (right.local(), left.peer())] {
        if own != seen {
            let arrow = symbols.connected();
            let _ = write!(words, " NAT: {own} {arrow} {seen} at the other end.");
        }
    }
}
