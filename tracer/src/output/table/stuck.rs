//! The line of a process whose sockets are stuck, or no longer stuck.

use std::fmt::Write as _;

use unicode_width::UnicodeWidthStr as _;

use super::columns::{PROCESS, Shape};
use super::{CloseTable, Style};
use crate::output::clock::WallClock;
use crate::output::duration::push_with_unit;
use crate::output::forecast_text::push_growth;
use crate::output::stuck_digest::StuckGroup;
use crate::plural::plural;
use tcpclose_core::stuck::{AgeCertainty, OwnerUnknown, StuckSocket};

impl CloseTable {
    /// Appends the line of a process: how many of its sockets are stuck, and how to go on.
    pub fn write_stuck(&mut self, out: &mut Vec<u8>, group: &StuckGroup, clock: &WallClock) {
        self.fill_process(group.latest.owner.as_ref());
        let time = clock.time_of_day(group.at).to_string();
        let process = std::mem::take(&mut self.cells[PROCESS].text);
        let (mut first, mut words) = (time, words(group));
        let column = self.layout.sentence();
        match self.layout.shape {
            Shape::Stacked => {
                first.push(' ');
                words = format!("{process}: {words}");
            }
            Shape::Narrow | Shape::Wide => {
                let _ = write!(first, " {process} ");
                let missing = column.saturating_sub(first.width());
                first.push_str(&" ".repeat(missing));
            }
        }
        let style = match group.stuck {
            0 => Style::Green,
            _ => Style::Red,
        };
        self.write_sentence(out, &first, &" ".repeat(column), &words, style);
    }
}

/// Returns what is to be said of a process's stuck sockets.
fn words(group: &StuckGroup) -> String {
    let StuckGroup {
        at,
        latest,
        stuck,
        oldest,
        resolved,
    } = group;
    let state: &str = latest.socket.state.into();
    let sockets = |count| plural(count, "socket", "sockets");
    if *stuck == 0 {
        let mut text = format!(
            "{resolved} {} no longer stuck in {state}",
            sockets(*resolved)
        );
        if let (1, Some(resolution)) = (resolved, latest.resolution()) {
            let word: &str = resolution.into();
            let _ = write!(text, ": {}", word.replace('_', " "));
        }
        return text;
    }
    let mut text = format!("{stuck} {} stuck in {state}", sockets(*stuck));
    if let Some(oldest) = oldest {
        text.push_str(match (stuck, oldest.known) {
            (1, AgeCertainty::Observed) => " (for ",
            (1, AgeCertainty::Estimated) => " (for ~",
            (_, AgeCertainty::Observed) => " (oldest ",
            (_, AgeCertainty::Estimated) => " (oldest ~",
        });
        push_with_unit(&mut text, *at - oldest.since);
        text.push(')');
    }
    if *resolved > 0 {
        let _ = write!(text, ", {resolved} no longer");
    }
    text.push_str(match latest.owner_unknown {
        Some(OwnerUnknown::NoHolder) => ", no process holds them",
        Some(OwnerUnknown::NotInspectable) => ", no holder was found",
        Some(OwnerUnknown::Closed | OwnerUnknown::Unspecified) | None => "",
    });
    let process = latest.process.as_ref();
    if let Some(forecast) = process.and_then(|owner| owner.forecast.as_ref()) {
        text.push_str(", ");
        push_growth(&mut text, forecast);
    }
    let _ = write!(text, ": {}", command(latest));
    text
}

/// Returns the command that shows more. A name that a shell would change is not in it.
fn command(latest: &StuckSocket) -> String {
    let Some(owner) = &latest.owner else {
        return "tcpclose leaks".to_owned();
    };
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-".contains(byte);
    let begins_plainly = owner.comm.first().is_some_and(u8::is_ascii_alphanumeric);
    match std::str::from_utf8(&owner.comm) {
        Ok(name) if begins_plainly && owner.comm.iter().all(is_plain) => {
            format!("tcpclose leaks {name}")
        }
        _ => format!("tcpclose leaks -p {}", owner.pid),
    }
}
