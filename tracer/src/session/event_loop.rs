//! The session and its event loop: inputs go from a source into the core, findings from the core to
//! a consumer. The source is the running kernel or a recording.

use std::ops::ControlFlow;

use super::core_driver::{CoreDriver, OnTransition};
use super::recording::Recording;
use super::source::Source;
use crate::clock_offset::ClockOffset;
use crate::notice::notice;
use crate::record::RawTransition;
use tcpclose_common::TcpState;
use tcpclose_core::finding::Finding;
use tcpclose_core::types::{EndpointId, Nanos};
use tcpclose_sys::host::shared_cgroup_names::SharedCgroupNames;

/// A core with the source of its inputs. The session is the single owner of the core's state.
pub(crate) struct Session<S> {
    pub(super) source: S,
    pub(super) core: CoreDriver,
    pub(super) clock: ClockOffset,
}

/// Receives a session's findings: a terminal, the agent's outputs, or a recording.
pub(crate) trait Consumer<S> {
    /// The result of a session that has ended.
    type Output;

    /// Waits for events of the consumer's own: a signal, a timer, an output that has failed. Safe
    /// to cancel.
    async fn wait(&mut self) {
        std::future::pending().await
    }

    /// Handles the event that [`Self::wait`] has waited for.
    ///
    /// # Errors
    /// Any error ends the session.
    fn on_wake(&mut self, session: &mut Session<S>) -> anyhow::Result<()> {
        let _ = session;
        Ok(())
    }

    /// Returns whether [`Self::on_transition`] is to be called.
    fn wants_transitions(&self) -> bool {
        false
    }

    /// Takes a transition before the core does.
    fn on_transition(&mut self, transition: &RawTransition) {
        let _ = transition;
    }

    /// Called after each batch of inputs, before the findings that result from them.
    ///
    /// # Errors
    /// Any error ends the session.
    fn before_findings(&mut self, session: &mut Session<S>) -> anyhow::Result<()> {
        let _ = session;
        Ok(())
    }

    /// Takes a finding.
    ///
    /// # Errors
    /// Any error ends the session.
    fn on_finding(&mut self, finding: Finding) -> anyhow::Result<()>;

    /// Called after all findings up to [`Session::now`] have been passed to [`Self::on_finding`].
    ///
    /// # Errors
    /// Any error ends the session.
    fn after_findings(&mut self, session: &mut Session<S>) -> anyhow::Result<()> {
        let _ = session;
        Ok(())
    }

    /// Returns whether the session is to end.
    fn is_done(&self) -> bool;

    /// Writes the remaining output. Called exactly once, also where an error has ended the session.
    ///
    /// # Errors
    /// Returns an error if some findings could not be written.
    fn finish(self, session: &mut Session<S>) -> anyhow::Result<Self::Output>;
}

impl<S: Source> Session<S> {
    /// Runs until the consumer or the source is done, or until one of them fails. In every case the
    /// consumer gets all findings made by then, and both the consumer and the recording are
    /// finished.
    ///
    /// # Errors
    /// Returns the error that stopped the recording, if any; else the first error of the source or
    /// of the consumer. Further errors are reported on stderr.
    pub async fn run<C: Consumer<S>>(&mut self, mut consumer: C) -> anyhow::Result<C::Output> {
        let ended = match self.begin_recording() {
            Ok(()) => self.run_until_done(&mut consumer).await,
            Err(error) => Err(error),
        };
        self.source.settle().await;
        let (core, clock) = (&mut self.core, &self.clock);
        let source = &mut self.source;
        let drained = with_transitions(&mut consumer, |show| source.drain(core, clock, show));
        self.core.end_waits();
        let delivered = self.deliver(&mut consumer);
        let finished = consumer.finish(self);
        let recorded = self.finish_recording();
        let failures = [recorded, ended, drained, delivered];
        let failures = failures.into_iter().filter_map(Result::err);
        let report = |other: anyhow::Error| notice!("{other:#}");
        match (first_failure(failures, report), finished) {
            (None, finished) => finished,
            (Some(error), finished) => {
                finished.err().map(report);
                Err(error)
            }
        }
    }

    async fn run_until_done(&mut self, consumer: &mut impl Consumer<S>) -> anyhow::Result<()> {
        while !consumer.is_done() && !self.recording_has_failed() {
            tokio::select! {
                ready = self.source.wait(&self.core) => ready?,
                () = consumer.wait() => consumer.on_wake(self)?,
            }
            let pumped = self.pump(consumer);
            // Delivers the findings that were made before a failure, too.
            self.deliver(consumer)?;
            if pumped?.is_break() {
                break;
            }
        }
        Ok(())
    }

    fn pump(&mut self, consumer: &mut impl Consumer<S>) -> anyhow::Result<ControlFlow<()>> {
        let (source, core, clock) = (&mut self.source, &mut self.core, &self.clock);
        with_transitions(consumer, |show| source.pump(core, clock, show))
    }

    fn deliver(&mut self, consumer: &mut impl Consumer<S>) -> anyhow::Result<()> {
        consumer.before_findings(self)?;
        while let Some(finding) = self.next_finding() {
            consumer.on_finding(finding)?;
        }
        consumer.after_findings(self)
    }

    /// Returns the time up to which everything has been taken.
    #[must_use]
    pub fn now(&self) -> Nanos {
        self.source.now()
    }
}

/// Calls `work` with the function that shows the consumer each transition, if it wants them.
fn with_transitions<S, T>(
    consumer: &mut impl Consumer<S>,
    work: impl FnOnce(OnTransition<'_>) -> T,
) -> T {
    let is_wanted = consumer.wants_transitions();
    let mut show = |transition: &RawTransition| consumer.on_transition(transition);
    work(is_wanted.then_some(&mut show))
}

/// Returns the first failure, which ends the session, after passing the others to `report`.
pub(super) fn first_failure(
    mut failures: impl Iterator<Item = anyhow::Error>,
    report: impl FnMut(anyhow::Error),
) -> Option<anyhow::Error> {
    let first = failures.next();
    failures.for_each(report);
    first
}

impl<S> Session<S> {
    /// Returns the next finding that no consumer has taken yet.
    pub fn next_finding(&mut self) -> Option<Finding> {
        self.core.next_finding()
    }

    /// Returns the offset from monotonic time to wall time, which the session keeps up to date.
    #[must_use]
    pub fn clock(&self) -> ClockOffset {
        self.clock.clone()
    }

    /// Returns when a socket entered its present state; `None` if `state` is another one, or if the
    /// session did not see the transition.
    #[must_use]
    pub fn entered_at(&self, socket: EndpointId, state: TcpState) -> Option<Nanos> {
        let (known, since) = self.core.tracker().in_state_since(socket)?;
        (known == state).then_some(since)
    }

    /// Returns the number of endpoints that their process has closed and that still wait for the
    /// peer's FIN.
    #[must_use]
    pub fn waiting_for_fin(&self) -> usize {
        self.core.tracker().waiting_for_fin()
    }

    /// Begins to write the recording, if there is one; an existing file is replaced. Called once
    /// nothing more can prevent the session from starting; [`Self::run`] calls it, too.
    ///
    /// # Errors
    /// Returns an error if the file cannot be written.
    pub fn begin_recording(&mut self) -> anyhow::Result<()> {
        let recording = self.core.recording().as_mut();
        recording.map_or(Ok(()), Recording::begin)
    }

    /// Returns whether the session is recorded and writing the recording has failed.
    fn recording_has_failed(&mut self) -> bool {
        let recording = self.core.recording().as_mut();
        recording.is_some_and(|recording| recording.recorder().has_failed())
    }

    fn finish_recording(&mut self) -> anyhow::Result<()> {
        if let Some(flight) = self.core.flight().take() {
            flight.finish();
        }
        match self.core.recording().take() {
            Some(recording) => recording.finish(),
            None => Ok(()),
        }
    }

    /// Returns the names of the cgroups in the recording; `None` if the session is not recorded.
    #[must_use]
    pub fn recorded_cgroups(&mut self) -> Option<SharedCgroupNames> {
        let recording = self.core.recording();
        recording.as_ref().map(Recording::names)
    }
}
