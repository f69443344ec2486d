//! Reads a recording in a thread of its own, and passes its ends on.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use anyhow::{Context as _, anyhow};

use crate::cgroup_names::RecordedCgroupNames;
use crate::cli::common::single_threaded_runtime;
use crate::filter::containers::passes_owner;
use crate::recording::Head;
use crate::session::{Consumer, Replay, Session};
use tcpclose_core::compare::RecordedEndpoint;
use tcpclose_core::filter::ConnectionFilter;
use tcpclose_core::finding::{Finding, Loss};
use tcpclose_core::types::Nanos;

/// The most messages that wait.
const CAPACITY: usize = 1024;

/// What a recording has.
#[derive(Debug)]
pub(super) enum Message {
    /// An endpoint, and whether the filter lets it pass.
    Endpoint(RecordedEndpoint, bool),
    Loss(Loss),
    /// Everything up to this time was passed on, with what to add for wall time.
    Reached(Nanos, i64),
}

/// A recording that is being read.
pub(super) struct Reading {
    messages: Receiver<Message>,
    thread: JoinHandle<anyhow::Result<Ended>>,
}

/// What is known of a recording at its end.
pub(super) struct Ended {
    pub head: Head,
    /// Sentences about the parts that could not be read.
    pub damage: Vec<String>,
}

impl Reading {
    /// Opens a recording and begins to read it.
    pub fn start(
        file: &Path,
        filter: ConnectionFilter,
        stop: Arc<AtomicBool>,
    ) -> anyhow::Result<Self> {
        let mut session = Session::open(file)?;
        let (sender, messages) = sync_channel(CAPACITY);
        let cgroups = RecordedCgroupNames::new(session.cgroups());
        let passer = Passer {
            sender,
            filter,
            cgroups,
            stop,
            is_unheard: false,
        };
        let thread = thread::Builder::new().name("reading".to_owned());
        let thread = thread.spawn(move || {
            let runtime = single_threaded_runtime()?;
            runtime.block_on(session.run(passer))?;
            Ok(Ended {
                head: session.head().clone(),
                damage: session.damage().sentences().collect(),
            })
        });
        Ok(Self {
            messages,
            thread: thread.context("starting a thread failed")?,
        })
    }

    /// Waits for what comes next; `None` at the end.
    pub fn next(&self) -> Option<Message> {
        self.messages.recv().ok()
    }

    /// Returns what is known at the end.
    pub fn finish(self) -> anyhow::Result<Ended> {
        drop(self.messages);
        let ended = self.thread.join();
        ended.map_err(|_| anyhow!("the replay has ended before its time"))?
    }
}

/// Passes the ends of a recording on.
struct Passer {
    sender: SyncSender<Message>,
    filter: ConnectionFilter,
    cgroups: RecordedCgroupNames,
    stop: Arc<AtomicBool>,
    /// Whether nobody listens any more.
    is_unheard: bool,
}

impl Passer {
    fn send(&mut self, message: Message) {
        self.is_unheard |= self.sender.send(message).is_err();
    }

    fn send_endpoint(&mut self, end: RecordedEndpoint) {
        if end.endpoint().tuple.is_self_test() {
            return;
        }
        let is_wanted = match &end {
            RecordedEndpoint::Closed(close) => self.filter.matches_close(close),
            RecordedEndpoint::Open(open) => {
                let endpoint = &open.endpoint;
                !self.filter.is_of_closes()
                    && self
                        .filter
                        .matches_open(endpoint.netns, &endpoint.tuple, end.owner())
            }
        };
        let containers = &self.filter.containers;
        let is_wanted = is_wanted && passes_owner(containers, end.owner(), &mut self.cgroups);
        self.send(Message::Endpoint(end, is_wanted));
    }
}

impl Consumer<Replay> for Passer {
    type Output = ();

    fn on_finding(&mut self, finding: Finding) -> anyhow::Result<()> {
        match finding {
            Finding::Close(close) => self.send_endpoint(RecordedEndpoint::Closed(close)),
            Finding::Loss(loss) => self.send(Message::Loss(loss)),
            Finding::TimeWait(_) | Finding::Stuck(_) => {}
        }
        Ok(())
    }

    fn after_findings(&mut self, session: &mut Session<Replay>) -> anyhow::Result<()> {
        self.send(Message::Reached(session.now(), session.clock().get()));
        Ok(())
    }

    fn is_done(&self) -> bool {
        self.is_unheard || self.stop.load(Ordering::Relaxed)
    }

    fn finish(mut self, session: &mut Session<Replay>) -> anyhow::Result<()> {
        for open in session.unclosed_endpoints() {
            self.send_endpoint(RecordedEndpoint::Open(Box::new(open)));
        }
        Ok(())
    }
}
