//! How a session of the running kernel starts.

use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::core_driver::CoreDriver;
use super::minisocket_prober::MinisocketProber;
use super::recording::Recording;
use super::resync::Resync;
use super::snapshot::Snapshot;
use super::worker::Worker;
use super::{Session, now, owners};
use crate::recording::Head;
use crate::stuck::Prober;
use tcpclose_core::Input;
use tcpclose_core::stuck::ProbeRequest;
use tcpclose_core::types::Nanos;
use tcpclose_sys::kernel::loader::{self, LoadError, Loader, Options};
use tcpclose_sys::kernel::netns_cache::NetnsCache;

/// Live connection ends kept unless another number is asked for: 1,048,576, each some 200 bytes. The one that is quiet
/// for longest makes room.
const CAPACITY: usize = 1 << 20;

/// Options of a session, which [`Self::start`] starts.
pub struct SessionBuilder {
    options: Options,
    capacity: usize,
    stuck_after: Option<Nanos>,
    recording: Option<PathBuf>,
    after_attach: Box<dyn FnOnce() -> anyhow::Result<()>>,
}

impl Session {
    /// Returns a builder for a session that gets from the kernel what these options ask for.
    #[must_use]
    pub fn builder(options: Options) -> SessionBuilder {
        SessionBuilder {
            options,
            capacity: CAPACITY,
            stuck_after: None,
            recording: None,
            after_attach: Box::new(|| Ok(())),
        }
    }
}

impl SessionBuilder {
    /// Keeps at most so many live connection ends.
    #[must_use]
    pub fn capacity(self, capacity: usize) -> Self {
        Self { capacity, ..self }
    }

    /// Reports connections that stay in CLOSE_WAIT for so long as stuck. Without a time none is.
    #[must_use]
    pub fn stuck_after(self, stuck_after: Option<Nanos>) -> Self {
        Self {
            stuck_after,
            ..self
        }
    }

    /// Records to this file all that goes into the core.
    #[must_use]
    pub fn record_to(self, file: Option<&Path>) -> Self {
        Self {
            recording: file.map(Path::to_owned),
            ..self
        }
    }

    /// Calls `work` when the programs are attached and no thread is started yet: each thread gives up rights for itself.
    #[must_use]
    pub fn after_attach(self, work: impl FnOnce() -> anyhow::Result<()> + 'static) -> Self {
        Self {
            after_attach: Box::new(work),
            ..self
        }
    }

    /// Loads and attaches the programs; must run within a tokio runtime.
    ///
    /// # Errors
    /// [`LoadError`], whose message says what is missing and what to do; also where the recording cannot be made, and
    /// where [`Self::after_attach`] fails.
    pub fn start(self) -> Result<Session, LoadError> {
        let Self {
            options,
            capacity,
            stuck_after,
            recording,
            after_attach,
        } = self;
        let loader = Loader::begin();
        // Before the programs are attached, because nobody reads their records meanwhile.
        let before = Snapshot::take_held(&options);
        let owners = owners::of(&before.inodes);
        let programs = loader::load_by(loader, &options)?;
        after_attach().map_err(|source| LoadError::Other {
            doing: "going on after the programs were attached",
            source,
        })?;
        let (tier, shortcomings) = (programs.tier, programs.shortcomings().collect());
        let joins_sock_diag = programs.has_cookie;
        let head = Head {
            hooks: programs.hooks.is_ok(),
            segments: programs.segments.is_ok(),
            stuck_after,
            ..Head::new(&options, tier, capacity)
        };
        let create = |path: PathBuf| {
            let created = Recording::create(&path, &head);
            created.with_context(|| path.display().to_string())
        };
        let recording = recording.map(create).transpose();
        let recording = recording.map_err(|source| LoadError::Other {
            doing: "making the recording's file",
            source,
        })?;
        let no_thread = |error: io::Error| LoadError::Other {
            doing: "starting the threads that look at sockets",
            source: error.into(),
        };
        let mut diag = MinisocketProber::new(before.overflows);
        let diag = Worker::start("sock_diag", move |ask| diag.answer(ask)).map_err(no_thread)?;
        let mut looks = None;
        if stuck_after.is_some() {
            let mut asker = Prober::default();
            let answer = move |questions: Vec<ProbeRequest>| asker.answer(&questions);
            looks = Some(Worker::start("looks", answer).map_err(no_thread)?);
        }
        let (reader, attached) = programs.into_reader().map_err(|error| LoadError::Other {
            doing: "polling the ring buffer",
            source: error.into(),
        })?;
        let mut session = Session {
            reader,
            joins_sock_diag,
            repair: Resync::default(),
            netns_cache: NetnsCache::default(),
            shortcomings,
            intake: CoreDriver::new(&head, recording),
            tier,
            diag,
            looks,
            misses_read: Nanos(0),
            attached,
            options,
        };
        // Sockets that are open already. Without cookies a snapshot cannot be joined with the records.
        if session.joins_sock_diag {
            let snapshot = Snapshot::take(&session.options, &owners);
            session.intake.take(&Input::SnapshotSocket {
                sockets: snapshot.sockets,
                at: now(),
            });
            let unseen = snapshot.unseen.into_iter().map(|why| {
                format!("connections that are open already are not seen where this failed: {why}")
            });
            session.shortcomings.extend(unseen);
        }
        Ok(session)
    }
}
