//! The side of the event loop: encodes entries, and never waits.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::time::Instant;

use anyhow::Context as _;

use super::ring::Ring;
pub(crate) use super::writer::SegmentStart;
use super::writer::{Job, Shared, Writer};
use crate::metrics::FlightCounts;
use crate::notice::notice;
use crate::recording::{EntryBuffer, EntryRef, Head};
use tcpclose_core::Input;
use tcpclose_core::types::Nanos;
use tcpclose_sys::host::{self, priority};

/// The most frames, each of 256 KiB, that wait for a slow disk. Further ones are dropped and
/// counted.
const MAX_QUEUED: usize = 32;

/// The shortest time from one segment to the next.
const MIN_SEGMENT_INTERVAL: Nanos = Nanos::from_secs(1);

/// After entries were dropped, the next segment repairs what is missing, no sooner than this.
const REPAIR_INTERVAL: Nanos = Nanos::from_secs(10);

/// The flight recorder of an agent that runs.
pub(crate) struct FlightRecorder {
    folder: PathBuf,
    buffer: EntryBuffer,
    jobs: SyncSender<Job>,
    ended: Receiver<()>,
    shared: Arc<Shared>,
    session: Nanos,
    boot: String,
    segment_at: Option<Nanos>,
    /// The entries that were dropped when the last segment began.
    dropped_before: u64,
    /// Holds the lock.
    _lock: File,
}

impl FlightRecorder {
    /// Opens a folder, which exists and whose lock is held. `head`: how this agent traces;
    /// `session`: the time now.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn open(
        (folder, lock): (PathBuf, File),
        size: u64,
        head: Head,
        session: Nanos,
    ) -> anyhow::Result<Self> {
        let boot = host::boot_id().context("the id of this boot cannot be read")?;
        let ring = Ring::find(folder.clone(), size).context("its segments cannot be read")?;
        let shared = Arc::new(Shared::default());
        let writer = Writer {
            folder: folder.clone(),
            ring,
            size,
            head,
            boot: boot.clone(),
            session,
            shared: Arc::clone(&shared),
            snapshot_len: 0,
            inputs_len: 0,
            lost: 0,
            failed_at: None,
            is_failure_told: false,
        };
        let (jobs, to_do) = mpsc::sync_channel(MAX_QUEUED);
        let (end, ended) = mpsc::channel();
        priority::spawn("flight", move || {
            writer.run(&to_do);
            // The agent may have ended meanwhile.
            let _ = end.send(());
        })?;
        Ok(Self {
            folder,
            buffer: EntryBuffer::default(),
            jobs,
            ended,
            shared,
            session,
            boot,
            segment_at: None,
            dropped_before: 0,
            _lock: lock,
        })
    }

    /// Records an input of the core.
    pub fn input(&mut self, input: &Input) {
        if self.buffer.input(input) {
            self.flush();
        }
    }

    /// Records another entry.
    pub fn entry(&mut self, entry: EntryRef<'_>) {
        if self.buffer.entry(entry) {
            self.flush();
        }
    }

    /// Returns when it needs the next [`Input::Time`].
    pub fn next_flush(&self) -> Option<Nanos> {
        self.buffer.next_flush()
    }

    /// Returns how many entries were dropped so far.
    pub const fn dropped(&self) -> u64 {
        self.buffer.dropped()
    }

    /// Returns whether the next segment is to begin now.
    pub fn wants_segment(&self, now: Nanos) -> bool {
        let Some(last) = self.segment_at else {
            return true;
        };
        let is_asked = self.shared.wants_segment.load(Ordering::Relaxed);
        let has_dropped = self.buffer.dropped() > self.dropped_before;
        (is_asked && now - last >= MIN_SEGMENT_INTERVAL)
            || (has_dropped && now - last >= REPAIR_INTERVAL)
    }

    /// Begins the next segment.
    pub fn begin_segment(&mut self, start: SegmentStart) {
        self.flush();
        self.segment_at = Some(start.at);
        self.dropped_before = self.buffer.dropped();
        self.shared.wants_segment.store(false, Ordering::Relaxed);
        if !self.submit(Job::Segment(Box::new(start))) {
            self.shared.wants_segment.store(true, Ordering::Relaxed);
        }
    }

    /// Passes what was collected to the thread.
    pub fn flush(&mut self) {
        let (jobs, shared) = (&self.jobs, &self.shared);
        let before = self.buffer.len();
        self.buffer
            .flush(|frame| submit(jobs, shared, Job::Frame(frame, before)));
    }

    fn submit(&self, job: Job) -> bool {
        submit(&self.jobs, &self.shared, job)
    }

    /// Returns what became of the entries.
    pub fn counts(&self) -> FlightCounts {
        let Shared {
            written,
            failed,
            bytes,
            overwritten,
            left_out,
            ..
        } = &*self.shared;
        FlightCounts {
            written: written.load(Ordering::Relaxed),
            failed: failed.load(Ordering::Relaxed),
            dropped: self.buffer.dropped(),
            bytes: bytes.load(Ordering::Relaxed),
            overwritten: overwritten.load(Ordering::Relaxed),
            left_out: left_out.load(Ordering::Relaxed),
        }
    }

    /// Returns where the segments are.
    pub fn folder(&self) -> &std::path::Path {
        &self.folder
    }

    /// Returns the host's boot and when this agent began to record.
    pub fn session(&self) -> (&str, Nanos) {
        (&self.boot, self.session)
    }

    /// Returns whether everything that was passed to the thread is written.
    pub fn is_idle(&self) -> bool {
        self.shared.queued.load(Ordering::Acquire) == 0
    }

    /// Writes what was collected, and waits for it until the deadline.
    pub fn finish(mut self, deadline: Instant) {
        self.flush();
        if self.buffer.has_unrecorded() {
            self.shared.is_cut.store(true, Ordering::Release);
        }
        let Self { jobs, ended, .. } = self;
        drop(jobs);
        let left = deadline.saturating_duration_since(Instant::now());
        if ended.recv_timeout(left) == Err(RecvTimeoutError::Timeout) {
            notice!("the flight recorder could not be written in time; its last entries are lost");
        }
    }
}

fn submit(jobs: &SyncSender<Job>, shared: &Shared, job: Job) -> bool {
    shared.queued.fetch_add(1, Ordering::Relaxed);
    let is_taken = jobs.try_send(job).is_ok();
    if !is_taken {
        shared.queued.fetch_sub(1, Ordering::Relaxed);
    }
    is_taken
}
