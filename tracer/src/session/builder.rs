//! How a session of the running kernel starts.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::core_driver::CoreDriver;
use super::decode_failures::DecodeFailures;
use super::event_loop::Session;
use super::live::Live;
use super::minisocket_prober::{MinisocketProber, ProbeJob, ProbeResult};
use super::owners;
use super::recording::Recording;
use super::resync::Resync;
use super::snapshot::Snapshot;
use super::worker::{Work, Worker};
use crate::clock_offset::ClockOffset;
use crate::recording::Head;
use crate::stuck::Prober;
use tcpclose_core::Input;
use tcpclose_core::stuck::{ProbeRequest, ProbeResponse};
use tcpclose_core::types::{EndpointId, Nanos, SharedOwner};
use tcpclose_sys::kernel::clock::now;
use tcpclose_sys::kernel::loader::{self, LoadError, LoaderThread, Tier, TraceOptions};
use tcpclose_sys::kernel::netns_cache::NetnsCache;

/// The default number of live endpoints that the core keeps: 1,048,576, each of some 200 bytes.
/// Beyond it, the endpoint that has been quiet for longest is dropped.
const CAPACITY: usize = 1 << 20;

/// Collects the options of a session, which [`Self::start`] starts.
pub(crate) struct SessionBuilder {
    options: TraceOptions,
    capacity: usize,
    stuck_after: Option<Nanos>,
    recording: Option<PathBuf>,
    after_attach: Box<dyn FnOnce() -> anyhow::Result<()>>,
}

impl Session<Live> {
    /// Returns a builder for a session that traces the running kernel with these options.
    #[must_use]
    pub fn builder(options: TraceOptions) -> SessionBuilder {
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
    /// Limits the number of live endpoints that the core keeps.
    #[must_use]
    pub fn capacity(self, capacity: usize) -> Self {
        Self { capacity, ..self }
    }

    /// Reports sockets that stay in CLOSE_WAIT for this time as stuck; with `None`, no socket is
    /// reported as stuck.
    #[must_use]
    pub fn stuck_after(self, stuck_after: Option<Nanos>) -> Self {
        Self {
            stuck_after,
            ..self
        }
    }

    /// Records all inputs of the core into this file.
    #[must_use]
    pub fn record_to(self, file: Option<&Path>) -> Self {
        Self {
            recording: file.map(Path::to_owned),
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
    /// Returns a [`LoadError`], whose message names what is missing and how to fix that. The
    /// recording's file and [`Self::after_attach`] may fail, too.
    pub fn start(self) -> Result<Session<Live>, LoadError> {
        let Self {
            options,
            capacity,
            stuck_after,
            recording,
            after_attach,
        } = self;
        let loader = LoaderThread::start();
        // Taken before the programs are attached, because their records are not read meanwhile.
        let before = Snapshot::take_full_sockets(&options);
        let owners = owners::of(&before.inodes);
        let programs = loader::load_with(loader, &options)?;
        after_attach().map_err(|error| LoadError::Other {
            doing: "going on after the programs were attached",
            error,
        })?;
        let (tier, shortcomings) = (programs.tier, programs.shortcomings().collect());
        let has_cookies = programs.has_cookie;
        let head = Head {
            hooks: programs.hooks.is_ok(),
            segments: programs.segments.is_ok(),
            stuck_after,
            ..Head::new(&options, tier, capacity)
        };
        let create = |path: PathBuf| {
            let created = Recording::prepare(&path, &head);
            created.with_context(|| path.display().to_string())
        };
        let recording = recording.map(create).transpose();
        let recording = recording.map_err(|error| LoadError::Other {
            doing: "making the recording's file",
            error,
        })?;
        let no_thread = |error: io::Error| LoadError::Other {
            doing: "starting the threads that look at sockets",
            error: error.into(),
        };
        let mut overflows = before.overflows;
        let minisockets = move || -> Work<ProbeJob, ProbeResult> {
            // A prober that is made after a panic starts its counts anew.
            let mut prober = MinisocketProber::new(std::mem::take(&mut overflows));
            Box::new(move |job| prober.run(job))
        };
        let minisockets = Worker::start("sock_diag", minisockets, ProbeResult::given_up);
        let minisockets = minisockets.map_err(no_thread)?;
        let mut stuck = None;
        if stuck_after.is_some() {
            let prober = || -> Work<Vec<ProbeRequest>, ProbeResponse> {
                let mut prober = Prober::default();
                Box::new(move |requests| prober.probe(requests))
            };
            stuck = Some(Worker::start("stuck", prober, nothing_found).map_err(no_thread)?);
        }
        let (reader, attached) = programs.into_reader().map_err(|error| LoadError::Other {
            doing: "polling the ring buffer",
            error: error.into(),
        })?;
        let mut session = Session {
            core: CoreDriver::new(&head, recording),
            clock: ClockOffset::measured(),
            source: Live {
                reader,
                tier,
                shortcomings,
                options,
                has_cookies,
                resync: Resync::default(),
                netns_cache: NetnsCache::default(),
                minisockets,
                stuck,
                decode_failures: DecodeFailures::default(),
                misses_read: Nanos(0),
                attached,
            },
        };
        session.seed(&owners);
        Ok(session)
    }
}

/// Returns an empty response, for requests whose thread has panicked.
fn nothing_found(_: &Vec<ProbeRequest>) -> ProbeResponse {
    let at = now();
    ProbeResponse {
        at,
        ended: at,
        found: Vec::new(),
    }
}

impl Session<Live> {
    /// Passes the sockets that are open already to the core. Without cookies they could not be
    /// joined with the records.
    fn seed(&mut self, owners: &HashMap<EndpointId, SharedOwner>) {
        if !self.source.has_cookies {
            return;
        }
        let snapshot = Snapshot::take(&self.source.options, owners);
        self.core.take(&Input::SnapshotSocket {
            sockets: snapshot.sockets,
            at: now(),
        });
        let unseen = snapshot.unseen.into_iter().map(|why| {
            format!("connections that are open already are not seen where this failed: {why}")
        });
        self.source.shortcomings.extend(unseen);
    }

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

    /// Returns sentences that describe what cannot be seen, and why.
    #[must_use]
    pub fn shortcomings(&self) -> &[String] {
        &self.source.shortcomings
    }
}
