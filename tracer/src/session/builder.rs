//! How a session of the running kernel starts.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};

use super::core_driver::CoreDriver;
use super::decode_failures::DecodeFailures;
use super::event_loop::Session;
use super::existing_sockets::ExistingSockets;
use super::live::Live;
use super::minisocket_prober::{MinisocketProber, ProbeJob, ProbeJobResult};
use super::probe_thread::{ProbeThread, Work};
use super::reader_priority::ReaderPriority;
use super::recording::Recording;
use super::resync::Resync;
use super::snapshot::SocketSnapshot;
use crate::clock_offset::ClockOffset;
use crate::notice::notice;
use crate::recording::{Head, IfExists};
use crate::stuck::StuckProber;
use tcpclose_core::ProbeRequest;
use tcpclose_core::stuck::{HolderCoverage, StuckProbeResponse};
use tcpclose_core::types::Nanos;
use tcpclose_sys::host::priority;
use tcpclose_sys::kernel::clock::now;
use tcpclose_sys::kernel::loader::{self, LoadError, LoaderThread, Tier, TraceOptions};
use tcpclose_sys::kernel::netns_cache::NetNsCache;

/// The default number of live endpoints that the core keeps: 1,048,576, each of some 200 bytes.
/// Beyond it, the endpoint that has been quiet for longest is dropped.
const MAX_ENDPOINTS: usize = 1 << 20;

/// Why a session could not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SessionError {
    /// The eBPF programs cannot be loaded or attached.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The work after attaching failed.
    #[error("a step after attaching the programs failed: {0:#}")]
    AfterAttach(anyhow::Error),
    /// The recording's file cannot be created.
    #[error("creating the recording {path:?} failed: {error}")]
    Recording {
        /// The recording.
        path: PathBuf,
        /// The answer of the operating system.
        error: io::Error,
    },
    /// A thread that probes sockets cannot be started.
    #[error("starting the threads that probe sockets failed: {0}")]
    Thread(io::Error),
    /// The ring buffers cannot be polled.
    #[error("polling the ring buffers failed: {0}")]
    Rings(io::Error),
}

/// Collects the options of a session, which [`Self::start`] starts.
pub(crate) struct SessionBuilder {
    options: TraceOptions,
    capacity: usize,
    stuck_after: Option<Nanos>,
    recording: Option<(PathBuf, IfExists)>,
    reader_nice: i32,
    after_attach: Box<dyn FnOnce() -> anyhow::Result<()>>,
}

impl Session<Live> {
    /// Returns a builder for a session that traces the running kernel with these options.
    #[must_use]
    pub fn builder(options: TraceOptions) -> SessionBuilder {
        SessionBuilder {
            options,
            capacity: MAX_ENDPOINTS,
            stuck_after: None,
            recording: None,
            reader_nice: 0,
            after_attach: Box::new(|| Ok(())),
        }
    }
}

impl SessionBuilder {
    /// Limits the number of live endpoints that the core keeps.
    #[must_use]
    pub fn capacity(self, capacity: usize) -> Self {
        Self { capacity, ..self }
    }

    /// Reports sockets that stay in their state for this time as stuck; with `None`, no socket is
    /// reported as stuck.
    #[must_use]
    pub fn stuck_after(self, stuck_after: Option<Nanos>) -> Self {
        Self {
            stuck_after,
            ..self
        }
    }

    /// Records all inputs of the core into this file, if there is one.
    #[must_use]
    pub fn record_to(self, file: Option<&Path>, if_exists: IfExists) -> Self {
        Self {
            recording: file.map(|file| (file.to_owned(), if_exists)),
            ..self
        }
    }

    /// Reads the kernel's records with this nice value, where it is negative and allowed.
    #[must_use]
    pub fn reader_nice(self, reader_nice: i32) -> Self {
        Self {
            reader_nice,
            ..self
        }
    }

    /// Calls `work` after the programs are attached and before any thread is started, because each
    /// thread drops its own privileges.
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
    /// Returns a [`SessionError`], whose message names what is missing and how to fix that.
    pub fn start(self) -> Result<Session<Live>, SessionError> {
        let Self {
            options,
            capacity,
            stuck_after,
            recording,
            reader_nice,
            after_attach,
        } = self;
        let loader = LoaderThread::start();
        let programs = loader::load_with(loader, &options)?;
        let attached_at = now();
        // Before privileges are dropped.
        priority::keep_allowed(reader_nice);
        let priority = ReaderPriority::take(reader_nice);
        after_attach().map_err(SessionError::AfterAttach)?;
        let (tier, limitations) = (programs.tier, programs.limitations().collect());
        let has_cookies = programs.has_cookie;
        let head = Head {
            hooks: programs.minisocket_hooks.is_ok(),
            segments: programs.minisocket_segments.is_ok(),
            drops: programs.dropped_segments.is_ok(),
            stuck_after,
            ..Head::new(&options, tier, capacity)
        };
        let create = |(path, if_exists): (PathBuf, IfExists)| {
            let created = Recording::prepare(&path, if_exists, &head);
            created.map_err(|error| SessionError::Recording { path, error })
        };
        let recording = recording.map(create).transpose()?;
        let minisockets = || -> Work<ProbeJob, ProbeJobResult> {
            let mut prober = MinisocketProber::new();
            Box::new(move |job| prober.run(job))
        };
        let minisockets = ProbeThread::start("sock_diag", minisockets, ProbeJobResult::given_up);
        let mut minisockets = minisockets.map_err(SessionError::Thread)?;
        let mut stuck = None;
        if stuck_after.is_some() {
            let prober = || -> Work<Vec<ProbeRequest>, StuckProbeResponse> {
                let mut prober = StuckProber::default();
                Box::new(move |requests| prober.probe(requests))
            };
            let started = ProbeThread::start("stuck", prober, nothing_found);
            stuck = Some(started.map_err(SessionError::Thread)?);
        }
        let (reader, attached) = programs.into_reader().map_err(SessionError::Rings)?;
        let existing = if has_cookies {
            Some(ExistingSockets::start(&options).map_err(SessionError::Thread)?)
        } else {
            // Sockets could not be joined with the records.
            let overflows = SocketSnapshot::take(&options).overflows;
            minisockets.submit(ProbeJob::Overflows(overflows));
            None
        };
        Ok(Session {
            core: CoreDriver::new(&head, recording),
            clock: ClockOffset::measured(),
            source: Live {
                reader,
                tier,
                limitations,
                options,
                has_cookies,
                resync: Resync::default(),
                netns_cache: NetNsCache::default(),
                timestamps: HashMap::new(),
                minisockets,
                stuck,
                decode_failures: DecodeFailures::default(),
                misses_read: Nanos(0),
                misses_outdated: false,
                attached,
                existing,
                attached_at,
                restart: None,
                priority,
                is_announced: false,
            },
        })
    }
}

/// Returns an empty response, for requests whose thread has panicked.
fn nothing_found(_: &Vec<ProbeRequest>) -> StuckProbeResponse {
    let at = now();
    StuckProbeResponse {
        at,
        ended: at,
        found: Vec::new(),
        coverage: HolderCoverage::default(),
    }
}

impl Session<Live> {
    /// Returns whether the records have socket cookies, by which they are matched with sockets.
    #[must_use]
    pub fn has_cookies(&self) -> bool {
        self.source.has_cookies
    }

    /// Returns the tier of the attached programs: how much they can see.
    #[must_use]
    pub fn tier(&self) -> Tier {
        self.source.tier
    }

    /// Prints what cannot be seen, and why. What is not known yet of the connections that were open
    /// before is printed from now on, if it takes long, and what of it could not be read.
    pub fn announce_limitations(&mut self) {
        for limitation in &self.source.limitations {
            notice!("{limitation}");
        }
        self.source.is_announced = true;
    }
}
