//! A close as textbooks draw it, for `tcpclose explain` and `tcpclose compare`: one endpoint left,
//! the other right, their states at the sides, and one paragraph in words.

mod endpoint;
mod joined_words;
mod segments;
#[cfg(test)]
mod tests;
mod words;

use std::fmt::Write as _;

use tcpclose_core::finding::Close;
use tcpclose_core::types::{Certainty, Role};
use unicode_width::UnicodeWidthStr as _;

use super::clock::WallClock;
use super::close_text::push_owner;
use super::duration::push_with_unit;
use super::paragraph::push_paragraph;
use super::symbols::Symbols;
use endpoint::LadderEndpoint;
pub(crate) use joined_words::EndpointPair;
use segments::{Segment, of_both_ends, of_one_endpoint};

/// The columns between the two lines of life.
const WIDTH: usize = 44;
const INDENT: &str = "    ";
/// The columns of the paragraph.
const TEXT_WIDTH: usize = 76;
/// Where the right end's states stand.
const RIGHT_STATES: usize = 58;

/// Appends the drawing of one close, with an empty line behind it.
pub(super) fn write_ladder(out: &mut Vec<u8>, close: &Close, clock: &WallClock, symbols: Symbols) {
    let mut text = String::new();
    push_title(&mut text, close, clock, symbols);
    let end = LadderEndpoint::from_close(close);
    push_drawing(
        &mut text,
        &of_one_endpoint(&close.steps),
        [Some(&end), None],
        symbols,
    );
    let words = words::in_words(close, symbols);
    push_paragraph(&mut text, INDENT, INDENT, &words, TEXT_WIDTH);
    text.push('\n');
    out.extend_from_slice(text.as_bytes());
}

/// Appends the drawing of a connection of which both endpoints were seen, as [`write_ladder`] does.
/// `clock` is the left end's.
pub(crate) fn write_joined_ladder(
    out: &mut Vec<u8>,
    ends: &EndpointPair<'_>,
    clock: &WallClock,
    symbols: Symbols,
) {
    let mut text = String::new();
    push_joined_title(&mut text, ends, clock, symbols);
    let (left, right) = (
        LadderEndpoint::from_view(ends.left),
        LadderEndpoint::from_view(ends.right),
    );
    let segments = of_both_ends(left.steps, right.steps);
    push_drawing(&mut text, &segments, [Some(&left), Some(&right)], symbols);
    let mut words = joined_words::in_words(ends, symbols);
    let is_dotted = |segment: &Segment| segment.known == Certainty::Inferred;
    if segments.iter().any(is_dotted) {
        words.push_str(words::DOTTED);
    }
    if segments.iter().any(is_of_one_end) {
        words.push_str(" Of a segment with ?, the other end's record has nothing.");
    }
    push_paragraph(&mut text, INDENT, INDENT, words.trim(), TEXT_WIDTH);
    text.push('\n');
    out.extend_from_slice(text.as_bytes());
}

/// `17:29:44  mariadb 22626  127.0.0.1:45368 → 127.0.0.1:3306`
fn push_title(text: &mut String, close: &Close, clock: &WallClock, symbols: Symbols) {
    let _ = write!(text, "{}  ", clock.time_of_day(close.at));
    if let Some(owner) = &close.owner {
        push_owner(text, owner, symbols);
        text.push_str("  ");
    }
    let tuple = &close.endpoint.tuple;
    let (local, peer) = (tuple.local().to_string(), tuple.peer().to_string());
    // Two IPv6 addresses have a line of their own.
    if text.width() + local.len() + peer.len() + 3 > TEXT_WIDTH {
        text.push('\n');
        text.push_str(INDENT);
    }
    let arrow = arrow(close.endpoint.role, symbols);
    let _ = writeln!(text, "{local} {arrow} {peer}");
}

/// `17:29:44  mariadb 22626 127.0.0.1:45368 → 127.0.0.1:3306 mariadbd 22599`
fn push_joined_title(
    text: &mut String,
    ends: &EndpointPair<'_>,
    clock: &WallClock,
    symbols: Symbols,
) {
    let EndpointPair { left, right, .. } = ends;
    let _ = write!(text, "{}  ", clock.time_of_day(ends.at));
    if let Some(owner) = left.owner() {
        push_owner(text, owner, symbols);
        text.push(' ');
    }
    let arrow = arrow(left.endpoint().role, symbols);
    let _ = write!(text, "{}", left.endpoint().tuple.local());
    let mut other = format!("{arrow} {}", right.endpoint().tuple.local());
    if let Some(owner) = right.owner() {
        other.push(' ');
        push_owner(&mut other, owner, symbols);
    }
    match text.width() + 1 + other.width() > TEXT_WIDTH {
        true => {
            let _ = writeln!(text, "\n{INDENT}{other}");
        }
        false => {
            let _ = writeln!(text, " {other}");
        }
    }
}

fn arrow(role: Role, symbols: Symbols) -> &'static str {
    match role {
        Role::Client => symbols.connected(),
        Role::Server => symbols.accepted(),
        Role::Unknown => symbols.unknown_role(),
    }
}

/// Appends the segments, with the states of each endpoint at its side.
fn push_drawing(
    text: &mut String,
    segments: &[Segment],
    ends: [Option<&LadderEndpoint<'_>>; 2],
    symbols: Symbols,
) {
    let is_joined = ends.iter().all(Option::is_some);
    let mut sides = ends.map(SideLines::new);
    push_states(text, &mut sides);
    for segment in segments {
        let has_unseen = is_joined && is_of_one_end(segment);
        push_segment(text, segment, has_unseen, symbols);
        let [left, right] = &mut sides;
        left.pass(segment.left.map(|seen| seen.number));
        right.pass(segment.right.map(|seen| seen.number));
        push_states(text, &mut sides);
    }
}

/// Returns whether the other end has nothing of a segment.
const fn is_of_one_end(segment: &Segment) -> bool {
    segment.left.is_none() || segment.right.is_none()
}

/// The states at one side that are still to be drawn.
struct SideLines<'a> {
    end: Option<&'a LadderEndpoint<'a>>,
    drawn: usize,
    /// Which of the end's segments are drawn.
    passed: Vec<bool>,
}

impl<'a> SideLines<'a> {
    fn new(end: Option<&'a LadderEndpoint<'a>>) -> Self {
        Self {
            end,
            drawn: 0,
            passed: vec![false; end.map_or(0, |end| end.steps.len())],
        }
    }

    /// Notes that one of the end's segments is drawn.
    fn pass(&mut self, number: Option<usize>) {
        if let Some(passed) = number.and_then(|number| self.passed.get_mut(number)) {
            *passed = true;
        }
    }

    /// Returns the next state if all segments before it are drawn.
    fn next(&mut self) -> Option<String> {
        let line = self.end?.lines.get(self.drawn)?;
        let before = self.passed.get(..line.after).unwrap_or(&self.passed);
        if before.contains(&false) {
            return None;
        }
        self.drawn += 1;
        let mut text = line.name.to_owned();
        if let Some(dwell) = line.dwell {
            let _ = write!(
                text,
                "{:width$}",
                "",
                width = 14_usize.saturating_sub(line.name.len())
            );
            push_with_unit(&mut text, dwell);
        }
        Some(text)
    }
}

/// Appends the states that are due at both sides.
fn push_states(text: &mut String, [left, right]: &mut [SideLines<'_>; 2]) {
    loop {
        let line = match (left.next(), right.next()) {
            (None, None) => return,
            (Some(left), None) => format!("{INDENT}{left}"),
            (left, Some(right)) => {
                let left = format!("{INDENT}{}", left.unwrap_or_default());
                format!("{left:RIGHT_STATES$}{right}")
            }
        };
        text.push_str(&line);
        text.push('\n');
    }
}

/// Appends a segment; with a `?` at the end that has nothing of it.
fn push_segment(text: &mut String, segment: &Segment, has_unseen: bool, symbols: Symbols) {
    let line = match segment.known {
        Certainty::Observed => symbols.line(),
        Certainty::Inferred => symbols.dots(),
    };
    let flags: &str = segment.flags.into();
    let mut label = format!("{flags:<8}");
    for (name, number) in [("seq", segment.seq), ("ack", segment.ack)] {
        if let Some(number) = number {
            let _ = write!(label, " {name} {number}");
        }
    }
    let label = label.trim_end();
    let rest = WIDTH.saturating_sub(label.len() + 4);
    let run = |length: usize| line.repeat(length);
    let (left, right) = (run(rest / 2), run(rest - rest / 2));
    let bar = symbols.bar();
    let (is_unseen_left, is_unseen_right) = match has_unseen {
        true => (segment.left.is_none(), segment.right.is_none()),
        false => (false, false),
    };
    let mark = |is_unseen, otherwise| if is_unseen { "?" } else { otherwise };
    let (first, last) = match segment.from_left {
        true => (mark(is_unseen_left, ""), mark(is_unseen_right, ">")),
        false => (mark(is_unseen_left, "<"), mark(is_unseen_right, "")),
    };
    // A mark at the tail takes the place of a part of the line.
    let (left, right) = match (segment.from_left, first, last) {
        (true, "?", _) => (run(left.chars().count().saturating_sub(1)), right),
        (false, _, "?") => (left, run(right.chars().count().saturating_sub(1))),
        _ => (left, right),
    };
    let _ = writeln!(
        text,
        "{INDENT}{INDENT}{bar} {first}{left} {label} {right}{last} {bar}"
    );
}
