//! Sockets that look young and may be old: what came from the peer since hides it.

use std::fmt::Write as _;

use super::owner::push_name;
use super::push_tally;
use crate::output::duration::push_with_unit;
use crate::stuck::{Owner, Report};
use tcpclose_core::stuck::{Leak, group};

/// A line for each owner.
pub(super) fn push_perhaps(text: &mut String, report: &Report) {
    if report.hidden.is_empty() {
        return;
    }
    text.push_str("perhaps stuck: something came from the peer within ");
    push_with_unit(text, report.min_age);
    text.push_str(
        " (an answer to keepalive), so they may be older than they look; --watch tells\n",
    );
    for group in group(&report.hidden, |leak| report.owner(leak)) {
        let _ = write!(text, "{:>5} ", group.leaks.len());
        push_bound(
            text,
            report,
            group.leaks.iter().map(|&at| &report.hidden[at]),
        );
        match report.process(group.owner) {
            Some(process) => push_name(text, process),
            None => match group.owner {
                Owner::Process(pid) => drop(write!(text, " {pid:>6}")),
                Owner::Nobody { .. } => text.push_str("      -"),
            },
        }
        text.push_str("  local ports ");
        push_tally(text, &group.local_ports);
        text.push_str("; peers ");
        push_tally(text, &group.peers);
        text.push('\n');
    }
}

/// How old the oldest may be.
fn push_bound<'a>(text: &mut String, report: &Report, leaks: impl Iterator<Item = &'a Leak>) {
    let earliest = leaks.map(|leak| leak.age.earliest).min().flatten();
    match earliest {
        Some(earliest) => {
            text.push_str("up to ");
            push_with_unit(text, report.at - earliest);
        }
        None => text.push_str("of any age"),
    }
}
