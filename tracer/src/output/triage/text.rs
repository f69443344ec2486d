//! The screen, of at most 80 columns.

use std::fmt::Write as _;

use super::verdict::{Triage, TriageVerdict};
use crate::output::duration::push_with_unit;
use crate::output::numbered_verdict::{NumberedVerdict, TEXT_WIDTH, push_numbered_verdict};
use crate::output::paragraph::push_paragraph;
use crate::plural::plural;

/// The most gaps that are shown.
const MAX_UNSEEN: usize = 5;

/// Returns everything as text. `is_filtered`: not all connections of the host were judged.
#[must_use]
pub fn triage_text(triage: &Triage, is_filtered: bool, colours: bool) -> String {
    let mut text = String::new();
    for (number, verdict) in (1..).zip(&triage.verdicts) {
        push_verdict(&mut text, number, verdict, colours);
    }
    for sentence in &triage.more {
        push_paragraph(&mut text, "And ", "    ", sentence, TEXT_WIDTH);
    }
    if !triage.unseen.is_empty() {
        text.push_str("Not seen:\n");
        for sentence in triage.unseen.iter().take(MAX_UNSEEN) {
            push_paragraph(&mut text, "  - ", "    ", sentence, TEXT_WIDTH);
        }
        let left = triage.unseen.len().saturating_sub(MAX_UNSEEN);
        if left > 0 {
            let _ = writeln!(text, "  - and {left} more");
        }
    }
    push_paragraph(
        &mut text,
        "",
        "",
        &conclusion(triage, is_filtered),
        TEXT_WIDTH,
    );
    text
}

fn push_verdict(text: &mut String, number: u32, verdict: &TriageVerdict, colours: bool) {
    let TriageVerdict {
        what,
        who,
        why,
        advice,
        command,
        ..
    } = verdict;
    let shown = NumberedVerdict {
        what,
        who,
        why: why.as_deref(),
        advice: advice.as_deref(),
        command,
    };
    push_numbered_verdict(text, number, &shown, colours);
}

/// The last line: how much is wrong, and what was looked at.
fn conclusion(triage: &Triage, is_filtered: bool) -> String {
    let count = triage.verdicts.len() as u64;
    let of = match is_filtered {
        true => "the connections that match the filters",
        false => "TCP closes on this host",
    };
    let mut text = match (count, triage.is_complete()) {
        (0, true) => format!("Nothing is wrong with {of}"),
        (0, false) => {
            format!("Nothing wrong with {of} was seen, but not everything could be examined")
        }
        (count, _) => format!(
            "{count} {} wrong with {of}",
            plural(count, "thing is", "things are")
        ),
    };
    match (triage.span, triage.closes) {
        (Some(span), Some(closes)) => {
            text.push_str(" (watched for ");
            push_with_unit(&mut text, span);
            let _ = write!(
                text,
                ", {closes} {} closed)",
                plural(closes, "connection", "connections")
            );
        }
        _ => text.push_str(" (scans alone: nothing could be traced)"),
    }
    text
}
