//! `tcpclose leaks --watch INTERVAL --replay FILE`.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;

use super::printer::{Format, Printer, Shown};
use super::{Args, exit_code};
use crate::cli::replay_common;
use crate::notice::notice;
use crate::output::cgroup_names::GivenNames;
use crate::output::clock::{SharedOffset, WallClock};
use crate::output::table::loss_message;
use crate::recording::Broken;
use crate::session::Replay;
use crate::stuck::{Owner, Report, Resolved};
use tcpclose_core::filter::ConnectionFilter;
use tcpclose_core::finding::{Finding, LossLocation, Stuck};
use tcpclose_core::stuck::{StuckEvent, Trends};
use tcpclose_core::types::{EndpointId, Nanos, StartTime};

/// Shows what was stuck, as fast as it can be read and written.
pub(super) fn run(args: &Args, file: &Path, every: Nanos) -> anyhow::Result<ExitCode> {
    let (args, file) = (args.clone(), file.to_owned());
    replay_common::until_stopped(move |stop| {
        let mut looks = Looks::begin(&args, &file, every)?;
        let broken = looks.run(stop)?;
        let cut_short = looks.nobody_reads || stop.load(Ordering::Relaxed);
        let code = exit_code(!cut_short && !looks.open.is_empty(), true);
        Ok(replay_common::exit_code(broken, &file, code))
    })
}

/// What was told to be stuck, looked at again and again.
struct Looks {
    replay: Replay,
    format: Format,
    filter: ConnectionFilter,
    shower: Printer,
    clock: SharedOffset,
    /// The age from which on sockets were told of.
    least: Nanos,
    every: Nanos,
    /// When the next look is due; `None` before the recording's first time.
    due: Option<Nanos>,
    /// How many are left.
    left: u64,
    nobody_reads: bool,
    /// Each as it was told; those that the last look showed are ongoing.
    open: BTreeMap<EndpointId, Stuck>,
    /// Since the last look, of those that it showed.
    resolved: Vec<Resolved>,
    growths: Trends<(Owner, Option<StartTime>)>,
}

impl Looks {
    fn begin(args: &Args, file: &Path, every: Nanos) -> anyhow::Result<Self> {
        let cannot = || format!("{} cannot be replayed", file.display());
        let replay = Replay::open(file).with_context(cannot)?;
        let least = replay.head().stuck_after;
        let least = least.context(
            "whoever recorded it did not look for stuck sockets: record it without --transitions",
        );
        let least = least.with_context(cannot)?;
        let clock = SharedOffset::new(replay.wall_clock());
        let names = Box::new(GivenNames::new(replay.cgroups()));
        let led = WallClock::led_by(clock.clone());
        Ok(Self {
            replay,
            format: args.format,
            filter: args.filters.recorded()?,
            shower: Printer::new(args.format, args.all, true, led, names),
            clock,
            least,
            every,
            due: None,
            left: args.count.unwrap_or(u64::MAX),
            nobody_reads: false,
            open: BTreeMap::new(),
            resolved: Vec::new(),
            growths: Trends::default(),
        })
    }

    fn run(&mut self, stop: &AtomicBool) -> anyhow::Result<Option<Broken>> {
        while self.left > 0 && !stop.load(Ordering::Relaxed) {
            self.clock.set(self.replay.wall_clock());
            let more = self.replay.pump(|_| ());
            while let Some(finding) = self.replay.next_finding() {
                self.take(finding)?;
            }
            let now = self.replay.now();
            if self.due.is_none() && now > Nanos(0) {
                self.due = Some(now);
            }
            self.look_before(now + Nanos(1))?;
            match more {
                Ok(true) => {}
                Ok(false) => {
                    self.look_at_the_end(now)?;
                    break;
                }
                Err(broken) => {
                    self.look_at_the_end(now)?;
                    return Ok(Some(broken));
                }
            }
        }
        Ok(None)
    }

    fn take(&mut self, finding: Finding) -> anyhow::Result<()> {
        match &finding {
            Finding::Loss(loss) => {
                notice!("{}", loss_message(loss));
                if loss.location == LossLocation::Table {
                    self.forget_lost();
                }
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
            Finding::Stuck(_) | Finding::Close(_) | Finding::TimeWait(_) | Finding::Summary(_) => {}
        }
        Ok(())
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
    fn forget_lost(&mut self) {
        let followed: HashSet<EndpointId> = self
            .replay
            .stuck_sockets()
            .map(|end| end.endpoint.id)
            .collect();
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
