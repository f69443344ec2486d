//! The running kernel as a source: events from the rings, answers from sock_diag and /proc, time
//! from the monotonic clock.

use std::io;
use std::ops::ControlFlow;
use std::time::Duration;

use anyhow::Context as _;
use tokio::time::Instant;

use super::core_driver::{CoreDriver, DueProbes, OnTransition};
use super::decode_failures::DecodeFailures;
use super::event_loop::Session;
use super::minisocket_prober::{ProbeJob, ProbeResult};
use super::resync::Resync;
use super::source::Source;
use super::worker::Worker;
use crate::clock_offset::ClockOffset;
use crate::notice::notice;
use tcpclose_core::Input;
use tcpclose_core::finding::{Loss, LossLocation};
use tcpclose_core::stuck::{ProbeRequest, ProbeResponse};
use tcpclose_core::types::Nanos;
use tcpclose_sys::kernel::clock::now;
use tcpclose_sys::kernel::loader::{Tier, TraceOptions};
use tcpclose_sys::kernel::netns_cache::NetnsCache;
use tcpclose_sys::kernel::reader::{AttachedPrograms, RingReader};

/// How often the counters of skipped runs are read (one file for each program), and drops of the
/// recording are reported.
const READ_MISSES: Nanos = Nanos::from_secs(1);

/// A little longer than a close waits for the signals that explain it.
const SETTLE: Duration = Duration::from_millis(25);

/// How often the eBPF programs' log messages are read, if they are enabled.
const READ_LOG: Duration = Duration::from_millis(200);

/// The attached programs, and the threads that answer the core's probes.
pub(crate) struct Live {
    pub(super) reader: RingReader,
    /// How much the attached programs can see.
    pub(super) tier: Tier,
    /// Sentences that describe what cannot be seen, and why.
    pub(super) shortcomings: Vec<String>,
    pub(super) options: TraceOptions,
    /// Whether the records have cookies, by which sock_diag's answers are matched with them.
    pub(super) has_cookies: bool,
    pub(super) resync: Resync,
    pub(super) netns_cache: NetnsCache,
    pub(super) minisockets: Worker<ProbeJob, ProbeResult>,
    pub(super) stuck: Option<Worker<Vec<ProbeRequest>, ProbeResponse>>,
    pub(super) decode_failures: DecodeFailures,
    pub(super) misses_read: Nanos,
    pub(super) attached: AttachedPrograms,
}

impl Source for Live {
    async fn wait(&mut self, core: &CoreDriver) -> anyhow::Result<()> {
        let lag = self.reader.lag();
        let next = core
            .next_deadline()
            .map(|deadline| Duration::from_nanos((deadline + lag - now()).0));
        let log = self.attached.log.as_ref().map(|_| READ_LOG);
        let deadline = next
            .into_iter()
            .chain(log)
            .min()
            .map(|wait| Instant::now() + wait);
        let stuck = &mut self.stuck;
        let stuck_answered = async {
            match stuck {
                Some(stuck) => stuck.ready().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            ready = self.reader.wait(deadline) => ready.context("polling the ring buffer failed"),
            () = self.minisockets.ready() => Ok(()),
            () = stuck_answered => Ok(()),
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

    async fn drain(
        &mut self,
        core: &mut CoreDriver,
        clock: &ClockOffset,
        on_transition: OnTransition<'_>,
    ) -> anyhow::Result<()> {
        // The signals that explain a close follow it.
        tokio::time::sleep(SETTLE).await;
        let pumped = self.pump(core, clock, on_transition);
        for loss in self.resync.abandon() {
            core.take(&Input::Lost(loss));
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
            minisockets, stuck, ..
        } = &self.source;
        let stuck = stuck.as_ref().and_then(Worker::failed);
        minisockets.failed().into_iter().chain(stuck).collect()
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
        // Read before the rings are drained: all events up to this time are in them.
        let at = self.reader.horizon();
        let (resync, failures) = (&mut self.resync, &mut self.decode_failures);
        let at = self.reader.drain(at, |event| match event {
            Ok(event) => {
                resync.note(&event);
                core.take_showing(&Input::Event(event), &mut on_transition);
            }
            Err(error) => {
                if let Some(sentence) = failures.add(&error) {
                    notice!("{sentence}");
                }
            }
        })?;
        self.take_losses(core, at)?;
        core.take(&Input::Time(at));
        self.probe(core, at);
        if let Some(log) = &mut self.attached.log {
            log.flush();
        }
        Ok(())
    }

    /// Reports losses: after a resync where one starts, else at once.
    fn take_losses(&mut self, core: &mut CoreDriver, at: Nanos) -> io::Result<()> {
        let lost = self.reader.take_lost()?;
        let (mut skipped, mut dropped, mut given_up) = (0, 0, 0);
        if at - self.misses_read >= READ_MISSES {
            self.misses_read = at;
            skipped = self.attached.take_misses();
            let recording = core.recording().as_mut();
            dropped = recording.map_or(0, |recording| recording.recorder().take_dropped());
            let stuck = self.stuck.as_mut().map_or(0, Worker::take_given_up);
            given_up = self.minisockets.take_given_up() + stuck;
        }
        let loss = |(lost, location)| Loss {
            at,
            lost,
            location,
            repaired: false,
        };
        // A resync makes up for neither of these.
        let others = [
            (dropped, LossLocation::Recording),
            (given_up, LossLocation::Probe),
        ];
        for other in others.into_iter().filter(|(lost, _)| *lost > 0) {
            core.take(&Input::Lost(loss(other)));
        }
        let losses = [
            (lost, LossLocation::Ring),
            (skipped, LossLocation::Program),
            (self.decode_failures.take(), LossLocation::Decode),
        ];
        let losses = losses.into_iter().filter(|(lost, _)| *lost > 0);
        let mut losses: Vec<Loss> = losses.map(loss).collect();
        if self.has_cookies && self.resync.begin(&mut losses, at) {
            let options = Box::new(self.options.clone());
            self.minisockets.submit(ProbeJob::Everything(options));
        }
        for loss in losses {
            core.take(&Input::Lost(loss));
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
                ProbeResult::Minisockets(inputs) => inputs,
                ProbeResult::Everything(snapshot) => self.resync.end(*snapshot),
                ProbeResult::NoSnapshot => {
                    self.resync.fail().into_iter().map(Input::Lost).collect()
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
            core.take(&Input::StuckProbed(answers));
        }
        if !stuck.is_empty() {
            prober.submit(stuck);
        }
    }
}
