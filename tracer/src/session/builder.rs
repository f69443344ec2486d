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

/// Live connection ends kept unless another number is asked for: 1,048,576, each some 200 bytes. The one that is quiet
/// for longest makes room.
const CAPACITY: usize = 1 << 20;

/// TraceOptions of a session, which [`Self::start`] starts.
pub(crate) struct SessionBuilder {
    options: TraceOptions,
    capacity: usize,
    stuck_after: Option<Nanos>,
    recording: Option<PathBuf>,
    after_attach: Box<dyn FnOnce() -> anyhow::Result<()>>,
}

impl Session<Live> {
    /// Returns a builder for a session that gets from the kernel what these options ask for.
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
    pub fn start(self) -> Result<Session<Live>, LoadError> {
        let Self {
            options,
            capacity,
            stuck_after,
            recording,
            after_attach,
        } = self;
        let loader = LoaderThread::start();
        // Before the programs are attached, because nobody reads their records meanwhile.
        let before = Snapshot::take_held(&options);
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
            // Those who come after a panic count from then on.
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

/// Returns the answer to requests that nobody has answered.
fn nothing_found(_: &Vec<ProbeRequest>) -> ProbeResponse {
    let at = now();
    ProbeResponse {
        at,
        ended: at,
        found: Vec::new(),
    }
}

impl Session<Live> {
    /// Gives the core the sockets that are open already. Without cookies they could not be joined with the records.
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

    /// Returns whether the records have socket cookies, so that sockets can be found in them.
    #[must_use]
    pub fn has_cookies(&self) -> bool {
        self.source.has_cookies
    }

    /// Returns how much the kernel shows.
    #[must_use]
    pub fn tier(&self) -> Tier {
        self.source.tier
    }

    /// Returns what is not seen, and why, in sentences.
    #[must_use]
    pub fn shortcomings(&self) -> &[String] {
        &self.source.shortcomings
    }
}
