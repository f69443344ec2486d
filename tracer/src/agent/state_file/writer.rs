//! Writes a state file, in a thread of its own: in full beside the former one, which it then
//! replaces.
//!
//! Nothing is synchronized with the disk. A file outlives its agent in the kernel's memory, and a
//! host that crashes boots anew, after which the state is of no use.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender, TrySendError};
use std::time::Instant;

use rustix::fs::Mode;

use super::format::{self, StateHead};
use crate::notice::notice;
use crate::plural::plural;
use crate::safe_path::ResolvedPath;
use crate::session::SavedSession;
use tcpclose_core::types::Nanos;
use tcpclose_sys::host::priority;

/// What is added to the name of a file that is not complete yet.
const NEW_SUFFIX: &str = ".new";

/// The file shows who connects to whom, and has command lines of processes.
const MODE: Mode = Mode::from_raw_mode(0o600);

/// What the thread is to write.
pub(super) enum StateJob {
    /// The whole file is written anew.
    All(Box<(StateHead, SavedSession)>),
    /// Nothing has changed, and the agent has worked until then.
    Until(Nanos),
}

/// What the thread has done so far.
#[derive(Debug, Default)]
pub(super) struct WriterCounts {
    pub written: AtomicU64,
    pub failed: AtomicU64,
    /// How many endpoints the last file had no room for.
    pub left_out: AtomicU64,
    /// Whether everything is to be written next: what was written is gone.
    pub needs_all: AtomicBool,
}

/// The thread that writes the state file.
pub(super) struct StateWriter {
    jobs: SyncSender<StateJob>,
    ended: Receiver<()>,
    counts: Arc<WriterCounts>,
}

impl StateWriter {
    /// Starts the thread.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn start(place: ResolvedPath, path: PathBuf) -> io::Result<Self> {
        // One may wait for a slow disk; the next is left out.
        let (jobs, to_do) = mpsc::sync_channel(1);
        let (end, ended) = mpsc::channel();
        let counts = Arc::new(WriterCounts::default());
        let mut file = WrittenFile {
            place,
            path,
            current: None,
            is_failure_told: false,
            counts: Arc::clone(&counts),
        };
        priority::spawn("state", move || {
            while let Ok(job) = to_do.recv() {
                file.write(job);
            }
            // The agent may have ended meanwhile.
            let _ = end.send(());
        })?;
        Ok(Self {
            jobs,
            ended,
            counts,
        })
    }

    pub fn counts(&self) -> &WriterCounts {
        &self.counts
    }

    /// Has the thread write. Returns `false` if it is too busy.
    pub fn write(&self, job: StateJob) -> bool {
        match self.jobs.try_send(job) {
            Ok(()) => true,
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => false,
        }
    }

    /// Has the thread write its last job, and waits for it until the deadline.
    pub fn finish(self, last: StateJob, deadline: Instant) {
        let Self { jobs, ended, .. } = self;
        let mut last = Some(last);
        while let Some(job) = last.take() {
            match jobs.try_send(job) {
                Ok(()) | Err(TrySendError::Disconnected(_)) => {}
                Err(TrySendError::Full(job)) if Instant::now() < deadline => {
                    std::thread::sleep(std::time::Duration::from_millis(5));
                    last = Some(job);
                }
                Err(TrySendError::Full(_)) => {}
            }
        }
        drop(jobs);
        let left = deadline.saturating_duration_since(Instant::now());
        if ended.recv_timeout(left) == Err(RecvTimeoutError::Timeout) {
            notice!("the state file could not be written in time; the next start knows less");
        }
    }
}

/// The file, as the thread has it.
struct WrittenFile {
    place: ResolvedPath,
    path: PathBuf,
    /// The last complete file, open.
    current: Option<File>,
    is_failure_told: bool,
    counts: Arc<WriterCounts>,
}

impl WrittenFile {
    fn write(&mut self, job: StateJob) {
        let written = match job {
            StateJob::All(all) => self.write_all(&all.0, &all.1),
            StateJob::Until(until) => self.write_until(until),
        };
        match written {
            Ok(()) => {
                self.counts.written.fetch_add(1, Ordering::Relaxed);
                self.is_failure_told = false;
            }
            Err(error) => {
                self.counts.failed.fetch_add(1, Ordering::Relaxed);
                self.counts.needs_all.store(true, Ordering::Relaxed);
                if !std::mem::replace(&mut self.is_failure_told, true) {
                    let path = self.path.display();
                    notice!("the state file {path} cannot be written: {error}");
                }
            }
        }
    }

    fn write_all(&mut self, head: &StateHead, saved: &SavedSession) -> io::Result<()> {
        let encoded = format::encode(head, saved);
        let new = self.place.with_suffix(NEW_SUFFIX)?;
        let mut file = new.create_anew(MODE)?;
        let written = file.write_all(&encoded.bytes);
        if let Err(error) = written.and_then(|()| new.rename_to(&self.place)) {
            // A full disk has room for other files again.
            let _ = new.remove(&file);
            return Err(error);
        }
        self.current = Some(file);
        let before = self
            .counts
            .left_out
            .swap(encoded.left_out as u64, Ordering::Relaxed);
        if encoded.left_out > 0 && before == 0 {
            let left_out = encoded.left_out;
            notice!(
                "the state file has no room for {left_out} {}",
                plural(left_out as u64, "connection", "connections")
            );
        }
        Ok(())
    }

    fn write_until(&mut self, until: Nanos) -> io::Result<()> {
        let gone = || io::Error::new(io::ErrorKind::NotFound, "it was removed");
        let current = self.current.as_ref().ok_or_else(gone)?;
        if current.metadata()?.nlink() == 0 {
            return Err(gone());
        }
        let (bytes, at) = format::until_frame_at(until);
        current.write_all_at(&bytes, at)
    }
}
