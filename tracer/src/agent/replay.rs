//! `tcpclose agent --replay FILE`: the records and summaries of a recording.

use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use tokio::runtime::Handle;

use super::config::Config;
use crate::output::cgroup_names::GivenNames;
use crate::output::clock::WallClock;
use crate::output::writer::{self, Line, Writer, WriterEnd};
use crate::record::Record;
use crate::recording::Damage;
use crate::session::{Consumer, Replay, Session};
use crate::summary::{IntervalEnd, Summaries};
use tcpclose_core::finding::Finding;
use tcpclose_core::types::Nanos;

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
    let options = writer::Options {
        clock: WallClock::new(session.clock()),
        cgroups: Box::new(GivenNames::new(session.cgroups())),
        ..writer::Options::default()
    };
    // Bypasses std's own buffer, whose lines would count as written.
    let out = io::stdout().as_fd().try_clone_to_owned();
    let out = File::from(out.context("stdout cannot be used")?);
    let writer = Writer::start(writer::Format::Json, options, out);
    let summarizer = Summarizer {
        writer: writer.context("starting the writer failed")?,
        interval: config.interval.into(),
        running: None,
        interval_end: None,
        is_finished: false,
        stop: Arc::clone(stop),
    };
    Handle::current().block_on(session.run(summarizer))?;
    Ok(session.into_damage())
}

/// A consumer that writes a recording's findings and summarizes its intervals.
struct Summarizer {
    writer: Writer,
    interval: Nanos,
    running: Option<(Summaries, NextEnd)>,
    /// The end of the interval that the inputs have reached.
    interval_end: Option<IntervalEnd>,
    /// Nothing more will be written: the reader of stdout has gone, or there is no later interval.
    is_finished: bool,
    stop: Arc<AtomicBool>,
}

/// When the current interval ends.
#[derive(Clone, Copy)]
enum NextEnd {
    /// At this time.
    At(Nanos),
    /// At the end that the recording contains.
    Recorded,
}

impl Consumer<Replay> for Summarizer {
    type Outcome = ();

    fn before_findings(&mut self, session: &mut Session<Replay>) -> anyhow::Result<()> {
        match (session.take_interval_end(), &self.running) {
            (Some(first), None) => {
                self.running = Some((Summaries::new(first.at), NextEnd::Recorded));
            }
            // The interval ends once it has its findings.
            (Some(end), Some(_)) => self.interval_end = Some(end),
            (None, _) => self.end_intervals(session),
        }
        Ok(())
    }

    fn on_finding(&mut self, finding: Finding) -> anyhow::Result<()> {
        if let Some((summaries, _)) = &mut self.running {
            summaries.take(&finding);
        }
        self.write(finding.into());
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
            Some((_, NextEnd::Recorded)) => !session.damage().is_cut(),
            Some((_, NextEnd::At(_))) => false,
            None => true,
        };
        if !has_ended && !self.is_done() {
            self.end_interval(session, end_at(session.now()));
        }
        match self.writer.finish(Duration::MAX) {
            Ok(_) | Err(WriterEnd::PipeClosed) => Ok(()),
            Err(WriterEnd::Failed(error)) => Err(error).context("writing to stdout failed"),
        }
    }
}

impl Summarizer {
    /// Ends the intervals of the configuration that are over by now.
    fn end_intervals(&mut self, session: &Session<Replay>) {
        let now = session.now();
        if self.running.is_none() && now > Nanos(0) {
            self.running = Some((Summaries::new(now), NextEnd::At(now + self.interval)));
        }
        while !self.is_done()
            && let Some((_, NextEnd::At(due))) = self.running
            && due <= now
        {
            self.end_interval(session, end_at(due));
            let next = due + self.interval;
            // The addition has saturated: there is no later interval.
            self.is_finished |= next <= due;
            if let Some((_, next_end)) = &mut self.running {
                *next_end = NextEnd::At(next);
            }
        }
    }

    fn end_interval(&mut self, session: &Session<Replay>, end: IntervalEnd) {
        let Some((summaries, _)) = &mut self.running else {
            return;
        };
        let summary = summaries.end_interval(end, session.interval_context());
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
