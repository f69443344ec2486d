//! The interface of a session's source of inputs.

use std::ops::ControlFlow;

use super::core_driver::{CoreDriver, OnTransition};
use crate::clock_offset::ClockOffset;
use tcpclose_core::types::Nanos;

/// A source of the core's inputs: the running kernel, or a recording.
pub(crate) trait Source {
    /// Waits until there may be new inputs. Safe to cancel.
    ///
    /// # Errors
    /// Returns an error if waiting for the kernel has failed.
    async fn wait(&mut self, core: &CoreDriver) -> anyhow::Result<()>;

    /// Passes new inputs to the core, up to and including the next time, and sets `clock` to the
    /// matching offset of wall time. Breaks when no more inputs will follow.
    ///
    /// # Errors
    /// Returns an error if reading the kernel's records has failed.
    fn pump(
        &mut self,
        core: &mut CoreDriver,
        clock: &ClockOffset,
        on_transition: OnTransition<'_>,
    ) -> anyhow::Result<ControlFlow<()>>;

    /// Waits for the inputs that are still on their way, at the end of a session.
    async fn settle(&mut self);

    /// Passes the inputs to the core that have come after the last [`Self::pump`], at the end of a
    /// session.
    ///
    /// # Errors
    /// Fails as [`Self::pump`] does.
    fn drain(
        &mut self,
        core: &mut CoreDriver,
        clock: &ClockOffset,
        on_transition: OnTransition<'_>,
    ) -> anyhow::Result<()>;

    /// Returns the time up to which all inputs have been taken.
    fn now(&self) -> Nanos;
}
