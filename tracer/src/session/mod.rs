//! One tracing session: the single owner of the core. Events go in from the ring, answers from sock_diag, time from the
//! monotonic clock; findings come out.

mod diag;
mod looks;
mod owners;
mod snapshot;

use std::collections::HashMap;
use std::io;
use std::time::Duration;

use tokio::time::Instant;

use crate::kernel::loader::{self, LoadError, Options, Tier};
pub use crate::kernel::monotonic::now;
use crate::kernel::reader::{Attached, Reader};
use crate::lifecycle::event::{Event, Transition};
use crate::lifecycle::finding::{Finding, Loss, LossPlace};
use crate::lifecycle::types::Nanos;
use crate::lifecycle::{Lookup, SweepRequest, Tracker};
use diag::Diag;
use looks::Looks;
use snapshot::Snapshot;

/// A snapshot costs the kernel a walk over all its sockets.
const REPAIR_PERIOD: Nanos = Nanos::from_secs(10);

/// How often the counters of skipped runs are read: a file for each program.
const READ_MISSES: Nanos = Nanos::from_secs(1);

/// How often the eBPF programs' own messages are looked for, where they were asked for.
const LISTEN: Duration = Duration::from_millis(200);

/// Programs attached, reader and core running.
pub struct Session {
    reader: Reader,
    tracker: Tracker,
    /// How much the kernel lets us see.
    pub tier: Tier,
    /// Tracepoints that could not be attached, and why.
    pub missing: Vec<(&'static str, String)>,
    /// Namespaces whose open sockets could not be seen at the start, and why.
    pub unseen: Vec<String>,
    options: Options,
    joins_sock_diag: bool,
    repaired_at: Nanos,
    diag: Diag,
    looks: Option<Looks>,
    lookups: Vec<Lookup>,
    sweeps: Vec<SweepRequest>,
    misses_read: Nanos,
    attached: Attached,
}

/// A raw transition, for those who want to see every one.
pub struct RawTransition<'a> {
    /// The transition.
    pub transition: &'a Transition,
    /// The kernel's address of the socket.
    pub skaddr: u64,
    /// How long the socket had been in the old state, where that was seen.
    pub dwell: Option<Nanos>,
}

impl Session {
    /// Loads and attaches the programs; must run within a tokio runtime. `capacity` bounds the live connection ends.
    ///
    /// # Errors
    /// [`LoadError`], whose message says what is missing and what to do.
    pub fn start(options: &Options, capacity: usize) -> Result<Self, LoadError> {
        // Before the programs are attached, because nobody reads their records meanwhile.
        let owners = match options.classic {
            false => owners::of(&Snapshot::take(options, &HashMap::new()).inodes),
            true => HashMap::new(),
        };
        let programs = loader::load(options)?;
        let (tier, missing) = (programs.tier, programs.missing.clone());
        let programs_have_cookie = programs.has_cookie;
        let mut tracker = Tracker::new(capacity);
        if programs.hooks.is_ok() {
            tracker = tracker.with_hooks();
        }
        if !options.local_ports.is_empty() {
            tracker = tracker.with_port_filter();
        }
        let mut looks = None;
        if let Some(after) = options.stuck_after {
            tracker = tracker.with_stuck_after(after);
            looks = Some(Looks::start().map_err(|error| LoadError::Other {
                doing: "starting the thread that looks at stuck sockets",
                source: error.into(),
            })?);
        }
        let (reader, attached) = programs.into_reader().map_err(|error| LoadError::Other {
            doing: "polling the ring buffer",
            source: error.into(),
        })?;
        let mut session = Self {
            reader,
            options: options.clone(),
            joins_sock_diag: programs_have_cookie,
            repaired_at: Nanos(0),
            unseen: Vec::new(),
            tracker,
            tier,
            missing,
            diag: Diag::new(),
            looks,
            lookups: Vec::new(),
            sweeps: Vec::new(),
            misses_read: Nanos(0),
            attached,
        };
        // Sockets that are open already. Without cookies a snapshot cannot be joined with the records.
        if session.joins_sock_diag {
            let snapshot = Snapshot::take(options, &owners);
            session.tracker.seed(&snapshot.sockets, now());
            session.unseen = snapshot.unseen;
        }
        Ok(session)
    }

    /// Waits until there may be something to do. Safe to cancel.
    ///
    /// # Errors
    /// When the ring buffer can no longer be polled.
    pub async fn wait(&mut self) -> io::Result<()> {
        let next = self
            .tracker
            .next_deadline()
            .map(|deadline| Duration::from_nanos((deadline - now()).0));
        let listen = self.attached.log.as_ref().map(|_| LISTEN);
        let deadline = next
            .into_iter()
            .chain(listen)
            .min()
            .map(|wait| Instant::now() + wait);
        match &mut self.looks {
            None => self.reader.wait(deadline).await,
            Some(looks) => tokio::select! {
                ready = self.reader.wait(deadline) => ready,
                () = looks.ready() => Ok(()),
            },
        }
    }

    /// Takes all that has come: records, answers, time. `each` sees every transition before the core does.
    ///
    /// # Errors
    /// When the ring buffer or its counters cannot be read.
    pub fn pump(&mut self, mut each: impl FnMut(&RawTransition<'_>)) -> io::Result<()> {
        let tracker = &mut self.tracker;
        let mut malformed = 0;
        self.reader.drain(|record| match record {
            Ok(record) => {
                if let Event::Transition(transition) = &record.event {
                    let dwell = tracker
                        .in_state_since(transition.id)
                        .filter(|(state, _)| *state == transition.old)
                        .map(|(_, since)| transition.at - since);
                    each(&RawTransition {
                        transition,
                        skaddr: record.skaddr,
                        dwell,
                    });
                }
                tracker.ingest(&record.event);
            }
            Err(_) => malformed += 1,
        })?;
        let lost = self.reader.take_lost()?;
        let at = now();
        let mut skipped = 0;
        if at - self.misses_read >= READ_MISSES {
            self.misses_read = at;
            skipped = self.attached.take_misses();
        }
        let losses = [
            (lost, LossPlace::Ring),
            (skipped, LossPlace::Program),
            (malformed, LossPlace::Decode),
        ];
        for (lost, place) in losses {
            if lost > 0 {
                let repaired = self.repair(at);
                self.tracker.lose(Loss {
                    at,
                    lost,
                    place,
                    repaired,
                });
            }
        }
        self.tracker.tick(at);
        self.look_up(at);
        if let Some(log) = &mut self.attached.log {
            log.flush();
        }
        Ok(())
    }

    /// After a loss: a snapshot shows which ends are gone and which were never seen. At most one in ten seconds.
    fn repair(&mut self, at: Nanos) -> bool {
        if !self.joins_sock_diag
            || (self.repaired_at != Nanos(0) && at - self.repaired_at < REPAIR_PERIOD)
        {
            return false;
        }
        self.repaired_at = at;
        let snapshot = Snapshot::take(&self.options, &HashMap::new());
        self.tracker
            .forget_missing(&snapshot.complete, &snapshot.alive, snapshot.began);
        self.tracker.seed(&snapshot.sockets, now());
        snapshot.unseen.is_empty()
    }

    /// The next finding.
    pub fn next_finding(&mut self) -> Option<Finding> {
        self.tracker.next_finding()
    }

    /// Ends that wait for the peer's FIN: closed by their process, but not yet told.
    #[must_use]
    pub fn waiting_for_fin(&self) -> usize {
        self.tracker.waiting_for_fin()
    }

    fn look(&mut self, at: Nanos) {
        let Some(looks) = &mut self.looks else { return };
        if let Some(answers) = looks.take() {
            self.tracker.answered(&answers);
        }
        let mut questions = Vec::new();
        self.tracker.due_questions(at, &mut questions);
        if !questions.is_empty() {
            looks.ask(questions);
        }
    }

    fn look_up(&mut self, at: Nanos) {
        let mut lookups = std::mem::take(&mut self.lookups);
        self.tracker.due_lookups(at, &mut lookups);
        for lookup in &lookups {
            let answer = self.diag.ask(lookup);
            self.tracker.looked_up(lookup.id, answer, now());
        }
        let mut sweeps = std::mem::take(&mut self.sweeps);
        self.tracker.due_sweeps(at, &mut sweeps);
        for request in &sweeps {
            let sweep = self.diag.sweep(request);
            self.tracker.swept(&sweep);
        }
        if !lookups.is_empty() || !sweeps.is_empty() {
            self.diag.rest();
        }
        self.lookups = lookups;
        self.sweeps = sweeps;
        self.look(at);
    }
}
