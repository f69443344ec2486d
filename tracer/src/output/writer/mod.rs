//! Writes findings in a thread of its own, so that a slow reader of the output never stops the
//! event loop.

mod batch;
mod end;
mod options;
#[cfg(test)]
mod tests;

use std::future;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender, TrySendError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::oneshot;

use super::Format;
use crate::clock_offset::ClockOffset;
use batch::Progress;
pub use end::WriterEnd;
pub use options::{DEFAULT_CAPACITY, Line, Options, View};
use tcpclose_sys::host::priority;

/// A thread that formats and writes lines from a bounded queue.
#[derive(Debug)]
pub struct Writer {
    queue: SyncSender<(i64, Line)>,
    /// The offset of this clock is queued with each line, so that a late line is not misdated.
    clock: ClockOffset,
    capacity: u64,
    /// The number of lines that the queue took.
    queued: u64,
    /// How many of those lines are written.
    progress: Arc<Progress>,
    dropped: u64,
    /// Whether the reader of the pipe has gone, or wants no more.
    reader_gone: Arc<AtomicBool>,
    end: Option<oneshot::Receiver<WriterEnd>>,
    thread: JoinHandle<()>,
    /// Disconnected when the thread has ended.
    running: Receiver<()>,
}

impl Writer {
    /// Starts the thread, which writes the table's titles at once. `out` should be unbuffered:
    /// lines are written in batches, and lines in a buffer would count as written.
    ///
    /// # Errors
    /// Returns an error if the thread cannot be started.
    pub fn start(
        format: Format,
        options: Options,
        out: impl Write + Send + 'static,
    ) -> io::Result<Self> {
        let capacity = options.capacity.max(1);
        let clock = options.clock.source().clone();
        let (queue, lines) = mpsc::sync_channel(capacity);
        let (end_of_output, end) = oneshot::channel();
        let (alive, running) = mpsc::channel::<()>();
        let progress = Arc::new(Progress::default());
        let counters = Arc::clone(&progress);
        let reader_gone = Arc::new(AtomicBool::new(false));
        let is_reader_gone = Arc::clone(&reader_gone);
        let thread = priority::spawn("output", move || {
            let _alive = alive;
            let formatter = batch::Formatter::new(format, options);
            let Err(end) = batch::run(&lines, formatter, out, &counters) else {
                return;
            };
            let is_failure = matches!(end, WriterEnd::Failed(_));
            is_reader_gone.store(!is_failure, Ordering::Release);
            // The receiver is gone while the writer is being finished.
            let _ = end_of_output.send(end);
        })?;
        Ok(Self {
            queue,
            clock,
            capacity: capacity as u64,
            queued: 0,
            progress,
            dropped: 0,
            reader_gone,
            end: Some(end),
            thread,
            running,
        })
    }

    /// Queues a line. Never blocks: a line that does not fit, or that comes after the end of the
    /// output, is dropped. It is also counted, unless the reader of a pipe has gone.
    pub fn send(&mut self, line: Line) {
        match self.queue.try_send((self.clock.get(), line)) {
            Ok(()) => self.queued += 1,
            Err(TrySendError::Full(_)) => self.dropped += 1,
            Err(TrySendError::Disconnected(_)) => {
                let counts = !self.reader_gone.load(Ordering::Acquire);
                self.dropped += u64::from(counts);
            }
        }
    }

    /// Queues a line, and waits until there is room for it. Returns `false` if the output has
    /// ended. For lines of a replay, which can wait.
    pub fn send_waiting(&mut self, line: Line) -> bool {
        let sent = self.queue.send((self.clock.get(), line)).is_ok();
        self.queued += u64::from(sent);
        sent
    }

    /// Takes the number of lines that were dropped since the last call, but only when the next line
    /// will fit: a record of the loss that is sent at once gets through, instead of being dropped
    /// and counted itself.
    pub fn take_dropped(&mut self) -> u64 {
        if self.unwritten() >= self.capacity {
            return 0;
        }
        std::mem::take(&mut self.dropped)
    }

    /// Returns the number of queued lines that are not written yet, at least as many as are in the
    /// queue.
    fn unwritten(&self) -> u64 {
        self.queued
            .saturating_sub(self.progress.done.load(Ordering::Acquire))
    }

    /// Returns the number of lines so far that passed the filter.
    #[must_use]
    pub fn shown(&self) -> u64 {
        self.progress.shown.load(Ordering::Relaxed)
    }

    /// Waits until nothing can be written any more, and returns the reason. Later calls wait for
    /// ever. Safe to cancel.
    pub async fn closed(&mut self) -> WriterEnd {
        let Some(end) = &mut self.end else {
            return future::pending().await;
        };
        let end = end.await;
        self.end = None;
        end.unwrap_or_else(|_| {
            WriterEnd::Failed(io::Error::other(
                "the thread that writes the output has ended",
            ))
        })
    }

    /// Writes the queued lines and ends the thread, or abandons the thread if the reader has not
    /// read them within `deadline`. Blocks for up to that time. Returns the number of lines that
    /// were not written: those left in the queue, and those dropped that [`Self::take_dropped`] has
    /// not returned yet.
    ///
    /// # Errors
    /// Returns the reason if the output ended by itself and [`Self::closed`] has not returned it
    /// yet.
    pub fn finish(mut self, deadline: Duration) -> Result<u64, WriterEnd> {
        let end = self.end.take();
        let Self {
            queue,
            queued,
            progress,
            dropped,
            running,
            thread,
            ..
        } = self;
        drop(queue);
        if running.recv_timeout(deadline) == Err(RecvTimeoutError::Disconnected) {
            // The panic hook has reported a panic; the lines that were not written because of it
            // are counted below.
            let _ = thread.join();
        }
        match end.and_then(|mut end| end.try_recv().ok()) {
            Some(end) => Err(end),
            None => Ok(dropped + queued.saturating_sub(progress.done.load(Ordering::Acquire))),
        }
    }
}
