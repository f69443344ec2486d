//! `tcpclose leaks --watch INTERVAL --replay FILE`.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;
use tokio::runtime::Handle;

use super::printer::{Format, Printer, Shown};
use super::{Args, exit_code};
use crate::cli::replay_common;
use crate::notice::notice;
use crate::output::cgroup_names::GivenNames;
use crate::output::clock::WallClock;
use crate::output::table::loss_message;
use crate::session::{Consumer, Replay, Session};
use crate::stuck::{Owner, Report, Resolved};
use tcpclose_core::filter::ConnectionFilter;
use tcpclose_core::finding::{Finding, LossLocation, Stuck};
use tcpclose_core::stuck::{StuckEvent, Trends};
use tcpclose_core::types::{EndpointId, Nanos, StartTime};

/// Shows what was stuck, as fast as it can be read and written.
pub(super) fn run(args: &Args, file: &Path, every: Nanos) -> anyhow::Result<ExitCode> {
    let (args, file) = (args.clone(), file.to_owned());
    replay_common::until_stopped(move |stop| {
        let mut session = Session::open(&file)?;
        let looks = Looks::begin(&args, &session, &file, every, stop)?;
        let code = Handle::current().block_on(session.run(looks))?;
        Ok(replay_common::exit_code(session.damage(), &file, code))
    })
}

/// What was told to be stuck, looked at again and again.
struct Looks {
    stop: Arc<AtomicBool>,
    format: Format,
    filter: ConnectionFilter,
    shower: Printer,
    /// The age from which on sockets were told of.
    least: Nanos,
    every: Nanos,
    /// When the next look is due; `None` before the recording's first time.
    due: Option<Nanos>,
    /// How many are left.
    left: u64,
    nobody_reads: bool,
    /// The core had to forget some.
    has_lost: bool,
    /// Each as it was told; those that the last look showed are ongoing.
    open: BTreeMap<EndpointId, Stuck>,
    /// Since the last look, of those that it showed.
    resolved: Vec<Resolved>,
    growths: Trends<(Owner, Option<StartTime>)>,
}

impl Looks {
    fn begin(
        args: &Args,
        session: &Session<Replay>,
        file: &Path,
        every: Nanos,
        stop: Arc<AtomicBool>,
    ) -> anyhow::Result<Self> {
        let cannot = || format!("{} cannot be replayed", file.display());
        let least = session.head().stuck_after;
        let least = least.context(
            "whoever recorded it did not look for stuck sockets: record it without --transitions",
        );
        let least = least.with_context(cannot)?;
        let names = Box::new(GivenNames::new(session.cgroups()));
        let clock = WallClock::new(session.clock());
        Ok(Self {
            stop,
            format: args.format,
            filter: args.filters.recorded()?,
            shower: Printer::new(args.format, args.all, true, clock, names),
            least,
            every,
            due: None,
            left: args.count.unwrap_or(u64::MAX),
            nobody_reads: false,
            has_lost: false,
            open: BTreeMap::new(),
            resolved: Vec::new(),
            growths: Trends::default(),
        })
    }

    fn note(&mut self, stuck: &Stuck) {
        let id = stuck.endpoint.id;
        let Some(end) = stuck.end else {
            let mut stuck = stuck.clone();
            stuck.leak.event = StuckEvent::Opened;
            self.open.insert(id, stuck);
            return;
        };
        let before = self.open.remove(&id);
        if before.is_some_and(|before| before.leak.event == StuckEvent::Ongoing) {
            self.resolved.push(Resolved {
                leak: stuck.leak,
                at: stuck.at,
                end,
                process: stuck.leaker.as_ref().map(|leaker| leaker.process.clone()),
            });
        }
    }

    /// What made room in the core's table is no longer followed: nobody knows what became of it.
    fn forget_lost(&mut self, session: &Session<Replay>) {
        let followed: HashSet<EndpointId> =
            session.stuck_sockets().map(|end| end.endpoint.id).collect();
        self.open.retain(|id, _| followed.contains(id));
    }

    /// The looks that were due before that.
    fn look_before(&mut self, at: Nanos) -> anyhow::Result<()> {
        while let Some(due) = self.due.filter(|&due| due < at && self.left > 0) {
            self.look(due)?;
            self.due = Some(due + self.every);
        }
        Ok(())
    }

    /// What is left when the recording ends was not looked at yet.
    fn look_at_the_end(&mut self, now: Nanos) -> anyhow::Result<()> {
        match self.due {
            Some(due) if self.left > 0 && now + self.every > due => self.look(now),
            _ => Ok(()),
        }
    }

    fn look(&mut self, at: Nanos) -> anyhow::Result<()> {
        self.left -= 1;
        // JSON tells of changes, as they come.
        if self.format == Format::Table {
            let mut report = Report::told(self.open.values(), at, self.least);
            report.grow(&mut self.growths);
            let resolved = std::mem::take(&mut self.resolved);
            let shown = self.shower.show(report, resolved)?;
            self.stop_unless(shown);
        }
        for stuck in self.open.values_mut() {
            stuck.leak.event = StuckEvent::Ongoing;
        }
        Ok(())
    }

    fn stop_unless(&mut self, shown: Shown) {
        if shown == Shown::NobodyReads {
            self.left = 0;
            self.nobody_reads = true;
        }
    }
}

impl Consumer<Replay> for Looks {
    type Outcome = ExitCode;

    fn on_finding(&mut self, finding: Finding) -> anyhow::Result<()> {
        match &finding {
            Finding::Loss(loss) => {
                notice!("{}", loss_message(loss));
                self.has_lost |= loss.location == LossLocation::Table;
            }
            Finding::Stuck(stuck) if self.filter.matches(&finding) => {
                self.look_before(stuck.at)?;
                if self.left == 0 {
                    return Ok(());
                }
                self.note(stuck);
                if self.format == Format::Json {
                    let shown = self.shower.show_finding(&finding)?;
                    self.stop_unless(shown);
                }
            }
            Finding::Stuck(_) | Finding::Close(_) | Finding::TimeWait(_) => {}
        }
        Ok(())
    }

    fn after_findings(&mut self, session: &mut Session<Replay>) -> anyhow::Result<()> {
        if std::mem::take(&mut self.has_lost) {
            self.forget_lost(session);
        }
        let now = session.now();
        if self.due.is_none() && now > Nanos(0) {
            self.due = Some(now);
        }
        self.look_before(now + Nanos(1))
    }

    fn is_done(&self) -> bool {
        self.left == 0 || self.stop.load(Ordering::Relaxed)
    }

    fn finish(mut self, session: &mut Session<Replay>) -> anyhow::Result<ExitCode> {
        if session.has_ended() {
            self.look_at_the_end(session.now())?;
        }
        let cut_short = self.nobody_reads || self.stop.load(Ordering::Relaxed);
        Ok(exit_code(!cut_short && !self.open.is_empty(), true))
    }
}
