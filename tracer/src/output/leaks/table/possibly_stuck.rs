//! Sockets whose age may be underestimated, because the peer has sent something since.

use std::fmt::Write as _;

use super::owner::push_name;
use super::parts::push_top_values;
use crate::output::duration::push_with_unit;
use tcpclose_core::stuck::{OwnerKey, Report, StuckSocket, by_owner};

/// Appends a section with a line for each owner.
pub(super) fn push_possibly_stuck(text: &mut String, report: &Report) {
    let sockets = &report.possibly_stuck;
    if sockets.is_empty() {
        return;
    }
    text.push_str("possibly stuck: the peer sent something within ");
    push_with_unit(text, report.min_age);
    text.push_str(
        " (an answer to keepalive?), so they may be older than estimated; --watch shows their age\n",
    );
    for group in by_owner(sockets) {
        let _ = write!(text, "{:>5} ", group.sockets.len());
        let members = group.sockets.iter().map(|&member| &sockets[member]);
        push_bound(text, report, members);
        match (&group.count.process, group.count.owner) {
            (Some(owner), _) => push_name(text, &owner.process),
            (None, OwnerKey::Process((pid, _))) => drop(write!(text, " {pid:>6}")),
            (None, OwnerKey::Unowned { .. }) => text.push_str("      -"),
        }
        text.push_str("  local ports ");
        push_top_values(text, &group.local_ports);
        text.push_str("; peers ");
        push_top_values(text, &group.peers);
        text.push('\n');
    }
}

/// Appends the greatest possible age of the oldest socket.
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
