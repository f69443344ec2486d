//! Prints the lines of `tcpclose watch`, for a live session or a replay.

use std::fs::File;
use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use rustix::termios::tcgetwinsize;

use super::args::{Args, Format};
use crate::clock_offset::ClockOffset;
use crate::notice::notice;
use crate::output::cgroup_names::CgroupNames;
use crate::output::clock::WallClock;
use crate::output::table::loss_message;
use crate::output::writer::{self, DEFAULT_CAPACITY, Line, Writer, WriterEnd};
use crate::session::RawTransition;
use tcpclose_core::filter::ConnectionFilter;
use tcpclose_core::finding::{Finding, Loss, LossLocation};
use tcpclose_core::types::Nanos;

/// The longest time for writing the last lines to a reader that has stopped reading.
pub(super) const FLUSH_DEADLINE: Duration = Duration::from_secs(2);

/// What to do when the reader of the lines is slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WhenFull {
    /// Drop and count the lines that do not fit, because the kernel does not wait.
    Drop,
    /// Wait for the reader, as a replay can.
    Wait,
}

/// Passes the lines that are to be shown to the writer.
pub(super) struct Printer {
    format: Format,
    /// Whether raw transitions are shown instead of findings.
    pub transitions: bool,
    filter: ConnectionFilter,
    pub writer: Writer,
    when_full: WhenFull,
    left: u64,
    /// Whether the output has ended.
    closed: bool,
}

impl Printer {
    pub fn new(
        args: &Args,
        filter: ConnectionFilter,
        clock: ClockOffset,
        cgroups: Box<dyn CgroupNames>,
        when_full: WhenFull,
    ) -> anyhow::Result<Self> {
        let stdout = io::stdout();
        let terminal = stdout.is_terminal();
        let format = match (args.format, args.transitions) {
            (Format::Json, _) => writer::Format::Json,
            (Format::Table, true) => writer::Format::TransitionTable,
            (Format::Table, false) => writer::Format::Table,
        };
        let options = writer::Options {
            clock: WallClock::new(clock),
            cgroups,
            width: if terminal { terminal_width() } else { None },
            colours: terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
            capacity: DEFAULT_CAPACITY,
        };
        // Bypasses std's own buffer, whose lines would count as written.
        let out = File::from(
            stdout
                .as_fd()
                .try_clone_to_owned()
                .context("stdout cannot be used")?,
        );
        let writer = Writer::start(format, options, out).context("starting the writer failed")?;
        Ok(Self {
            format: args.format,
            transitions: args.transitions,
            filter,
            writer,
            when_full,
            left: args.count.unwrap_or(u64::MAX),
            closed: false,
        })
    }

    /// Returns whether nothing more is to be shown.
    pub fn is_done(&self) -> bool {
        self.left == 0 || self.closed
    }

    pub fn show_transition(&mut self, raw: &RawTransition<'_>) {
        if self.transitions && self.left > 0 && self.filter.matches_transition(raw.transition) {
            self.left -= 1;
            self.send(Line::Transition(Box::new(writer::RawTransition {
                transition: *raw.transition,
                in_old: raw.dwell,
            })));
        }
    }

    pub fn show(&mut self, finding: Finding) {
        if let Finding::Loss(loss) = finding {
            self.lost(loss);
        } else if !self.transitions && self.left > 0 && self.filter.matches(&finding) {
            self.left -= 1;
            self.send(Line::Record(finding.into()));
        }
    }

    /// Reports the lines that were dropped because the writer was too slow.
    pub fn show_dropped(&mut self, now: Nanos) {
        let lost = self.writer.take_dropped();
        if lost > 0 {
            self.lost(output_loss(now, lost));
        }
    }

    /// Reports a loss as a warning on stderr, and in JSON as a record, too.
    fn lost(&mut self, loss: Loss) {
        notice!("{}", loss_message(&loss));
        if self.format == Format::Json {
            self.send(Line::Record(Finding::Loss(loss).into()));
        }
    }

    fn send(&mut self, line: Line) {
        match self.when_full {
            WhenFull::Drop => self.writer.send(line),
            WhenFull::Wait => self.closed |= !self.writer.send_waiting(line),
        }
    }

    /// Writes the remaining lines. `waiting` is the number of endpoints that are closed and not
    /// reported yet.
    pub fn finish(self, waiting: usize, now: Nanos) -> anyhow::Result<ExitCode> {
        if waiting > 0 && !self.transitions {
            let of = match self.filter.is_all() {
                true => "",
                false => " (of all connections, not only those asked for)",
            };
            notice!("not shown, as still waiting for the peer's FIN: {waiting} closed{of}");
        }
        let deadline = match self.when_full {
            WhenFull::Drop => FLUSH_DEADLINE,
            WhenFull::Wait => Duration::MAX,
        };
        match self.writer.finish(deadline) {
            Ok(0) => Ok(ExitCode::SUCCESS),
            Ok(lost) => {
                notice!("{}", loss_message(&output_loss(now, lost)));
                Ok(ExitCode::SUCCESS)
            }
            Err(end) => exit_code(end),
        }
    }
}

fn output_loss(at: Nanos, lost: u64) -> Loss {
    Loss {
        at,
        lost,
        location: LossLocation::Output,
        repaired: false,
    }
}

/// Returns success if the reader of the output has gone, which is not a failure; else the error.
pub(super) fn exit_code(end: WriterEnd) -> anyhow::Result<ExitCode> {
    match end {
        WriterEnd::PipeClosed => Ok(ExitCode::SUCCESS),
        WriterEnd::Failed(error) => Err(error).context("writing to stdout failed"),
    }
}

/// Returns the number of columns of the terminal on stdout.
fn terminal_width() -> Option<u16> {
    let columns = tcgetwinsize(io::stdout()).ok()?.ws_col;
    (columns > 0).then_some(columns)
}
