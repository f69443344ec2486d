//! Where the inputs of a session's core come from.

use std::ops::ControlFlow;

use super::core_driver::{CoreDriver, OnTransition};
use crate::clock_offset::ClockOffset;
use tcpclose_core::types::Nanos;

/// The running kernel, or a recording.
pub(crate) trait Source {
    /// Waits until there may be something to take. Safe to cancel.
    ///
    /// # Errors
    /// The kernel can no longer be waited for.
    async fn wait(&mut self, core: &CoreDriver) -> anyhow::Result<()>;

    /// Gives the core what has come, up to the next time that the core learns of, and sets `clock` to the wall time that
    /// goes with it. Breaks where there will be no more.
    ///
    /// # Errors
    /// The kernel's records can no longer be read.
    fn pump(
        &mut self,
        core: &mut CoreDriver,
        clock: &ClockOffset,
        on_transition: OnTransition<'_>,
    ) -> anyhow::Result<ControlFlow<()>>;

    /// At the end of a session: gives the core what is still on its way.
    ///
    /// # Errors
    /// As [`Self::pump`].
    async fn drain(
        &mut self,
        core: &mut CoreDriver,
        clock: &ClockOffset,
        on_transition: OnTransition<'_>,
    ) -> anyhow::Result<()>;

    /// Returns the time up to which everything has been taken.
    fn now(&self) -> Nanos;
}
