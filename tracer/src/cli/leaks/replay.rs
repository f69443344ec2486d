//! `tcpclose leaks --watch INTERVAL --replay FILE`.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context as _;
use tokio::runtime::Handle;

use super::args::LeaksArgs;
use super::printer::ReportPrinter;
use crate::cli::common::{PrintOutcome, scan_exit_code};
use crate::output::Format;

use crate::cgroup_names::RecordedCgroupNames;
use crate::cli::replay_common;
use crate::filter::passes_stuck;
use crate::notice::notice;
use crate::output::clock::WallClock;
use crate::output::loss_message;
use crate::session::{Consumer, QuietTime, Replay, Session};
use tcpclose_core::filter::ConnectionFilter;
use tcpclose_core::finding::{Finding, LossLocation};
use tcpclose_core::stuck::{Changes, Report, StuckEvent, StuckSocket, Trends};
use tcpclose_core::types::{EndpointId, Nanos};

/// The most lines of reports of times in which the recording has no entries.
const MAX_QUIET_LINES: u64 = 50_000;

/// Shows the stuck sockets of a recording as fast as it can be read and written.
pub(super) fn run(args: &LeaksArgs, file: &Path, interval: Nanos) -> anyhow::Result<ExitCode> {
    let (args, file) = (args.clone(), file.to_owned());
    replay_common::until_stopped(move |stop| {
        let mut session = Session::open(&file)?;
        let reports = RecordedReports::begin(&args, &session, &file, interval, stop)?;
        let code = Handle::current().block_on(session.run(reports))?;
        Ok(replay_common::exit_code(session.damage(), &file, code))
    })
}

/// Reports the stuck sockets of a recording, at intervals of its own time.
struct RecordedReports {
    stop: Arc<AtomicBool>,
    format: Format,
    filter: ConnectionFilter,
    names: RecordedCgroupNames,
    printer: ReportPrinter,
    /// The time in its state after which a socket counts as stuck.
    min_age: Nanos,
    interval: Nanos,
    /// When the next report is due; `None` before the recording's first time.
    due: Option<Nanos>,
    /// When the last report was due; `None` before the first.
    last: Option<Nanos>,
    /// The number of reports that are left.
    left: u64,
    quiet: QuietTime,
    reader_gone: bool,
    /// Whether the core has dropped endpoints for lack of room.
    has_lost: bool,
    /// Whether the agent was restarted, and has taken over what was stuck.
    has_restarted: bool,
    /// The stuck sockets, each as it was found. The ones in the last report are ongoing.
    open: BTreeMap<EndpointId, StuckSocket>,
    /// The sockets of the last report that are no longer stuck.
    resolved: Vec<StuckSocket>,
    trends: Trends,
}

impl RecordedReports {
    fn begin(
        args: &LeaksArgs,
        session: &Session<Replay>,
        file: &Path,
        interval: Nanos,
        stop: Arc<AtomicBool>,
    ) -> anyhow::Result<Self> {
        let cannot = || format!("{} cannot be replayed", file.display());
        let min_age = session.head().stuck_after;
        let min_age = min_age
            .context("it was recorded without stuck sockets: record it without --transitions");
        let min_age = min_age.with_context(cannot)?;
        if let Some(note) = args.filters.note_on_recordings() {
            notice!("{note}");
        }
        let names = || RecordedCgroupNames::new(session.cgroups());
        let clock = WallClock::new(session.clock());
        Ok(Self {
            stop,
            format: args.output.format(),
            filter: args.filters.recorded()?,
            names: names(),
            printer: ReportPrinter::new(args.output, args.all, true, clock, Box::new(names())),
            min_age,
            interval,
            due: None,
            last: None,
            left: args.count.unwrap_or(u64::MAX),
            quiet: QuietTime::new(MAX_QUIET_LINES),
            reader_gone: false,
            has_lost: false,
            has_restarted: false,
            open: BTreeMap::new(),
            resolved: Vec::new(),
            trends: Trends::default(),
        })
    }

    fn track(&mut self, stuck: &StuckSocket) {
        let id = stuck.endpoint.id;
        if stuck.resolution().is_none() {
            let opened = StuckSocket {
                event: StuckEvent::Opened,
                ..stuck.clone()
            };
            self.open.insert(id, opened);
            return;
        }
        let before = self.open.remove(&id);
        if before.is_some_and(|before| before.event == StuckEvent::Ongoing) {
            self.resolved.push(stuck.clone());
        }
    }

    /// Removes the sockets that the core has dropped for lack of room: it does not show how they
    /// end.
    fn forget_evicted(&mut self, session: &Session<Replay>) {
        let followed: HashSet<EndpointId> = session
            .stuck_sockets()
            .map(|stuck| stuck.endpoint.id)
            .collect();
        self.open.retain(|id, _| followed.contains(id));
    }

    /// Adds the sockets that the agent before had found stuck: they are not reported again.
    fn add_taken_over(&mut self, session: &Session<Replay>) {
        for stuck in session.stuck_sockets() {
            if passes_stuck(&self.filter, stuck, &mut self.names) {
                self.open.insert(stuck.endpoint.id, stuck.clone());
            }
        }
    }

    /// Makes the reports that were due before `at`. Of a jump that is too long, only the first and
    /// the last are made.
    fn report_before(&mut self, at: Nanos) -> anyhow::Result<()> {
        let intervals = |due: Nanos| (at - Nanos(1) - due).0 / self.interval.0.max(1);
        let Some(quiet) = self.due.map(intervals) else {
            return Ok(());
        };
        let shows_each = self.quiet.shows_each(quiet, 1 + self.open.len() as u64);
        while let Some(due) = self.due.filter(|&due| due < at && self.left > 0) {
            self.report(due)?;
            let intervals = match shows_each {
                true => 1,
                false => ((at - Nanos(1) - due).0 / self.interval.0.max(1)).max(1),
            };
            self.due = Some(due + Nanos(self.interval.0.saturating_mul(intervals)));
        }
        Ok(())
    }

    /// Makes the last report when the recording ends, if reports are left.
    fn report_last(&mut self, now: Nanos) -> anyhow::Result<()> {
        match self.due {
            Some(due) if self.left > 0 && now + self.interval > due => self.report(now),
            _ => Ok(()),
        }
    }

    fn report(&mut self, at: Nanos) -> anyhow::Result<()> {
        self.left -= 1;
        // JSON has the changes as they occur.
        if self.format == Format::Table {
            let sockets = self.open.values().cloned().collect();
            let resolved = std::mem::take(&mut self.resolved);
            let report = Report {
                changes: self.last.map(|last| Changes {
                    after: at - last,
                    resolved,
                }),
                ..Report::new(at, self.min_age, sockets, &mut self.trends)
            };
            let outcome = self.printer.print(&report)?;
            self.stop_if_reader_gone(outcome);
        }
        self.last = Some(at);
        for stuck in self.open.values_mut() {
            stuck.event = StuckEvent::Ongoing;
        }
        Ok(())
    }

    fn stop_if_reader_gone(&mut self, outcome: PrintOutcome) {
        if outcome == PrintOutcome::ReaderGone {
            self.left = 0;
            self.reader_gone = true;
        }
    }
}

impl Consumer<Replay> for RecordedReports {
    type Output = ExitCode;

    fn on_finding(&mut self, finding: Finding) -> anyhow::Result<()> {
        match &finding {
            Finding::Loss(loss) => {
                notice!("{}", loss_message(loss));
                self.has_lost |= loss.location == LossLocation::Table;
                self.has_restarted |= loss.location == LossLocation::Restart;
            }
            Finding::Stuck(stuck) if passes_stuck(&self.filter, stuck, &mut self.names) => {
                self.report_before(stuck.at)?;
                if self.left == 0 {
                    return Ok(());
                }
                self.track(stuck);
                if self.format == Format::Json {
                    let outcome = self.printer.print_socket(stuck)?;
                    self.stop_if_reader_gone(outcome);
                }
            }
            Finding::Stuck(_) | Finding::Close(_) | Finding::TimeWait(_) => {}
        }
        Ok(())
    }

    fn after_findings(&mut self, session: &mut Session<Replay>) -> anyhow::Result<()> {
        if std::mem::take(&mut self.has_lost) {
            self.forget_evicted(session);
        }
        if std::mem::take(&mut self.has_restarted) {
            self.add_taken_over(session);
        }
        let now = session.now();
        if self.due.is_none() && now > Nanos(0) {
            self.due = Some(now);
        }
        self.report_before(now + Nanos(1))
    }

    fn is_done(&self) -> bool {
        self.left == 0 || self.stop.load(Ordering::Relaxed)
    }

    fn finish(mut self, session: &mut Session<Replay>) -> anyhow::Result<ExitCode> {
        if session.has_ended() {
            self.report_last(session.now())?;
        }
        let cut_short = self.reader_gone || self.stop.load(Ordering::Relaxed);
        Ok(scan_exit_code(!cut_short && !self.open.is_empty(), true))
    }
}
