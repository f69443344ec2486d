//! The agent's state file: what it knows that the kernel does not show, for its next start.
//!
//! Every ten seconds it holds the sockets that are stuck or may be, and at the end all live
//! connections. The loop only takes down what it knows; a thread encodes and writes it.

mod format;
mod read;
#[cfg(test)]
mod tests;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::output_locks::take_lock;
use super::state_directory::in_state_directory;
use crate::metrics::StateWrites;
use crate::notice::notice;
use crate::plural::plural;
use crate::safe_path::{self, ResolvedPath};
use crate::session::{Live, Session, now};
use format::{MAX_ENDPOINTS, StateContent, StateHead};
use tcpclose_core::SaveScope;
use tcpclose_core::types::Nanos;
use tcpclose_sys::host;
use writer::{StateJob, StateWriter};

/// How often the file is written.
pub(super) const SAVE_INTERVAL: Duration = Duration::from_secs(10);

/// The most sockets that are stuck, or may be, in the file that is written from time to time.
const MAX_STUCK: usize = 1 << 16;

/// The name of the file in the folder of `StateDirectory=`.
const FILE_NAME: &str = "state";

/// The file of an agent that runs.
pub(super) struct StateFile {
    path: PathBuf,
    place: ResolvedPath,
    head: StateHead,
    writer: StateWriter,
    /// The session's revision that was written last.
    revision: Option<u64>,
    /// Holds the lock.
    _lock: std::fs::File,
}

/// Returns the file that the configuration names, or the environment; none for an empty path.
pub(super) fn path(configured: Option<&Path>) -> Option<PathBuf> {
    if let Some(configured) = configured {
        return (!configured.as_os_str().is_empty()).then(|| configured.to_owned());
    }
    in_state_directory(FILE_NAME)
}

impl StateFile {
    /// Opens the file's place, which no other agent may use. `traced` describes which connections
    /// are traced, and `stuck_known_from` is when all stuck sockets are known.
    ///
    /// # Errors
    /// The folder cannot be made, or another agent uses the file.
    pub fn open(path: &Path, traced: String, stuck_known_from: Nanos) -> anyhow::Result<Self> {
        let boot = host::boot_id().context("the id of this boot cannot be read")?;
        if let Some(folder) = path.parent() {
            safe_path::create_folders(folder)?;
        }
        let place = ResolvedPath::find(path)?;
        let lock = path.with_added_extension("lock");
        let lock = take_lock(&lock, || {
            format!("its lock {} cannot be taken", lock.display())
        })?;
        let writer = StateWriter::start(ResolvedPath::find(path)?, path.to_owned())?;
        Ok(Self {
            path: path.to_owned(),
            place,
            head: StateHead {
                program: env!("CARGO_PKG_VERSION").to_owned(),
                boot,
                traced,
                stuck_known_from,
                is_complete: false,
                endpoints: 0,
                left_out: 0,
            },
            writer,
            revision: None,
            _lock: lock,
        })
    }

    /// Takes over what an earlier agent has left, if it did. Returns from when on all stuck sockets
    /// are known.
    pub fn take_over(&mut self, session: &mut Session<Live>) -> Nanos {
        let StateHead { boot, traced, .. } = &self.head;
        let (head, content) = match read::read(&self.place, boot, traced, now()) {
            Ok(Some(read)) => read,
            Ok(None) => return self.head.stuck_known_from,
            Err(refusal) => {
                let path = self.path.display();
                notice!("the state file {path} is not taken over: {refusal}");
                return self.head.stuck_known_from;
            }
        };
        let StateContent { until, parts } = content;
        let gap = Duration::from_nanos((now() - until).0);
        let endpoints = head.endpoints;
        notice!(
            "{endpoints} {} of the agent before, which ended {:.1} s ago",
            plural(
                endpoints as u64,
                "connection is known",
                "connections are known"
            ),
            gap.as_secs_f64()
        );
        session.take_over(until, head.is_complete, parts);
        let known_from = &mut self.head.stuck_known_from;
        *known_from = head.stuck_known_from.min(*known_from);
        *known_from
    }

    /// Writes what is stuck or may be, if that has changed.
    pub fn save(&mut self, session: &Session<Live>) {
        // Until then the file of the agent before is the better one.
        if session.is_taking_over() {
            return;
        }
        let needs_all = &self.writer.counts().needs_all;
        if needs_all.swap(false, Ordering::Relaxed) {
            self.revision = None;
        }
        let revision = session.stuck_revision();
        let job = if self.revision == Some(revision) {
            StateJob::Until(session.taken_until())
        } else {
            let saved = session.save(SaveScope::MayBeStuck, MAX_STUCK);
            StateJob::All(Box::new((self.head.clone(), saved)))
        };
        let is_taken = self.writer.write(job);
        self.revision = is_taken.then_some(revision);
    }

    /// Writes everything, for the next agent.
    pub fn finish(self, session: &Session<Live>, deadline: Instant) {
        let saved = session.save(SaveScope::All, MAX_ENDPOINTS);
        let head = StateHead {
            is_complete: saved.is_complete,
            ..self.head
        };
        let all = StateJob::All(Box::new((head, saved)));
        self.writer.finish(all, deadline);
    }

    /// Returns how often the file was written.
    pub fn writes(&self) -> StateWrites {
        let counts = self.writer.counts();
        StateWrites {
            written: counts.written.load(Ordering::Relaxed),
            failed: counts.failed.load(Ordering::Relaxed),
            left_out: counts.left_out.load(Ordering::Relaxed),
        }
    }
}
