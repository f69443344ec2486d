//! Sockets that look young and may be old: what came from the peer since hides it.

use std::fmt::Write as _;

use super::owner::push_name;
use super::push_top;
use crate::output::duration::push_with_unit;
use tcpclose_core::stuck::{OwnerKey, Report, StuckSocket, by_owner};

/// Appends a line for each owner.
pub(super) fn push_possibly_stuck(text: &mut String, report: &Report) {
    let sockets = &report.possibly_stuck;
    if sockets.is_empty() {
        return;
    }
    text.push_str("perhaps stuck: something came from the peer within ");
    push_with_unit(text, report.min_age);
    text.push_str(
        " (an answer to keepalive), so they may be older than they look; --watch tells\n",
    );
    for group in by_owner(sockets) {
        let _ = write!(text, "{:>5} ", group.sockets.len());
        let members = group.sockets.iter().map(|&member| &sockets[member]);
        push_bound(text, report, members);
        match (&group.process, group.owner) {
            (Some(owner), _) => push_name(text, &owner.process),
            (None, OwnerKey::Process((pid, _))) => drop(write!(text, " {pid:>6}")),
            (None, OwnerKey::Nobody { .. }) => text.push_str("      -"),
        }
        text.push_str("  local ports ");
        push_top(text, &group.local_ports);
        text.push_str("; peers ");
        push_top(text, &group.peers);
        text.push('\n');
    }
}

/// Appends how old the oldest may be.
fn push_bound<'a>(
    text: &mut String,
    report: &Report,
    sockets: impl Iterator<Item = &'a StuckSocket>,
) {
    let earliest = sockets.map(|stuck| stuck.age.earliest).min().flatten();
    match earliest {
        Some(earliest) => {
            text.push_str("up to ");
            push_with_unit(text, report.at - earliest);
        }
        None => text.push_str("of any age"),
    }
}
