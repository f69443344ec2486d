//! `tcpclose agent --replay FILE`: the records and summaries of what was recorded, by an agent or by others.

use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;

use super::config::Config;
use crate::output::cgroup_names::GivenNames;
use crate::output::writer::{self, Line, Writer, WriterEnd};
use crate::recording::Broken;
use crate::session::Replay;
use tcpclose_core::finding::Finding;
use tcpclose_core::summary::{IntervalEnd, Summaries};
use tcpclose_core::types::Nanos;

/// Writes all findings, and a summary for each interval, to stdout as JSON lines. What an agent recorded has its intervals,
/// with all that they told. Other recordings get those of the configuration, without what only the host could tell then
/// (ephemeral ports, outputs, the tracer's own use). Returns where the recording is broken, if
/// it is; what stands before that is written. Ends early once `stop` is set.
///
/// # Errors
/// The file is no recording, or stdout fails.
pub fn replay(config: &Config, file: &Path, stop: &AtomicBool) -> anyhow::Result<Option<Broken>> {
    let replay = Replay::open(file);
    let replay = replay.with_context(|| format!("{} cannot be replayed", file.display()))?;
    let options = writer::Options {
        cgroups: Box::new(GivenNames::new(replay.cgroups())),
        ..writer::Options::default()
    };
    // Past std's own buffer, whose lines would count as written.
    let out = io::stdout().as_fd().try_clone_to_owned();
    let out = File::from(out.context("stdout cannot be used")?);
    let writer = Writer::start(writer::Format::Json, options, out);
    let mut summing = Summing {
        replay,
        writer: writer.context("starting the writer failed")?,
        interval: config.interval.into(),
        running: None,
        stop,
    };
    let broken = summing.run();
    match summing.writer.finish(Duration::MAX) {
        Ok(_) | Err(WriterEnd::PipeClosed) => Ok(broken),
        Err(WriterEnd::Failed(error)) => Err(error).context("writing to stdout failed"),
    }
}

struct Summing<'a> {
    replay: Replay,
    writer: Writer,
    interval: Nanos,
    running: Option<(Summaries, NextEnd)>,
    stop: &'a AtomicBool,
}

/// When the interval ends that runs.
#[derive(Clone, Copy)]
enum NextEnd {
    /// Then.
    At(Nanos),
    /// Where the recording says so.
    Recorded,
}

impl Summing<'_> {
    /// Until the recording ends or breaks, or nobody wants any more.
    fn run(&mut self) -> Option<Broken> {
        loop {
            self.writer.set_wall_clock(self.replay.wall_clock());
            let more = self.replay.pump(|_| ());
            let goes_on = match self.replay.take_boundary() {
                Some(boundary) => self.come_to(boundary),
                None => self.end_intervals() && self.take_findings(),
            } && !self.is_stopped();
            let broken = match more {
                Ok(true) if goes_on => continue,
                Ok(_) => None,
                Err(broken) => Some(broken),
            };
            // An agent has ended its last one itself, if it came to that.
            let ended = |next| matches!(next, NextEnd::Recorded) && broken.is_none();
            if goes_on
                && let Some((mut summaries, next)) = self.running.take()
                && !ended(next)
            {
                self.end_interval(&mut summaries, bare(self.replay.now()));
            }
            return broken;
        }
    }

    /// The findings before it belong to the interval that ends. False when nobody wants any more.
    fn come_to(&mut self, boundary: IntervalEnd) -> bool {
        if self.running.is_none() {
            self.running = Some((Summaries::new(boundary.at), NextEnd::Recorded));
            return self.take_findings();
        }
        let goes_on = self.take_findings();
        let Some((mut summaries, next)) = self.running.take() else {
            return goes_on;
        };
        let goes_on = goes_on && self.end_interval(&mut summaries, boundary);
        self.running = Some((summaries, next));
        goes_on
    }

    /// False when nobody wants any more.
    fn end_intervals(&mut self) -> bool {
        let now = self.replay.now();
        let interval = self.interval;
        let (mut summaries, mut due) = match self.running.take() {
            Some((summaries, NextEnd::At(due))) => (summaries, due),
            running => {
                self.running = running.or_else(|| {
                    let begun = now > Nanos(0);
                    begun.then(|| (Summaries::new(now), NextEnd::At(now + interval)))
                });
                return true;
            }
        };
        let mut goes_on = true;
        while goes_on && due <= now {
            goes_on = self.end_interval(&mut summaries, bare(due));
            let next = due + interval;
            // The end of all time, which no clock shows.
            goes_on &= next > due;
            due = next;
        }
        self.running = Some((summaries, NextEnd::At(due)));
        goes_on
    }

    fn end_interval(&mut self, summaries: &mut Summaries, boundary: IntervalEnd) -> bool {
        let at = boundary.at;
        let surroundings = self.replay.surroundings(boundary);
        let summary = summaries.end_interval(at, surroundings);
        self.write(Finding::Summary(Box::new(summary)))
    }

    fn take_findings(&mut self) -> bool {
        while let Some(finding) = self.replay.next_finding() {
            if let Some((summaries, _)) = &mut self.running {
                summaries.take(&finding);
            }
            if !self.write(finding) {
                return false;
            }
        }
        true
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// False when nobody wants any more.
    fn write(&mut self, finding: Finding) -> bool {
        self.writer.send_waiting(Line::Finding(finding)) && !self.is_stopped()
    }
}

/// The end of an interval of which only the time is known.
fn bare(at: Nanos) -> IntervalEnd {
    IntervalEnd {
        at,
        ..IntervalEnd::default()
    }
}
