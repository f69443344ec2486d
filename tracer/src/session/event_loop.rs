//! A session and its one loop: inputs from a source go into the core, findings come out to a consumer, whether the source
//! is the running kernel or a recording.

use std::ops::ControlFlow;

use super::core_driver::{CoreDriver, RawTransition};
use super::recording::Recording;
use super::source::Source;
use crate::clock_offset::ClockOffset;
use tcpclose_common::TcpState;
use tcpclose_core::finding::Finding;
use tcpclose_core::types::{EndpointId, Nanos};
use tcpclose_sys::host::shared_cgroup_names::SharedCgroupNames;

/// A core with the source of its inputs. It is the single owner of the core's state.
pub(crate) struct Session<S> {
    pub(super) source: S,
    pub(super) core: CoreDriver,
    pub(super) clock: ClockOffset,
}

/// What a session's findings are for: a terminal, an agent's outputs, a recording.
pub(crate) trait Consumer<S> {
    /// What is left when the session has ended.
    type Outcome;

    /// Waits until something else than the source wants attention: a signal, a clock, an output that has failed. Safe to
    /// cancel.
    async fn wait(&mut self) {
        std::future::pending().await
    }

    /// Attends to what [`Self::wait`] has waited for.
    ///
    /// # Errors
    /// Any ends the session.
    fn on_wake(&mut self, session: &mut Session<S>) -> anyhow::Result<()> {
        let _ = session;
        Ok(())
    }

    /// Returns whether [`Self::on_transition`] is to be called.
    fn wants_transitions(&self) -> bool {
        false
    }

    /// Takes a transition, before what the core makes of it.
    fn on_transition(&mut self, transition: &RawTransition<'_>) {
        let _ = transition;
    }

    /// Called each time that inputs have gone into the core, before the findings that they led to.
    ///
    /// # Errors
    /// Any ends the session.
    fn before_findings(&mut self, session: &mut Session<S>) -> anyhow::Result<()> {
        let _ = session;
        Ok(())
    }

    /// Takes a finding.
    ///
    /// # Errors
    /// Any ends the session.
    fn on_finding(&mut self, finding: Finding) -> anyhow::Result<()>;

    /// Called when all findings up to [`Session::now`] have been taken.
    ///
    /// # Errors
    /// Any ends the session.
    fn after_findings(&mut self, session: &mut Session<S>) -> anyhow::Result<()> {
        let _ = session;
        Ok(())
    }

    /// Returns whether the session is to end.
    fn is_done(&self) -> bool;

    /// Writes what is left. Called once, whatever has ended the session.
    ///
    /// # Errors
    /// Not all that was found could be written.
    fn finish(self, session: &mut Session<S>) -> anyhow::Result<Self::Outcome>;
}

impl<S: Source> Session<S> {
    /// Runs until the consumer or the source is done, or until one of them fails. However it ends, the consumer gets all
    /// that was found by then and is finished, and so is the recording.
    ///
    /// # Errors
    /// What stopped the recording, if anything did; else what ended the loop before its time, or was left unwritten.
    pub async fn run<C: Consumer<S>>(&mut self, mut consumer: C) -> anyhow::Result<C::Outcome> {
        let ended = match self.begin_recording() {
            Ok(()) => self.run_until_done(&mut consumer).await,
            Err(error) => Err(error),
        };
        let wanted = consumer.wants_transitions();
        let mut show = |transition: &RawTransition<'_>| consumer.on_transition(transition);
        let show = wanted.then_some(&mut show as &mut dyn FnMut(&RawTransition<'_>));
        let (core, clock) = (&mut self.core, &self.clock);
        let drained = self.source.drain(core, clock, show).await;
        let delivered = self.deliver(&mut consumer);
        let finished = consumer.finish(self);
        let recorded = self.finish_recording();
        recorded
            .and(ended)
            .and(drained)
            .and(delivered)
            .and(finished)
    }

    async fn run_until_done(&mut self, consumer: &mut impl Consumer<S>) -> anyhow::Result<()> {
        while !consumer.is_done() && !self.recording_has_failed() {
            tokio::select! {
                ready = self.source.wait(&self.core) => ready?,
                () = consumer.wait() => consumer.on_wake(self)?,
            }
            let pumped = self.pump(consumer);
            // Also what was found before something failed.
            self.deliver(consumer)?;
            if pumped?.is_break() {
                break;
            }
        }
        Ok(())
    }

    fn pump(&mut self, consumer: &mut impl Consumer<S>) -> anyhow::Result<ControlFlow<()>> {
        let wanted = consumer.wants_transitions();
        let mut show = |transition: &RawTransition<'_>| consumer.on_transition(transition);
        let show = wanted.then_some(&mut show as &mut dyn FnMut(&RawTransition<'_>));
        self.source.pump(&mut self.core, &self.clock, show)
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

impl<S> Session<S> {
    /// Returns the next finding that no consumer has taken yet.
    pub fn next_finding(&mut self) -> Option<Finding> {
        self.core.next_finding()
    }

    /// Returns the wall time of what is found, as a distance from monotonic time that the session keeps up to date.
    #[must_use]
    pub fn clock(&self) -> ClockOffset {
        self.clock.clone()
    }

    /// Returns when a socket entered the state in which it is now; `None` where the session has not seen that.
    #[must_use]
    pub fn entered(&self, socket: EndpointId, state: TcpState) -> Option<Nanos> {
        let (known, since) = self.core.tracker().in_state_since(socket)?;
        (known == state).then_some(since)
    }

    /// Returns how many ends wait for the peer's FIN: closed by their process, but not yet reported.
    #[must_use]
    pub fn waiting_for_fin(&self) -> usize {
        self.core.tracker().waiting_for_fin()
    }

    /// Begins to write the recording, if there is one, over what its file held: once nothing more can keep the session
    /// from starting. [`Self::run`] does so where it was not done.
    ///
    /// # Errors
    /// When nothing can be written.
    pub fn begin_recording(&mut self) -> anyhow::Result<()> {
        let recording = self.core.recording().as_mut();
        recording.map_or(Ok(()), Recording::begin)
    }

    /// Returns whether the session is recorded and nothing more can be written.
    fn recording_has_failed(&mut self) -> bool {
        let recording = self.core.recording().as_mut();
        recording.is_some_and(|recording| recording.recorder().has_failed())
    }

    fn finish_recording(&mut self) -> anyhow::Result<()> {
        match self.core.recording().take() {
            Some(recording) => recording.finish(),
            None => Ok(()),
        }
    }

    /// Returns the names of the cgroups that are recorded; `None` where nothing is.
    #[must_use]
    pub fn recorded_cgroups(&mut self) -> Option<SharedCgroupNames> {
        let recording = self.core.recording();
        recording.as_ref().map(Recording::names)
    }
}
