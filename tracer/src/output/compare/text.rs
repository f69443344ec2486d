//! The screen, of at most 80 columns.

use std::fmt::Write as _;

use tcpclose_core::compare::{Group, Host, Pair, Report};
use tcpclose_core::types::Nanos;

use super::verdict_text::ComparedVerdict;
use super::words::{Compared, Recorded};
use crate::output::clock::WallClock;
use crate::output::ladder::{EndpointPair, write_joined_ladder};
use crate::output::numbered_verdict::{NumberedVerdict, TEXT_WIDTH, push_numbered_verdict};
use crate::output::paragraph::push_paragraph;
use crate::output::symbols::Symbols;
use crate::plural::plural;

/// Returns everything but the drawings.
pub(crate) fn compared_text(
    compared: &Compared,
    recorded: &[Recorded; 2],
    colours: bool,
) -> String {
    let mut text = String::new();
    let [a, b] = recorded;
    let command = format!("tcpclose compare {} {} -v", a.file, b.file);
    for (number, verdict) in (1..).zip(&compared.verdicts) {
        let ComparedVerdict {
            what,
            who,
            why,
            advice,
            ..
        } = verdict;
        let shown = NumberedVerdict {
            what,
            who: std::slice::from_ref(who),
            why: Some(why),
            advice: Some(advice),
            command: &command,
        };
        push_numbered_verdict(&mut text, number, &shown, colours);
    }
    for sentence in &compared.translations {
        push_paragraph(&mut text, "", "    ", sentence, TEXT_WIDTH);
    }
    let lists = [
        ("Worth knowing:\n", &compared.notes),
        ("Not seen:\n", &compared.unseen),
    ];
    for (title, sentences) in lists {
        if !sentences.is_empty() {
            text.push_str(title);
        }
        for sentence in sentences {
            push_paragraph(&mut text, "  - ", "    ", sentence, TEXT_WIDTH);
        }
    }
    for (host, source) in Host::BOTH.into_iter().zip(&compared.sources) {
        push_paragraph(&mut text, &format!("{host}  "), "   ", source, TEXT_WIDTH);
    }
    let clocks = format!("{}; {}", compared.joined, compared.clocks);
    push_paragraph(&mut text, "", "", &clocks, TEXT_WIDTH);
    push_paragraph(&mut text, "", "", &conclusion(compared), TEXT_WIDTH);
    text
}

/// The last line.
fn conclusion(compared: &Compared) -> String {
    let of = match compared.is_filtered {
        true => " with the connections that match the filters",
        false => "",
    };
    let count = compared.verdicts.len() as u64;
    match (count, compared.is_complete()) {
        (0, true) => format!("Nothing went wrong between A and B{of}."),
        (0, false) => format!(
            "Nothing was seen to go wrong between A and B{of}, but not everything could be compared."
        ),
        (count, _) => format!(
            "{count} {} wrong between A and B{of}.",
            plural(count, "thing went", "things went")
        ),
    }
}

/// Appends drawings of the connections of each verdict, and with a filter of some that have none.
pub(crate) fn compared_ladders(
    out: &mut Vec<u8>,
    report: &Report,
    is_filtered: bool,
    clock: &WallClock,
    symbols: Symbols,
) {
    if report.same_endpoints > 0 {
        return;
    }
    out.push(b'\n');
    let mut titled = |title: &str, pairs: &mut dyn Iterator<Item = &Pair>| {
        let mut text = String::new();
        push_paragraph(&mut text, "", "", title, TEXT_WIDTH);
        text.push('\n');
        out.extend_from_slice(text.as_bytes());
        for pair in pairs {
            let ends = EndpointPair {
                at: drawn_at(pair),
                left: pair.end(Host::A).as_view(),
                right: pair.end(Host::B).as_view(),
            };
            write_joined_ladder(out, &ends, clock, symbols);
        }
    };
    // A connection with two verdicts is drawn once.
    let mut drawn_pairs: Vec<*const Pair> = Vec::new();
    for (number, group) in (1..).zip(&report.groups) {
        let ComparedVerdict { what, .. } = group.into();
        let mut title = format!("{number}. {what}");
        let pairs: Vec<&Pair> = group.examples.iter().map(|pair| &**pair).collect();
        let is_new = |pair: &&Pair| !drawn_pairs.contains(&std::ptr::from_ref(*pair));
        let new: Vec<&Pair> = pairs.iter().copied().filter(is_new).collect();
        if new.is_empty() {
            title.push_str(": drawn above");
        } else {
            push_left(&mut title, group, new.len());
        }
        titled(&title, &mut new.iter().copied());
        drawn_pairs.extend(pairs.iter().map(|pair| std::ptr::from_ref(*pair)));
    }
    if is_filtered && !report.sound.is_empty() {
        let title = "Connections with which nothing went wrong between A and B:";
        titled(title, &mut report.sound.iter().map(|pair| &**pair));
    }
}

/// Appends how many connections are not drawn.
fn push_left(title: &mut String, group: &Group, drawn: usize) {
    let left = group.count.saturating_sub(drawn as u64);
    if left > 0 {
        let _ = write!(title, " ({drawn} drawn here)");
    }
}

/// Returns when A's end closed, or was opened where it is still open.
fn drawn_at(pair: &Pair) -> Nanos {
    let end = pair.end(Host::A);
    let closed = end.close().map(|close| close.at);
    closed.or(end.endpoint().opened).unwrap_or_default()
}
