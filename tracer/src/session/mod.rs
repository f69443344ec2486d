//! One tracing session: the single owner of the core. Events go in from the ring, answers from sock_diag, time from the
//! monotonic clock; findings come out.

mod builder;
mod core_driver;
mod gauges;
mod minisocket_prober;
mod owners;
mod recording;
mod replay;
mod resync;
mod snapshot;
mod time_wait_overflow;
mod worker;

use std::io;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use tokio::time::Instant;

use crate::notice::notice;
use core_driver::{CoreDriver, Questions};
use minisocket_prober::{ProbeJob, ProbeResult};
use recording::Recording;
use resync::Resync;
use tcpclose_core::Input;
use tcpclose_core::finding::{Finding, Loss, LossLocation};
use tcpclose_core::stuck::{ProbeRequest, ProbeResponse};
use tcpclose_core::summary::IntervalEnd;
use tcpclose_core::types::Nanos;
use tcpclose_sys::host::shared_cgroup_names::SharedCgroupNames;
pub use tcpclose_sys::kernel::clock::now;
use tcpclose_sys::kernel::loader::{Options, Tier};
use tcpclose_sys::kernel::netns_cache::NetnsCache;
use tcpclose_sys::kernel::reader::{Attached, Reader};
use worker::Worker;

pub use builder::SessionBuilder;
pub use core_driver::{RawTransition, tracker_for};
pub use replay::Replay;

/// How often the counters of skipped runs are read, a file for each program, and what a recording has dropped is told.
const READ_MISSES: Nanos = Nanos::from_secs(1);

/// A little more than a close waits for its cause.
const SETTLE: Duration = Duration::from_millis(25);

/// How often the eBPF programs' own messages are looked for, where they were asked for.
const LISTEN: Duration = Duration::from_millis(200);

/// Programs attached, reader and core running.
pub struct Session {
    reader: Reader,
    intake: CoreDriver,
    /// How much the kernel lets us see.
    pub tier: Tier,
    /// What is not seen, and why, in sentences.
    pub shortcomings: Vec<String>,
    options: Options,
    joins_sock_diag: bool,
    repair: Resync,
    netns_cache: NetnsCache,
    diag: Worker<ProbeJob, ProbeResult>,
    looks: Option<Worker<Vec<ProbeRequest>, ProbeResponse>>,
    misses_read: Nanos,
    attached: Attached,
}

impl Session {
    /// Waits until there may be something to do. Safe to cancel.
    ///
    /// # Errors
    /// When the ring buffer can no longer be polled.
    pub async fn wait(&mut self) -> io::Result<()> {
        let lag = self.reader.lag();
        let next = self
            .intake
            .next_deadline()
            .map(|deadline| Duration::from_nanos((deadline + lag - now()).0));
        let listen = self.attached.log.as_ref().map(|_| LISTEN);
        let deadline = next
            .into_iter()
            .chain(listen)
            .min()
            .map(|wait| Instant::now() + wait);
        let looks = &mut self.looks;
        let looked = async {
            match looks {
                Some(looks) => looks.ready().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            ready = self.reader.wait(deadline) => ready,
            () = self.diag.ready() => Ok(()),
            () = looked => Ok(()),
        }
    }

    /// At the end: waits a moment for what tells more of what has happened, as causes follow. [`Self::pump`] then takes all.
    pub async fn settle(&mut self) {
        tokio::time::sleep(SETTLE).await;
        for loss in self.repair.abandon() {
            self.intake.take(&Input::Lost(loss));
        }
    }

    /// Takes all that has come: records, answers, time. `each` sees every transition before the core does.
    ///
    /// # Errors
    /// When the ring buffer or its counters cannot be read.
    pub fn pump(&mut self, mut each: impl FnMut(&RawTransition<'_>)) -> io::Result<()> {
        // Taken first: whatever happened before it has been drained when the core learns of it.
        let at = self.reader.horizon();
        let (intake, repair) = (&mut self.intake, &mut self.repair);
        let mut malformed = 0;
        let at = self.reader.drain(at, |event| match event {
            Ok(event) => {
                repair.note(&event);
                intake.take_showing(&Input::Event(event), &mut each);
            }
            Err(_) => malformed += 1,
        })?;
        self.take_losses(at, malformed)?;
        self.intake.take(&Input::Time(at));
        self.ask_and_answer(at);
        if let Some(log) = &mut self.attached.log {
            log.flush();
        }
        Ok(())
    }

    /// Tells what was lost: with a repair that may follow, or at once.
    fn take_losses(&mut self, at: Nanos, malformed: u64) -> io::Result<()> {
        let lost = self.reader.take_lost()?;
        let (mut skipped, mut dropped) = (0, 0);
        if at - self.misses_read >= READ_MISSES {
            self.misses_read = at;
            skipped = self.attached.take_misses();
            let recording = self.intake.recording().as_mut();
            dropped = recording.map_or(0, |recording| recording.recorder().take_dropped());
        }
        let loss = |(lost, location)| Loss {
            at,
            lost,
            location,
            repaired: false,
        };
        if dropped > 0 {
            let loss = loss((dropped, LossLocation::Recording));
            self.intake.take(&Input::Lost(loss));
        }
        let losses = [
            (lost, LossLocation::Ring),
            (skipped, LossLocation::Program),
            (malformed, LossLocation::Decode),
        ];
        let losses = losses.into_iter().filter(|(lost, _)| *lost > 0);
        let mut losses: Vec<Loss> = losses.map(loss).collect();
        if self.joins_sock_diag && self.repair.begin(&mut losses, at) {
            let options = Box::new(self.options.clone());
            self.diag.ask(ProbeJob::Everything(options));
        }
        for loss in losses {
            self.intake.take(&Input::Lost(loss));
        }
        Ok(())
    }

    /// The next finding.
    pub fn next_finding(&mut self) -> Option<Finding> {
        self.intake.next_finding()
    }

    /// Ends that wait for the peer's FIN: closed by their process, but not yet told.
    #[must_use]
    pub fn waiting_for_fin(&self) -> usize {
        self.intake.waiting_for_fin()
    }

    /// Whether the session is recorded and nothing more can be written; [`Self::finish_recording`] says why.
    #[must_use]
    pub fn recording_has_failed(&mut self) -> bool {
        let recording = self.intake.recording();
        recording
            .as_mut()
            .is_some_and(|recording| recording.recorder().has_failed())
    }

    /// Wall time minus monotonic time, in ns, for what is found from now on: a recording keeps it.
    pub fn set_wall_clock(&mut self, offset: i64) {
        if let Some(recording) = self.intake.recording() {
            recording.wall_clock(offset);
        }
    }

    /// Records, where anybody does, that an interval of the agent ends.
    pub fn record_boundary(&mut self, boundary: &IntervalEnd) {
        if let Some(recording) = self.intake.recording() {
            recording.boundary(boundary);
        }
    }

    /// The names of cgroups that are recorded; `None` where nothing is.
    #[must_use]
    pub fn recorded_cgroups(&mut self) -> Option<SharedCgroupNames> {
        let recording = self.intake.recording();
        recording.as_ref().map(Recording::names)
    }

    /// Ends the recording to `file`, if there is one, and says what is in it.
    ///
    /// # Errors
    /// What stopped it, now or earlier.
    pub fn finish_recording(&mut self, file: &Path) -> anyhow::Result<()> {
        let Some(recording) = self.intake.recording().take() else {
            return Ok(());
        };
        let recorded = recording.into_recorder().finish().with_context(|| {
            format!(
                "writing the recording {} failed; it holds what came before",
                file.display()
            )
        })?;
        notice!("{}", recorded.sentence(file));
        Ok(())
    }

    /// Asks what the core wants to know, and takes what was answered by `until`.
    fn ask_and_answer(&mut self, until: Nanos) {
        let Questions {
            lookups,
            sweeps,
            stuck,
        } = self.intake.take_questions();
        if !lookups.is_empty() || !sweeps.is_empty() {
            self.diag.ask(ProbeJob::Minisockets { lookups, sweeps });
        }
        while let Some(said) = self.diag.take(until) {
            let inputs = match said {
                ProbeResult::Minisockets(inputs) => inputs,
                ProbeResult::Everything(snapshot) => self.repair.end(*snapshot),
            };
            for input in &inputs {
                self.intake.take(input);
            }
        }
        let Some(looks) = &mut self.looks else { return };
        if let Some(answers) = looks.take(until) {
            self.intake.take(&Input::StuckProbed(answers));
        }
        if !stuck.is_empty() {
            looks.ask(stuck);
        }
    }
}
