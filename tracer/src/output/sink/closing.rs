//! The end of an output: it gets no more records, delivers those that wait, and its thread ends.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::watch;

use super::config::{SinkConfig, Target};
use super::queue::Queue;
use crate::output_status::OutputCounts;

/// An output that gets no more records.
#[derive(Debug)]
pub struct ClosingSink {
    config: SinkConfig,
    sink_thread: SinkThreadHandle,
}

impl ClosingSink {
    pub(super) fn new(config: SinkConfig, sink_thread: SinkThreadHandle) -> Self {
        sink_thread.queue.lock().closing = true;
        sink_thread.queue.wake();
        Self {
            config,
            sink_thread,
        }
    }

    /// Returns the output's name in messages and metrics.
    #[must_use]
    pub fn name(&self) -> String {
        self.config.name()
    }

    /// Returns where the records go.
    #[must_use]
    pub const fn target(&self) -> &Target {
        &self.config.target
    }

    /// Returns a handle to the output's thread, by which others can wait for its end.
    #[must_use]
    pub const fn sink_thread(&self) -> &SinkThreadHandle {
        &self.sink_thread
    }

    /// Returns what has become of the records so far.
    #[must_use]
    pub fn counts(&self) -> OutputCounts {
        self.sink_thread.queue.lock().counts()
    }

    /// Returns what has become of all records; those still queued are lost. A thread that is not
    /// blocked by its receiver ends at once.
    #[must_use]
    pub fn give_up(self) -> OutputCounts {
        let mut state = self.sink_thread.queue.lock();
        state.abandoned = true;
        let counts = state.counts();
        drop(state);
        self.sink_thread.queue.wake();
        counts
    }

    /// Blocks until all records are delivered, at most until `deadline`, and then
    /// [gives up](Self::give_up).
    #[must_use]
    pub fn finish(self, deadline: Instant) -> OutputCounts {
        self.sink_thread.wait_until_ended(deadline);
        self.give_up()
    }
}

/// A handle to the thread of an output.
#[derive(Clone)]
pub struct SinkThreadHandle {
    queue: Arc<Queue>,
    /// Closed when the thread has ended.
    alive: watch::Receiver<()>,
}

impl fmt::Debug for SinkThreadHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SinkThreadHandle")
            .field("has_ended", &self.has_ended())
            .finish_non_exhaustive()
    }
}

impl SinkThreadHandle {
    pub(super) const fn new(queue: Arc<Queue>, alive: watch::Receiver<()>) -> Self {
        Self { queue, alive }
    }

    /// Returns whether the thread has ended and released its file or connection.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.queue.lock().ended
    }

    /// Completes when the thread has ended.
    pub async fn ended(mut self) {
        // Nothing is ever sent: this waits for the sender's end.
        while self.alive.changed().await.is_ok() {}
    }

    /// Blocks until the thread has ended, at most until `deadline`. Returns whether it has.
    pub fn wait_until_ended(&self, deadline: Instant) -> bool {
        let mut state = self.queue.lock();
        while !state.ended && Instant::now() < deadline {
            state = self.queue.wait(state, Some(deadline));
        }
        state.ended
    }
}
