//! The thread that writes segments.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use super::ring::Ring;
use crate::notice::notice;
use crate::recording::{EntryRef, Head, SegmentHead, first_line, frame, push_entry};
use tcpclose_core::finding::{Loss, LossLocation};
use tcpclose_core::types::Nanos;
use tcpclose_core::{Input, Saved, SnapshotSocket};

/// A segment is complete when its inputs have this part of all bytes: one in so many.
const SEGMENT_DIVISOR: u64 = 16;

/// What was known at its beginning has at most this part of all bytes.
const SNAPSHOT_DIVISOR: u64 = 8;

/// After a failure, a segment is begun again no sooner than this.
const RETRY_DELAY: Duration = Duration::from_secs(10);

/// What the thread is to write.
pub(super) enum Job {
    /// Encoded entries, and how many.
    Frame(Vec<u8>, u64),
    /// The next segment.
    Segment(Box<SegmentStart>),
}

/// What is known where a segment begins.
pub(crate) struct SegmentStart {
    pub at: Nanos,
    pub wall_clock: Option<i64>,
    /// The names of the cgroups of these sockets.
    pub cgroups: Vec<(u64, String)>,
    pub listening: Vec<SnapshotSocket>,
    pub saved: Saved,
}

/// What the thread has done so far, and what it needs.
#[derive(Debug, Default)]
pub(super) struct Shared {
    pub written: AtomicU64,
    pub failed: AtomicU64,
    pub bytes: AtomicU64,
    pub overwritten: AtomicU64,
    pub left_out: AtomicU64,
    /// Jobs that are not done yet.
    pub queued: AtomicU64,
    /// The last segment.
    pub segment: AtomicU64,
    /// Whether the next segment is to be begun.
    pub wants_segment: AtomicBool,
    /// Whether the last entries could not be passed on.
    pub is_cut: AtomicBool,
}

/// What the thread has.
pub(super) struct Writer {
    pub folder: PathBuf,
    pub ring: Ring,
    pub size: u64,
    pub head: Head,
    pub boot: String,
    pub session: Nanos,
    pub shared: Arc<Shared>,
    /// The bytes of the snapshot at the segment's beginning, and those of its inputs.
    pub snapshot_len: u64,
    pub inputs_len: u64,
    /// Entries that were lost since the last segment that could be written.
    pub lost: u64,
    pub failed_at: Option<Instant>,
    pub is_failure_told: bool,
}

impl Writer {
    /// Writes until no more jobs can come.
    pub fn run(mut self, jobs: &Receiver<Job>) {
        while let Ok(job) = jobs.recv() {
            match job {
                Job::Frame(entries, count) => self.write_frame(&entries, count),
                Job::Segment(start) => self.begin_segment(&start),
            }
            let shared = &self.shared;
            shared.bytes.store(self.ring.bytes(), Ordering::Relaxed);
            let overwritten = self.ring.overwritten();
            shared.overwritten.store(overwritten, Ordering::Relaxed);
            shared.segment.store(self.ring.last(), Ordering::Relaxed);
            shared.queued.fetch_sub(1, Ordering::Release);
        }
        // Without a last frame, readers take the segment as unfinished, and count a loss.
        if !self.shared.is_cut.load(Ordering::Acquire) {
            self.end_segment();
        }
    }

    fn write_frame(&mut self, entries: &[u8], count: u64) {
        if !self.ring.is_open() {
            self.lose(count);
            let is_time = |failed: Instant| failed.elapsed() >= RETRY_DELAY;
            if self.failed_at.is_none_or(is_time) {
                self.ask_for_segment();
            }
            return;
        }
        let mut stored = Vec::new();
        frame::push_compressed(&mut stored, frame::KIND_ENTRIES, entries);
        if let Err(error) = self.ring.append(&stored) {
            self.lose(count);
            self.note_failure(&error);
            return;
        }
        self.is_failure_told = false;
        self.shared.written.fetch_add(count, Ordering::Relaxed);
        self.inputs_len += stored.len() as u64;
        if self.inputs_len >= self.snapshot_len.max(self.size / SEGMENT_DIVISOR) {
            self.ask_for_segment();
        }
    }

    fn begin_segment(&mut self, start: &SegmentStart) {
        self.end_segment();
        let (snapshot, left_out) = self.encode(start);
        self.shared.left_out.store(left_out, Ordering::Relaxed);
        let head = Head {
            segment: Some(SegmentHead {
                boot: self.boot.clone(),
                session: self.session,
                at: start.at,
                lost_before: self.lost,
                left_out,
            }),
            ..self.head.clone()
        };
        // It has nothing but texts and numbers.
        let head = serde_json::to_vec(&head).unwrap_or_default();
        let mut bytes = first_line();
        frame::push(&mut bytes, frame::KIND_HEAD, head.len(), &head);
        bytes.extend(snapshot);
        (self.snapshot_len, self.inputs_len) = (bytes.len() as u64, 0);
        match self.ring.begin(&bytes) {
            Ok(()) => self.lost = 0,
            Err(error) => self.note_failure(&error),
        }
    }

    /// Returns the frames at a segment's beginning, and how many endpoints they have no room for.
    fn encode(&self, start: &SegmentStart) -> (Vec<u8>, u64) {
        let most = (self.size / SNAPSHOT_DIVISOR) as usize;
        let mut names = Vec::new();
        if let Some(offset) = start.wall_clock {
            push_entry(&mut names, EntryRef::WallClock(offset));
        }
        for (id, path) in &start.cgroups {
            push_entry(&mut names, EntryRef::Cgroup { id: *id, path });
        }
        let mut stored = Vec::new();
        frame::push_compressed(&mut stored, frame::KIND_ENTRIES, &names);
        let push = |stored: &mut Vec<u8>, inputs: &[Input]| {
            let mut entries = Vec::new();
            for input in inputs {
                push_entry(&mut entries, EntryRef::Input(input));
            }
            frame::push_compressed(stored, frame::KIND_SNAPSHOT, &entries);
        };
        let at = start.at;
        let sockets = start.listening.clone();
        push(
            &mut stored,
            &[Input::StartOver, Input::Snapshot { sockets, at }],
        );
        if self.lost > 0 {
            push(
                &mut stored,
                &[Input::Loss(Loss {
                    at,
                    lost: self.lost,
                    location: LossLocation::Recording,
                    repaired: true,
                    duration: None,
                })],
            );
        }
        let mut left_out = start.saved.left_out;
        for saved in &start.saved.parts {
            let (before, endpoints) = (stored.len(), saved.len());
            let saved = saved.clone();
            push(&mut stored, &[Input::Resume { saved, at }]);
            if stored.len() > most {
                stored.truncate(before);
                left_out += endpoints;
            }
        }
        push(&mut stored, &[Input::Time(at)]);
        (stored, left_out as u64)
    }

    fn end_segment(&mut self) {
        if self.ring.is_open() {
            let mut end = Vec::new();
            frame::push_compressed(&mut end, frame::KIND_END, &[]);
            if let Err(error) = self.ring.append(&end) {
                self.note_failure(&error);
            }
        }
    }

    fn ask_for_segment(&self) {
        self.shared.wants_segment.store(true, Ordering::Relaxed);
    }

    fn lose(&mut self, count: u64) {
        self.lost += count;
        self.shared.failed.fetch_add(count, Ordering::Relaxed);
    }

    fn note_failure(&mut self, error: &std::io::Error) {
        self.failed_at = Some(Instant::now());
        if !std::mem::replace(&mut self.is_failure_told, true) {
            let folder = self.folder.display();
            notice!("the flight recorder in {folder} cannot write, and tries again: {error}");
        }
    }
}
