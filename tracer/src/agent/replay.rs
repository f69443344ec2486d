//! `tcpclose agent --replay FILE`: the records and summaries of a recording.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use tokio::runtime::Handle;

use super::config::Config;
use crate::cgroup_names::RecordedCgroupNames;
use crate::output::Format;
use crate::output::clock::WallClock;
use crate::output::unbuffered_stdout::unbuffered_stdout;
use crate::output::writer::{self, Line, Writer, WriterEnd};
use crate::record::Record;
use crate::recording::Damage;
use crate::sampling::Sampling;
use crate::session::{Consumer, QuietTime, Replay, Session};
use crate::summary::{IntervalEnd, Summarizer};
use tcpclose_core::finding::Finding;
use tcpclose_core::summary::Rollups;
use tcpclose_core::types::Nanos;

/// The most summaries of times in which the recording has no entries: those of a week of minutes.
const MAX_QUIET_SUMMARIES: u64 = 10_000;

/// Writes all findings, and a summary for each interval, to stdout as JSON lines. The recording of
/// an agent contains its intervals. Other recordings get the intervals of the configuration,
/// without the values that only the running agent knew (ephemeral ports, outputs, its own resource
/// usage). Returns which parts of the recording could not be read. Ends early once `stop` is set.
/// Must be called within a tokio runtime, in a thread that may block.
///
/// # Errors
/// The file is not a recording, or writing to stdout fails.
pub fn replay(config: &Config, file: &Path, stop: &Arc<AtomicBool>) -> anyhow::Result<Damage> {
    let mut session = Session::open(file)?;
    let json = config.json_options()?;
    let options = writer::Options {
        clock: WallClock::new(session.clock()),
        cgroups: Box::new(RecordedCgroupNames::new(session.cgroups())),
        json,
        ..writer::Options::default()
    };
    let out = unbuffered_stdout().context("stdout cannot be used")?;
    let writer = Writer::start(Format::Json, options, out);
    let replay = SummaryReplay {
        writer: writer.context("starting the writer failed")?,
        interval: config.interval.into(),
        sampling: json.sampling,
        has_rollups: config.has_rollups(),
        running: None,
        interval_end: None,
        quiet: QuietTime::new(MAX_QUIET_SUMMARIES),
        is_finished: false,
        stop: Arc::clone(stop),
    };
    Handle::current().block_on(session.run(replay))?;
    Ok(session.into_damage())
}

/// A consumer that writes a recording's findings and summarizes its intervals.
struct SummaryReplay {
    writer: Writer,
    interval: Nanos,
    sampling: Option<Sampling>,
    has_rollups: bool,
    running: Option<(Counters, NextIntervalEnd)>,
    /// The end of the interval that the inputs have reached.
    interval_end: Option<IntervalEnd>,
    quiet: QuietTime,
    /// Nothing more will be written: the reader of stdout has gone, or there is no later interval.
    is_finished: bool,
    stop: Arc<AtomicBool>,
}

/// What counts the findings of the current interval.
struct Counters {
    summarizer: Summarizer,
    rollups: Option<Rollups>,
}

/// When the current interval ends.
#[derive(Clone, Copy)]
enum NextIntervalEnd {
    /// At this time.
    At(Nanos),
    /// At the end that the recording contains.
    Recorded,
}

impl Consumer<Replay> for SummaryReplay {
    type Output = ();

    fn before_findings(&mut self, session: &mut Session<Replay>) -> anyhow::Result<()> {
        match (session.take_interval_end(), &self.running) {
            (Some(first), None) => {
                self.running = Some((self.counters(first.at), NextIntervalEnd::Recorded));
            }
            // The interval ends once it has its findings.
            (Some(end), Some(_)) => self.interval_end = Some(end),
            (None, _) => self.end_intervals(session),
        }
        Ok(())
    }

    fn on_finding(&mut self, finding: Finding) -> anyhow::Result<()> {
        if let Some((counters, _)) = &mut self.running {
            counters.summarizer.take(&finding);
            if let Some(rollups) = &mut counters.rollups {
                rollups.record(&finding);
            }
        }
        let is_kept = |sampling: &Sampling| sampling.decide_finding(&finding).is_some();
        if self.sampling.as_ref().is_none_or(is_kept) {
            self.write(finding.into());
        }
        Ok(())
    }

    fn after_findings(&mut self, session: &mut Session<Replay>) -> anyhow::Result<()> {
        if let Some(end) = self.interval_end.take() {
            self.end_interval(session, end);
        }
        Ok(())
    }

    fn is_done(&self) -> bool {
        self.is_finished || self.stop.load(Ordering::Relaxed)
    }

    fn finish(mut self, session: &mut Session<Replay>) -> anyhow::Result<()> {
        // The recording of an agent contains the end of its last interval, unless it is cut.
        let has_ended = match self.running {
            Some((_, NextIntervalEnd::Recorded)) => !session.damage().is_cut(),
            Some((_, NextIntervalEnd::At(_))) => false,
            None => true,
        };
        if !has_ended && !self.is_done() {
            self.end_interval(session, end_at(session.now()));
        }
        match self.writer.finish(Duration::MAX) {
            Ok(_) | Err(WriterEnd::PipeClosed | WriterEnd::LimitReached) => Ok(()),
            Err(WriterEnd::Failed(error)) => Err(error).context("writing to stdout failed"),
        }
    }
}

impl SummaryReplay {
    fn counters(&self, at: Nanos) -> Counters {
        Counters {
            summarizer: Summarizer::new(at),
            rollups: self.has_rollups.then(|| Rollups::new(at)),
        }
    }

    /// Ends the intervals of the configuration that are over by now.
    fn end_intervals(&mut self, session: &Session<Replay>) {
        let now = session.now();
        if self.running.is_none() && now > Nanos(0) {
            self.running = Some((self.counters(now), NextIntervalEnd::At(now + self.interval)));
        }
        let Some((_, NextIntervalEnd::At(first))) = self.running else {
            return;
        };
        let quiet = (now - first).0 / self.interval.0.max(1);
        let shows_each = self.quiet.shows_each(quiet, 1);
        while !self.is_done()
            && let Some((_, NextIntervalEnd::At(due))) = self.running
            && due <= now
        {
            self.end_interval(session, end_at(due));
            // One summary stands for all intervals of a jump that is too long.
            let intervals = match shows_each {
                true => 1,
                false => ((now - due).0 / self.interval.0.max(1)).max(1),
            };
            let next = due + Nanos(self.interval.0.saturating_mul(intervals));
            // The addition has saturated: there is no later interval.
            self.is_finished |= next <= due;
            if let Some((_, next_end)) = &mut self.running {
                *next_end = NextIntervalEnd::At(next);
            }
        }
    }

    fn end_interval(&mut self, session: &Session<Replay>, end: IntervalEnd) {
        let Some((counters, _)) = &mut self.running else {
            return;
        };
        let rollups = counters.rollups.as_mut();
        let rollups = rollups.map_or_else(Vec::new, |rollups| rollups.end_interval(end.at));
        let summary = counters
            .summarizer
            .end_interval(end, session.interval_context(&BTreeSet::new()));
        for rollup in rollups {
            self.write(Record::Rollup(Box::new(rollup)));
        }
        self.write(Record::Summary(Box::new(summary)));
    }

    fn write(&mut self, record: Record) {
        if !self.is_done() {
            self.is_finished = !self.writer.send_waiting(Line::Record(record));
        }
    }
}

/// Returns the end of an interval of which only the time is known.
fn end_at(at: Nanos) -> IntervalEnd {
    IntervalEnd {
        at,
        ..IntervalEnd::default()
    }
}
