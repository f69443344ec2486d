//! The running kernel as a source: events from the rings, answers from sock_diag and /proc, time
//! from the monotonic clock.

use std::collections::HashMap;
use std::io;
use std::ops::ControlFlow;
use std::time::Duration;

use anyhow::Context as _;
use tokio::time::Instant;

use super::core_driver::{CoreDriver, DueProbes, OnTransition};
use super::decode_failures::DecodeFailures;
use super::event_loop::Session;
use super::existing_sockets::ExistingSockets;
use super::minisocket_prober::{ProbeJob, ProbeJobResult};
use super::pending_restart::PendingRestart;
use super::probe_thread::ProbeThread;
use super::reader_priority::ReaderPriority;
use super::resync::Resync;
use super::source::Source;
use crate::clock_offset::ClockOffset;
use crate::notice::notice;
use tcpclose_core::finding::{Loss, LossLocation};
use tcpclose_core::stuck::StuckProbeResponse;
use tcpclose_core::summary::Route;
use tcpclose_core::types::Nanos;
use tcpclose_core::{Input, ProbeRequest};
use tcpclose_sys::kernel::attached::AttachedPrograms;
use tcpclose_sys::kernel::clock::now;
use tcpclose_sys::kernel::loader::{Tier, TraceOptions};
use tcpclose_sys::kernel::netns_cache::NetNsCache;
use tcpclose_sys::kernel::reader::RingReader;

/// How often the counters of skipped runs are read (one file for each program), and drops of the
/// recording are reported.
const MISS_READ_INTERVAL: Nanos = Nanos::from_secs(1);

/// A little longer than a close waits for the signals that explain it.
const SETTLE_DELAY: Duration = Duration::from_millis(25);

/// How often the eBPF programs' log messages are read, if they are enabled.
const LOG_READ_INTERVAL: Duration = Duration::from_millis(200);

/// The attached programs, and the threads that answer the core's probes.
pub(crate) struct Live {
    pub(super) reader: RingReader,
    /// How much the attached programs can see.
    pub(super) tier: Tier,
    /// Sentences that describe what cannot be seen, and why.
    pub(super) limitations: Vec<String>,
    pub(super) options: TraceOptions,
    /// Whether the records have cookies, by which sock_diag's answers are matched with them.
    pub(super) has_cookies: bool,
    pub(super) resync: Resync,
    pub(super) netns_cache: NetNsCache,
    /// Routes of which it was seen whether their connections have timestamps.
    pub(super) timestamps: HashMap<Route, bool>,
    pub(super) minisockets: ProbeThread<ProbeJob, ProbeJobResult>,
    pub(super) stuck: Option<ProbeThread<Vec<ProbeRequest>, StuckProbeResponse>>,
    pub(super) decode_failures: DecodeFailures,
    pub(super) misses_read: Nanos,
    /// Whether records have come since, and with them possibly skipped runs.
    pub(super) misses_outdated: bool,
    pub(super) attached: AttachedPrograms,
    /// What was open before the programs were attached, until all of it is known.
    pub(super) existing: Option<ExistingSockets>,
    /// From when on there are records.
    pub(super) attached_at: Nanos,
    /// What an earlier session has saved, until it is known what of it is still there.
    pub(super) restart: Option<PendingRestart>,
    pub(super) priority: Option<ReaderPriority>,
    /// Whether to print what is not known of it.
    pub(super) is_announced: bool,
}

impl Source for Live {
    async fn wait(&mut self, core: &CoreDriver) -> anyhow::Result<()> {
        let lag = self.reader.min_record_age();
        let read_misses = self
            .misses_outdated
            .then(|| self.misses_read + MISS_READ_INTERVAL);
        let existing = self.existing.as_ref();
        let next = match existing {
            Some(existing) if existing.keeps_back() => existing.next_deadline(),
            _ => {
                let next = core.next_deadline().into_iter().chain(read_misses);
                next.chain(existing.and_then(ExistingSockets::next_deadline))
                    .min()
            }
        };
        let next = next.map(|deadline| Duration::from_nanos((deadline + lag - now()).0));
        let log = self.attached.log.as_ref().map(|_| LOG_READ_INTERVAL);
        let deadline = next
            .into_iter()
            .chain(log)
            .min()
            .map(|wait| Instant::now() + wait);
        let stuck = &mut self.stuck;
        let stuck_answered = async {
            match stuck {
                Some(stuck) => stuck.wait_for_answer().await,
                None => std::future::pending().await,
            }
        };
        let existing = &mut self.existing;
        let existing_answered = async {
            match existing {
                Some(existing) => existing.wait_for_answer().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            result = self.reader.wait(deadline) => result.context("polling the ring buffer failed"),
            () = self.minisockets.wait_for_answer() => Ok(()),
            () = stuck_answered => Ok(()),
            () = existing_answered => Ok(()),
        }
    }

    fn pump(
        &mut self,
        core: &mut CoreDriver,
        clock: &ClockOffset,
        on_transition: OnTransition<'_>,
    ) -> anyhow::Result<ControlFlow<()>> {
        self.take_all(core, clock, on_transition)
            .context("reading the kernel's records failed")?;
        Ok(ControlFlow::Continue(()))
    }

    /// Waits for the signals that explain a close: they follow it.
    async fn settle(&mut self) {
        tokio::time::sleep(SETTLE_DELAY).await;
    }

    fn drain(
        &mut self,
        core: &mut CoreDriver,
        clock: &ClockOffset,
        on_transition: OnTransition<'_>,
    ) -> anyhow::Result<()> {
        if let Some(existing) = &mut self.existing {
            existing.stop_keeping_back();
        }
        // What was skipped since the counters were last read, or is missing, is reported now.
        self.misses_read = Nanos(0);
        let pumped = self.pump(core, clock, on_transition);
        let at = self.now();
        let lost = core.take_uncounted_losses(Nanos(u64::MAX));
        if lost > 0 {
            core.take(&Input::Loss(Loss {
                at,
                lost,
                location: LossLocation::Program,
                repaired: false,
                duration: None,
            }));
        }
        for loss in self.resync.abandon() {
            core.take(&Input::Loss(loss));
        }
        pumped.map(drop)
    }

    fn now(&self) -> Nanos {
        now()
    }
}

impl Session<Live> {
    /// Returns the names of the worker threads that have panicked and have not answered since.
    pub fn failed_threads(&self) -> Vec<&'static str> {
        let Live {
            minisockets,
            stuck,
            existing,
            ..
        } = &self.source;
        let stuck = stuck.as_ref().and_then(ProbeThread::failed);
        let existing = existing.as_ref().and_then(ExistingSockets::failed);
        let failed = minisockets.failed().into_iter().chain(stuck);
        failed.chain(existing).collect()
    }
}

impl Live {
    /// Passes all new records, answers and the time to the core.
    fn take_all(
        &mut self,
        core: &mut CoreDriver,
        clock: &ClockOffset,
        mut on_transition: OnTransition<'_>,
    ) -> io::Result<()> {
        clock.refresh();
        if let Some(recording) = core.recording() {
            recording.wall_clock(clock.get());
        }
        if let Some(flight) = core.flight() {
            flight.wall_clock(clock.get());
        }
        // Read before the rings are drained: all events up to this time are in them.
        let at = self.reader.complete_until();
        let (resync, failures) = (&mut self.resync, &mut self.decode_failures);
        let (existing, misses_outdated) = (&mut self.existing, &mut self.misses_outdated);
        let mut take = |input: Input| {
            if let Input::Event(event) = &input {
                resync.note(event);
            }
            core.take_and_show(&input, &mut on_transition);
        };
        let at = self.reader.drain(at, |event| match event {
            Ok(event) => {
                *misses_outdated = true;
                match existing {
                    Some(existing) => existing.take_event(event, &mut take),
                    None => take(Input::Event(event)),
                }
            }
            Err(error) => {
                if let Some(sentence) = failures.add(&error) {
                    notice!("{sentence}");
                }
            }
        })?;
        if let Some(existing) = existing {
            existing.advance(at, &mut take);
            if existing.keeps_back() {
                return Ok(());
            }
            self.note_progress(core, at);
        }
        self.take_losses(core, at)?;
        core.take(&Input::Time(at));
        self.probe(core, at);
        if let Some(log) = &mut self.attached.log {
            log.flush();
        }
        Ok(())
    }

    /// Passes on what is known of the time before the start, besides the sockets.
    fn note_progress(&mut self, core: &mut CoreDriver, at: Nanos) {
        let Some(existing) = &mut self.existing else {
            return;
        };
        if let Some(overflows) = existing.take_overflows() {
            self.minisockets.submit(ProbeJob::Overflows(overflows));
        }
        if self.is_announced {
            existing.report_delay();
        }
        if !existing.is_done() {
            return;
        }
        if existing.is_incomplete() {
            self.resync.request();
        }
        if self.is_announced {
            existing.report_end();
        }
        if let Some(restart) = self.restart.take() {
            core.take(&restart.end(at, self.attached_at, existing.searched()));
        }
        self.existing = None;
    }

    /// Reports losses: after a resync where one starts, else at once.
    fn take_losses(&mut self, core: &mut CoreDriver, at: Nanos) -> io::Result<()> {
        let lost = self.reader.take_lost()?;
        let (mut skipped, mut dropped, mut given_up) = (0, 0, 0);
        if let Some(priority) = &mut self.priority {
            priority.check(at);
        }
        if at - self.misses_read >= MISS_READ_INTERVAL {
            self.misses_read = at;
            self.misses_outdated = false;
            skipped = self.attached.take_missed_runs();
            let recording = core.recording().as_mut();
            dropped = recording.map_or(0, |recording| recording.recorder().take_dropped());
            let stuck = self.stuck.as_mut().map_or(0, ProbeThread::take_given_up);
            given_up = self.minisockets.take_given_up() + stuck;
        }
        let loss = |(lost, location)| Loss {
            at,
            lost,
            location,
            repaired: false,
            duration: None,
        };
        // A resync makes up for neither of these.
        let others = [
            (dropped, LossLocation::Recording),
            (given_up, LossLocation::Probe),
        ];
        for other in others.into_iter().filter(|(lost, _)| *lost > 0) {
            core.take(&Input::Loss(loss(other)));
        }
        let losses = [
            (lost, LossLocation::Ring),
            (skipped, LossLocation::Program),
            (core.take_uncounted_losses(at), LossLocation::Program),
            (self.decode_failures.take(), LossLocation::Decode),
        ];
        let losses = losses.into_iter().filter(|(lost, _)| *lost > 0);
        let mut losses: Vec<Loss> = losses.map(loss).collect();
        if self.has_cookies && self.resync.begin(&mut losses, at) {
            let options = Box::new(self.options.clone());
            self.minisockets.submit(ProbeJob::Snapshot(options));
        }
        for loss in losses {
            core.take(&Input::Loss(loss));
        }
        Ok(())
    }

    /// Starts the probes that are due, and takes the answers that were given by `until`.
    fn probe(&mut self, core: &mut CoreDriver, until: Nanos) {
        let DueProbes {
            lookups,
            polls,
            stuck,
        } = core.take_due();
        if !lookups.is_empty() || !polls.is_empty() {
            let job = ProbeJob::Minisockets { lookups, polls };
            self.minisockets.submit(job);
        }
        while let Some(result) = self.minisockets.take(until) {
            let inputs = match result {
                ProbeJobResult::Minisockets(inputs) => inputs,
                ProbeJobResult::SnapshotTaken(snapshot) => self.resync.end(*snapshot),
                ProbeJobResult::SnapshotFailed => {
                    self.resync.fail().into_iter().map(Input::Loss).collect()
                }
            };
            for input in &inputs {
                core.take(input);
            }
        }
        let Some(prober) = &mut self.stuck else {
            return;
        };
        if let Some(answers) = prober.take(until) {
            core.take(&Input::StuckProbe(answers));
        }
        if !stuck.is_empty() {
            prober.submit(stuck);
        }
    }
}
