//! Writes findings in a thread of its own, so that a slow reader of the output never stops the event loop.

mod batch;
#[cfg(test)]
mod tests;

use std::fmt;
use std::future;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender, TrySendError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::record::Record;
use tcpclose_core::event::Transition;
use tcpclose_core::types::Nanos;

use super::cgroup_names::{CgroupNames, NoCgroups};
use super::clock::WallClock;
use crate::clock_offset::ClockOffset;

/// How many lines may wait for a slow reader: more than one look at a full ring buffer can yield.
pub const DEFAULT_CAPACITY: usize = 65_536;

/// How lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The table of closes. Losses are left out: say them on standard error with [`super::table::loss_message`].
    Table,
    /// The table of raw transitions; losses as above.
    TransitionTable,
    /// JSON lines.
    Json,
}

/// What formatting needs besides the lines.
pub struct Options {
    /// Turns the kernel's times into wall time: each by the offset that its source had when the line was sent.
    pub clock: WallClock,
    /// Names the owners' cgroups (JSON only). Asked in the writer's thread.
    pub cgroups: Box<dyn CgroupNames>,
    /// Columns of the terminal; `None` where the output is none, and nothing is cut.
    pub width: Option<u16>,
    /// Whether tables are coloured.
    pub colours: bool,
    /// How many lines may wait, at least 1; more are dropped and counted.
    pub capacity: usize,
}

impl Default for Options {
    /// For a pipe or file: nothing cut, no colours, no cgroup names.
    fn default() -> Self {
        Self {
            clock: WallClock::new(ClockOffset::measured()),
            cgroups: Box::new(NoCgroups),
            width: None,
            colours: false,
            capacity: DEFAULT_CAPACITY,
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            clock,
            cgroups: _,
            width,
            colours,
            capacity,
        } = self;
        f.debug_struct("Options")
            .field("clock", clock)
            .field("width", width)
            .field("colours", colours)
            .field("capacity", capacity)
            .finish_non_exhaustive()
    }
}

/// What is written as one line.
#[derive(Clone, Debug)]
pub enum Line {
    /// A finding or a summary.
    Record(Record),
    /// A raw transition.
    Transition(Box<RawTransition>),
}

/// A transition as the kernel reported it, with what the table of transitions shows beside it.
#[derive(Clone, Copy, Debug)]
pub struct RawTransition {
    /// The transition.
    pub transition: Transition,
    /// Time spent in the state that was left, where that is known.
    pub in_old: Option<Nanos>,
}

/// Why no more can be written.
#[derive(Debug)]
pub enum WriterEnd {
    /// The reader of the pipe has gone (`| head`): for a filter that is success.
    PipeClosed,
    /// The output failed: disk full, for example.
    Failed(io::Error),
}

/// A thread that formats and writes lines from a bounded queue.
#[derive(Debug)]
pub struct Writer {
    queue: SyncSender<(i64, Line)>,
    /// It goes with each line, so that it does not matter when a line is written.
    clock: ClockOffset,
    capacity: u64,
    /// Lines that the queue took.
    queued: u64,
    /// Lines of those that are written.
    done: Arc<AtomicU64>,
    dropped: u64,
    /// The reader of the pipe has gone.
    unwanted: Arc<AtomicBool>,
    end: Option<oneshot::Receiver<WriterEnd>>,
    thread: JoinHandle<()>,
    /// Disconnected when the thread is through.
    running: Receiver<()>,
}

impl Writer {
    /// Starts the thread, which writes the table's titles at once. `out` is best unbuffered, as lines are written in
    /// batches and those in a buffer would count as written.
    ///
    /// # Errors
    /// When the thread cannot be started.
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
        let done = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&done);
        let unwanted = Arc::new(AtomicBool::new(false));
        let is_unwanted = Arc::clone(&unwanted);
        let thread = thread::Builder::new()
            .name("output".to_owned())
            .spawn(move || {
                let _alive = alive;
                let formatter = batch::Formatter::new(format, options);
                if let Err(error) = batch::run(&lines, formatter, out, &counter) {
                    let end = match error.kind() {
                        io::ErrorKind::BrokenPipe => {
                            is_unwanted.store(true, Ordering::Release);
                            WriterEnd::PipeClosed
                        }
                        _ => WriterEnd::Failed(error),
                    };
                    // Nobody listens any more when the writer is being finished.
                    let _ = end_of_output.send(end);
                }
            })?;
        Ok(Self {
            queue,
            clock,
            capacity: capacity as u64,
            queued: 0,
            done,
            dropped: 0,
            unwanted,
            end: Some(end),
            thread,
            running,
        })
    }

    /// Queues a line. Never blocks: what does not fit, or comes after the end of the output, is dropped and counted; not
    /// where the reader of a pipe has gone, who wants no more.
    pub fn send(&mut self, line: Line) {
        match self.queue.try_send((self.clock.get(), line)) {
            Ok(()) => self.queued += 1,
            Err(TrySendError::Full(_)) => self.dropped += 1,
            Err(TrySendError::Disconnected(_)) => {
                let is_missed = !self.unwanted.load(Ordering::Acquire);
                self.dropped += u64::from(is_missed);
            }
        }
    }

    /// Queues a line, and waits until there is room for it; false when the output has ended. For lines that come from a
    /// file, which can wait.
    pub fn send_waiting(&mut self, line: Line) -> bool {
        let sent = self.queue.send((self.clock.get(), line)).is_ok();
        self.queued += u64::from(sent);
        sent
    }

    /// How many lines were dropped since the last call, told only when the next line will fit: a record of the loss
    /// that is sent at once gets through, instead of being lost itself and counted again and again.
    pub fn take_dropped(&mut self) -> u64 {
        if self.unwritten() >= self.capacity {
            return 0;
        }
        std::mem::take(&mut self.dropped)
    }

    /// Lines that the queue took and that are not written yet; no fewer than the queue holds.
    fn unwritten(&self) -> u64 {
        self.queued
            .saturating_sub(self.done.load(Ordering::Acquire))
    }

    /// Waits until nothing can be written any more, and says why. Says it once: later calls wait for ever. Dropping
    /// the future loses nothing.
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

    /// Writes what is queued and ends the thread, or leaves it behind when `deadline` has passed and the reader is
    /// still stuck. Blocks that long. Returns how many lines were not written: those left in the queue, and those
    /// dropped and not yet told by [`Self::take_dropped`].
    ///
    /// # Errors
    /// When the output ended by itself and [`Self::closed`] has not said so yet.
    pub fn finish(mut self, deadline: Duration) -> Result<u64, WriterEnd> {
        let end = self.end.take();
        let Self {
            queue,
            queued,
            done,
            dropped,
            running,
            thread,
            ..
        } = self;
        drop(queue);
        if running.recv_timeout(deadline) == Err(RecvTimeoutError::Disconnected) {
            // The panic hook has reported a panic; what was not written for it is counted below.
            let _ = thread.join();
        }
        match end.and_then(|mut end| end.try_recv().ok()) {
            Some(end) => Err(end),
            None => Ok(dropped + queued.saturating_sub(done.load(Ordering::Acquire))),
        }
    }
}
