//! Prints the lines of `tcpclose watch`, for a live session or a replay.

use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context as _;

use super::args::{Shown, WatchArgs};
use super::endpoint_joiner::{AwaitedEndpoints, Drawn};
use super::heartbeat::{self, Heartbeat, Reasons};
use super::summary::Summary;
use crate::cgroup_names::CgroupNames;
use crate::cli::common::FLUSH_TIMEOUT;
use crate::clock_offset::ClockOffset;
use crate::established::established;
use crate::filter::args::FilterArgs;
use crate::notice::notice;
use crate::output::Format;
use crate::output::clock::WallClock;
use crate::output::close_tally::CloseTally;
use crate::output::json::JsonOptions;
use crate::output::loss_message;
use crate::output::stuck_digest::StuckDigest;
use crate::output::symbols::Symbols;
use crate::output::table::TableOptions;
use crate::output::terminal;
use crate::output::unbuffered_stdout::unbuffered_stdout;
use crate::output::writer::{self, DEFAULT_CAPACITY, Line, View, Writer, WriterEnd};
use crate::plural::plural;
use crate::record::RawTransition;
use crate::session::{Session, Source};
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
    view: View,
    filter: ConnectionFilter,
    filter_args: FilterArgs,
    shown: Shown,
    /// Whether the ends of TIME_WAITs are shown.
    shows_time_waits: bool,
    summary: Summary,
    /// Closes that were not shown.
    hidden: u64,
    stuck: StuckDigest,
    awaited: AwaitedEndpoints,
    heartbeat: Option<Heartbeat>,
    reasons: Reasons,
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
        let closes = &args.closes;
        // The writer alone knows which lines it leaves out, so it counts those that it writes.
        let (left, limit) = match filter.containers.is_all() {
            true => (closes.count.unwrap_or(u64::MAX), None),
            false => (u64::MAX, closes.count),
        };
        let (format, view, shown) = (args.table.output.format(), args.view(), args.shown);
        let symbols = match args.ascii {
            true => Symbols::Ascii,
            false => terminal::symbols(),
        };
        let has_summary = match shown {
            Shown::Everything => format == Format::Table && view == View::Closes,
            Shown::Abnormal => true,
            Shown::Ladders => false,
        };
        // Orderly closes are not among the abnormal ones, and whose container they are in the
        // writer alone knows.
        let is_selection =
            filter.selects_endings() || (shown == Shown::Abnormal && !filter.containers.is_all());
        let tally = match is_selection {
            true => CloseTally::new(symbols).of_selection(),
            false => CloseTally::new(symbols),
        };
        let tally = has_summary.then(|| Arc::new(Mutex::new(tally)));
        let options = writer::Options {
            clock: WallClock::new(clock),
            cgroups,
            containers: filter.containers.clone(),
            limit,
            view,
            tally: tally.clone(),
            terminal: terminal::size,
            table: TableOptions {
                whole_lines: args.table.wide,
                verbose: args.table.verbose > 0,
                colours: args.table.output.has_colours(),
                symbols,
            },
            json: JsonOptions {
                pair_key: closes.pair_key.clone().unwrap_or_default().read()?,
                ..JsonOptions::default()
            },
            capacity: DEFAULT_CAPACITY,
        };
        let out = unbuffered_stdout().context("stdout cannot be used")?;
        let writer = Writer::start(format, options, out).context("starting the writer failed")?;
        let filters = [closes.filters.described(), closes.paths.described()].concat();
        Ok(Self {
            format,
            view,
            filter,
            filter_args: closes.filters.clone(),
            shown,
            shows_time_waits: format == Format::Json || args.table.verbose > 0,
            summary: Summary::new(tally, shown == Shown::Abnormal, format),
            hidden: 0,
            stuck: StuckDigest::default(),
            awaited: AwaitedEndpoints::default(),
            heartbeat: None,
            reasons: Reasons {
                abnormal_only: shown == Shown::Abnormal,
                filters: (!filters.is_empty()).then(|| filters.join(" and ")),
                hint: closes.filters.hint(),
                ..Reasons::default()
            },
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

    /// Returns whether raw transitions are shown instead of findings.
    pub fn wants_transitions(&self) -> bool {
        self.view == View::Transitions
    }

    pub fn show_transition(&mut self, raw: &RawTransition) {
        if self.wants_transitions() && self.filter.matches_transition(&raw.transition) {
            self.send_line(Line::Transition(Box::new(*raw)));
        }
    }

    pub fn show(&mut self, finding: Finding) {
        if let Finding::Loss(loss) = finding {
            return self.lost(loss);
        }
        if self.wants_transitions() || self.left == 0 {
            return;
        }
        let is_close = matches!(finding, Finding::Close(_));
        if self.shown == Shown::Ladders {
            if let Finding::Close(close) = finding
                && let Some(drawn) = self.awaited.take(close)
            {
                self.draw(drawn);
            }
            return;
        }
        if !self.filter.matches(&finding) {
            self.hidden += u64::from(is_close);
            return;
        }
        match (self.is_wanted_kind(&finding), finding) {
            (Some(true), Finding::Stuck(stuck)) if self.format == Format::Table => {
                self.stuck.add(stuck);
            }
            (Some(true), finding) => self.send_line(Line::Record(finding.into())),
            (Some(false), finding) => {
                self.hidden += u64::from(is_close);
                self.summary.add_hidden(&finding);
            }
            (None, _) => self.summary.unknown += 1,
        }
    }

    /// Returns whether findings of this kind are shown; `None` for a close that may be an abnormal
    /// one where only those are.
    fn is_wanted_kind(&self, finding: &Finding) -> Option<bool> {
        match (self.shown, finding) {
            (Shown::Everything, Finding::TimeWait(_)) => Some(self.shows_time_waits),
            (Shown::Everything, _) => Some(true),
            (Shown::Abnormal, Finding::Close(close)) => close.path.is_abnormal(),
            _ => Some(false),
        }
    }

    /// Draws what the filter lets pass: of both endpoints it has to be one.
    fn draw(&mut self, drawn: Drawn) {
        let ends = match &drawn {
            Drawn::OneEndpoint(close) => std::slice::from_ref(&**close),
            Drawn::BothEndpoints(ends) => &ends[..],
        };
        if !ends.iter().any(|close| self.filter.matches_close(close)) {
            self.hidden += ends.len() as u64;
            return;
        }
        self.send_line(match drawn {
            Drawn::OneEndpoint(close) => Line::Record(Finding::Close(close).into()),
            Drawn::BothEndpoints(ends) => Line::BothEndpoints(ends),
        });
    }

    /// Draws the ends whose other end has not closed by then.
    fn draw_due(&mut self, until: Nanos) {
        while let Some(close) = self.awaited.pop_due(until) {
            self.draw(Drawn::OneEndpoint(close));
        }
    }

    /// Shows what is due after the findings up to the session's present time: the lines that were
    /// dropped because the writer was too slow, processes with stuck sockets, and signs of life.
    pub fn after_findings<S: Source>(&mut self, session: &Session<S>) {
        let now = session.now();
        self.summary.reached(now);
        self.draw_due(now);
        let lost = self.writer.take_dropped();
        if lost > 0 {
            self.lost(output_loss(now, lost));
        }
        self.show_stuck(session, now);
        if self.format == Format::Table
            && self.slow_reader == SlowReaderPolicy::Drop
            && !self.wants_transitions()
        {
            self.show_life(session, now);
        }
    }

    /// Returns when [`Self::after_findings`] has something to show, if nothing happens until then.
    pub fn next_due(&self) -> Option<Nanos> {
        let heartbeat = self.heartbeat.as_ref().map(Heartbeat::next_due);
        let awaited = self.awaited.next_due();
        let due = self.stuck.next_due().into_iter().chain(heartbeat);
        due.chain(awaited).min()
    }

    /// Shows the processes whose stuck sockets are due by then.
    fn show_stuck<S: Source>(&mut self, session: &Session<S>, until: Nanos) {
        if self.stuck.next_due().is_none_or(|due| due > until) {
            return;
        }
        let filter = &self.filter;
        let stuck = session.stuck_sockets();
        let stuck = stuck.filter(|socket| filter.matches_stuck(socket));
        for group in self.stuck.take_due(session.now(), until, stuck) {
            self.send_line(Line::Stuck(Box::new(group)));
        }
    }

    /// Shows what is open, if no line came for a while.
    fn show_life<S: Source>(&mut self, session: &Session<S>, now: Nanos) {
        let heartbeat = self.heartbeat.get_or_insert_with(|| Heartbeat::new(now));
        let silence = heartbeat.check(now, self.writer.shown(), self.hidden);
        if let Some(silence) = silence {
            let (open, matching) = session.open_endpoints(&self.filter);
            let args = &self.filter_args;
            self.reasons.open = match (args.has_kernel_part(), args.has_netns()) {
                (false, _) => Some(open as u64),
                (true, false) => established(),
                (true, true) => None,
            };
            // Names of containers are known to the writer only.
            self.reasons.matching = (!args.has_containers()).then_some(matching as u64);
            notice!("{}", heartbeat::text(silence, &self.reasons));
        }
    }

    /// Reports a loss as a warning on stderr, and in JSON as a record, too.
    fn lost(&mut self, loss: Loss) {
        notice!("{}", loss_message(&loss));
        self.summary.lost += loss.lost;
        if self.format == Format::Json {
            self.send(Line::Record(Finding::Loss(loss).into()));
        }
    }

    /// Passes a line on, unless as many were as were asked for.
    fn send_line(&mut self, line: Line) {
        if self.left > 0 {
            self.left -= 1;
            self.send(line);
        }
    }

    fn send(&mut self, line: Line) {
        match self.slow_reader {
            SlowReaderPolicy::Drop => self.writer.send(line),
            SlowReaderPolicy::Wait => self.closed |= !self.writer.send_waiting(line),
        }
    }

    /// Notes that what is shown lacks something that was asked for.
    pub fn note_incomplete(&mut self) {
        self.summary.is_incomplete = true;
    }

    /// Writes the remaining lines, and the summary.
    pub fn finish<S: Source>(mut self, session: &Session<S>) -> anyhow::Result<ExitCode> {
        self.show_stuck(session, Nanos(u64::MAX));
        self.draw_due(Nanos(u64::MAX));
        let waiting = session.waiting_for_fin();
        if waiting > 0 && !self.wants_transitions() {
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
            Ok(lost) => {
                notice!("{}", loss_message(&output_loss(session.now(), lost)));
                self.summary.lost += lost;
            }
            Err(end) => failure(end)?,
        }
        Ok(self.summary.finish())
    }

    /// Ends after the output has; `end` is why.
    pub fn finish_ended(self, end: WriterEnd) -> anyhow::Result<ExitCode> {
        failure(end)?;
        Ok(self.summary.finish())
    }
}

fn output_loss(at: Nanos, lost: u64) -> Loss {
    Loss {
        at,
        lost,
        location: LossLocation::Output,
        repaired: false,
        duration: None,
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
