//! A process in words.

use std::fmt::Write as _;

use super::leaks::location_text;
use crate::escape::{cut, push_for_terminal};
use tcpclose_core::process::Process;

/// The most bytes of a command line that are shown.
const MAX_COMMAND_LINE_LEN: usize = 60;

/// Appends `python3 12915`.
pub(super) fn push_process(text: &mut String, process: &Process) {
    push_for_terminal(text, &process.comm);
    let _ = write!(text, " {}", process.pid);
}

/// Appends `python3 12915 (/usr/bin/python3 nopool.py), billing.service`
pub(super) fn push_process_at_length(text: &mut String, process: &Process) {
    push_process(text, process);
    let line = process.arguments().collect::<Vec<_>>().join(&b' ');
    if !line.is_empty() {
        let shown = cut(&line, MAX_COMMAND_LINE_LEN);
        text.push_str(" (");
        push_for_terminal(text, shown);
        if shown.len() < line.len() || process.command_line_cut {
            text.push('…');
        }
        text.push(')');
    }
    let place = location_text(process);
    if !place.is_empty() {
        let _ = write!(text, ", {place}");
    }
}
