//! Prints the lines of `tcpclose watch`, for a live session or a replay.

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;

use super::args::{Shown, WatchArgs};
use crate::cgroup_names::CgroupNames;
use crate::cli::common::{EXIT_FAILED, EXIT_FOUND, FLUSH_TIMEOUT};
use crate::clock_offset::ClockOffset;
use crate::notice::notice;
use crate::output::Format;
use crate::output::abnormal_tally::AbnormalTally;
use crate::output::clock::WallClock;
use crate::output::loss_message;
use crate::output::terminal;
use crate::output::unbuffered_stdout::unbuffered_stdout;
use crate::output::writer::{self, DEFAULT_CAPACITY, Line, Writer, WriterEnd};
use crate::plural::plural;
use crate::record::RawTransition;
use tcpclose_core::filter::ConnectionFilter;
use tcpclose_core::finding::{Finding, Loss, LossLocation};
use tcpclose_core::types::Nanos;

/// What to do when the reader of the lines is slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SlowReaderPolicy {
    /// Drop and count the lines that do not fit, because the kernel does not wait.
    Drop,
    /// Wait for the reader, as a replay can.
    Wait,
}

/// Passes the lines that are to be shown to the writer.
pub(super) struct LinePrinter {
    format: Format,
    /// Whether raw transitions are shown instead of findings.
    pub transitions: bool,
    filter: ConnectionFilter,
    shown: Shown,
    /// Counts abnormal closes, where only those are shown.
    tally: Option<Arc<Mutex<AbnormalTally>>>,
    /// Closes that may have been abnormal: their path is unknown.
    unknown: u64,
    /// What was lost.
    lost: u64,
    pub writer: Writer,
    slow_reader: SlowReaderPolicy,
    left: u64,
    /// Whether the output has ended.
    closed: bool,
}

impl LinePrinter {
    pub fn new(
        args: &WatchArgs,
        filter: ConnectionFilter,
        clock: ClockOffset,
        cgroups: Box<dyn CgroupNames>,
        slow_reader: SlowReaderPolicy,
    ) -> anyhow::Result<Self> {
        // The writer alone knows which lines it leaves out, so it counts those that it writes.
        let (left, limit) = match filter.containers.is_all() {
            true => (args.count.unwrap_or(u64::MAX), None),
            false => (u64::MAX, args.count),
        };
        let tally: Option<Arc<Mutex<AbnormalTally>>> =
            (args.shown == Shown::Abnormal).then(Arc::default);
        let options = writer::Options {
            clock: WallClock::new(clock),
            cgroups,
            containers: filter.containers.clone(),
            limit,
            transitions: args.transitions,
            ladders: args.shown == Shown::Ladders,
            tally: tally.clone(),
            width: terminal::width(),
            colours: args.output.has_colours(),
            capacity: DEFAULT_CAPACITY,
        };
        let out = unbuffered_stdout().context("stdout cannot be used")?;
        let writer = Writer::start(args.output.format(), options, out)
            .context("starting the writer failed")?;
        Ok(Self {
            format: args.output.format(),
            transitions: args.transitions,
            filter,
            shown: args.shown,
            tally,
            unknown: 0,
            lost: 0,
            writer,
            slow_reader,
            left,
            closed: false,
        })
    }

    /// Returns whether nothing more is to be shown.
    pub fn is_done(&self) -> bool {
        self.left == 0 || self.closed
    }

    pub fn show_transition(&mut self, raw: &RawTransition) {
        if self.transitions && self.left > 0 && self.filter.matches_transition(&raw.transition) {
            self.left -= 1;
            self.send(Line::Transition(Box::new(*raw)));
        }
    }

    pub fn show(&mut self, finding: Finding) {
        if let Finding::Loss(loss) = finding {
            self.lost(loss);
        } else if !self.transitions && self.left > 0 && self.filter.matches(&finding) {
            match self.is_wanted_kind(&finding) {
                Some(true) => {
                    self.left -= 1;
                    self.send(Line::Record(finding.into()));
                }
                Some(false) => {}
                None => self.unknown += 1,
            }
        }
    }

    /// Returns whether findings of this kind are shown; `None` for a close that may be an abnormal
    /// one where only those are.
    fn is_wanted_kind(&self, finding: &Finding) -> Option<bool> {
        match (self.shown, finding) {
            (Shown::Everything, _) | (Shown::Ladders, Finding::Close(_)) => Some(true),
            (Shown::Abnormal, Finding::Close(close)) => close.path.is_abnormal(),
            _ => Some(false),
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
        self.lost += loss.lost;
        if self.format == Format::Json {
            self.send(Line::Record(Finding::Loss(loss).into()));
        }
    }

    fn send(&mut self, line: Line) {
        match self.slow_reader {
            SlowReaderPolicy::Drop => self.writer.send(line),
            SlowReaderPolicy::Wait => self.closed |= !self.writer.send_waiting(line),
        }
    }

    /// Writes the remaining lines. `waiting` is the number of endpoints that are closed and not
    /// reported yet.
    pub fn finish(self, waiting: usize, now: Nanos) -> anyhow::Result<ExitCode> {
        if waiting > 0 && !self.transitions {
            let of = match self.filter.is_all() {
                true => "",
                false => " (of all connections, not only those that match the filters)",
            };
            notice!(
                "not shown because they still wait for the peer's FIN: {waiting} {}{of}",
                plural(waiting as u64, "close", "closes")
            );
        }
        let deadline = match self.slow_reader {
            SlowReaderPolicy::Drop => FLUSH_TIMEOUT,
            SlowReaderPolicy::Wait => Duration::MAX,
        };
        match self.writer.finish(deadline) {
            Ok(0) => {}
            Ok(lost) => notice!("{}", loss_message(&output_loss(now, lost))),
            Err(end) => failure(end)?,
        }
        Ok(show_tally(self.tally.as_deref(), self.unknown, self.lost))
    }

    /// Ends after the output has; `end` is why.
    pub fn finish_ended(self, end: WriterEnd) -> anyhow::Result<ExitCode> {
        failure(end)?;
        Ok(show_tally(self.tally.as_deref(), self.unknown, self.lost))
    }
}

/// Shows the groups of abnormal closes, if only those were shown; returns the exit code that
/// answers whether there were any.
fn show_tally(tally: Option<&Mutex<AbnormalTally>>, unknown: u64, lost: u64) -> ExitCode {
    let Some(tally) = tally else {
        return ExitCode::SUCCESS;
    };
    if unknown > 0 {
        notice!(
            "{unknown} {} an unknown path, and may have been abnormal",
            plural(unknown, "close has", "closes have")
        );
    }
    let text = tally
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .to_text();
    let Some(text) = text else {
        notice!("no connection was seen to close abnormally");
        return match (unknown, lost) {
            (0, 0) => ExitCode::SUCCESS,
            _ => ExitCode::from(EXIT_FAILED),
        };
    };
    // Beside the lines where people read them, and never among those for programs.
    let _ = match terminal::width() {
        Some(_) => write!(io::stdout().lock(), "\n{text}"),
        None => write!(io::stderr().lock(), "{text}"),
    };
    ExitCode::from(EXIT_FOUND)
}

fn output_loss(at: Nanos, lost: u64) -> Loss {
    Loss {
        at,
        lost,
        location: LossLocation::Output,
        repaired: false,
    }
}

/// Returns the error that ended the output: that its reader has gone, or has got all lines that it
/// asked for, is none.
fn failure(end: WriterEnd) -> anyhow::Result<()> {
    match end {
        WriterEnd::PipeClosed | WriterEnd::LimitReached => Ok(()),
        WriterEnd::Failed(error) => Err(error).context("writing to stdout failed"),
    }
}
