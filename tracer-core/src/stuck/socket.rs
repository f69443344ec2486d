//! A stuck socket: the one description that scans, the tracer and recordings fill.

use std::sync::Arc;

use super::age::Age;
use super::observed::ObservedSocket;
use super::owner::{Holder, OwnerProcess, OwnerUnknown};
use super::owner_key::OwnerKey;
use super::poll_history::PollHistory;
use super::resolution::Resolution;
use super::verdict::Verdict;
use super::why::HolderEvidence;
use crate::endpoint::Endpoint;
use crate::process::Process;
use crate::types::{Nanos, Owner, SharedOwner};

/// The event of a stuck socket that is reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, strum::Display, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum StuckEvent {
    /// The socket was not reported before.
    Opened,
    /// The socket was reported before, or was stuck before the first scan or the tracer's start.
    Ongoing,
    /// The socket is no longer stuck.
    Resolved(Resolution),
}

/// A socket that is stuck in its state, or no longer stuck.
#[derive(Clone, Debug, PartialEq)]
pub struct StuckSocket {
    /// When the socket was found stuck, or when that was resolved.
    pub at: Nanos,
    /// What has happened to the socket.
    pub event: StuckEvent,
    /// The endpoint. Its lifetime is not known before it closes.
    pub endpoint: Endpoint,
    /// The socket, as it was last observed.
    pub socket: ObservedSocket,
    /// When the socket entered its state.
    pub age: Age,
    /// What keeps it there.
    pub verdict: Verdict,
    /// In CLOSE_WAIT the time from the last data either way to the peer's FIN, where that is known:
    /// as accurate as the age.
    pub idle_before_fin: Option<Nanos>,
    /// The process it belongs to, where that is known.
    pub owner: Option<SharedOwner>,
    /// Why the owner is not known.
    pub owner_unknown: Option<OwnerUnknown>,
    /// All processes that hold it, by their ids.
    pub holders: Vec<Holder>,
    /// The owner, from /proc.
    pub process: Option<OwnerProcess>,
    /// Why its holders do nothing with it; empty where that was not looked for.
    pub why: Vec<HolderEvidence>,
}

impl StuckSocket {
    /// Describes a socket whose holders are not known yet.
    pub(crate) fn new(
        at: Nanos,
        event: StuckEvent,
        endpoint: Endpoint,
        socket: ObservedSocket,
        age: Age,
        verdict: Verdict,
    ) -> Self {
        Self {
            at,
            event,
            endpoint,
            socket,
            age,
            verdict,
            idle_before_fin: age.idle_before_fin(&socket, at),
            owner: None,
            owner_unknown: None,
            holders: Vec::new(),
            process: None,
            why: Vec::new(),
        }
    }

    /// Adds the processes that hold the socket, and the one of them that it belongs to. Without
    /// that the owner stays the one that is known from elsewhere, or is unknown for the given
    /// reason.
    #[must_use]
    pub fn with_holders(
        mut self,
        holders: Vec<Holder>,
        process: Option<&Arc<Process>>,
        otherwise: OwnerUnknown,
    ) -> Self {
        self.holders = holders;
        self.process = process.map(|process| OwnerProcess::new(Arc::clone(process), self.at));
        let source = self.verdict.owner_source();
        let owner = process.map(|process| {
            let found = process.as_owner(source);
            let opener = self.owner.as_ref();
            SharedOwner::new(Owner {
                thread: opener.and_then(|opener| opener.thread_of(&found)),
                ..found
            })
        });
        self.owner = owner.or(self.owner);
        let otherwise = match self.socket.is_orphan() {
            true => OwnerUnknown::Closed,
            false => otherwise,
        };
        self.owner_unknown = self.owner.is_none().then_some(otherwise);
        self
    }

    /// Notes that the socket is stuck no longer.
    pub fn resolve(&mut self, at: Nanos, by: Resolution) {
        self.at = at;
        self.event = StuckEvent::Resolved(by);
        // A process that is gone needs no forecast.
        if matches!(by, Resolution::ProcessExited | Resolution::Unknown)
            && let Some(process) = &mut self.process
        {
            process.forecast = None;
        }
    }

    /// Returns how it was resolved; `None` while it is not.
    #[must_use]
    pub const fn resolution(&self) -> Option<Resolution> {
        match self.event {
            StuckEvent::Resolved(by) => Some(by),
            StuckEvent::Opened | StuckEvent::Ongoing => None,
        }
    }

    /// Returns whether it is certainly stuck: false for a half-close at work, and for a silent
    /// connection, which only a list of all sockets has.
    #[must_use]
    pub const fn is_stuck(&self) -> bool {
        self.verdict.is_stuck()
    }

    /// Returns whether it is stuck, and was not reported before.
    #[must_use]
    pub fn is_newly_stuck(&self) -> bool {
        self.is_stuck() && self.event == StuckEvent::Opened
    }

    /// Returns with whose sockets it is counted.
    #[must_use]
    pub fn owner_key(&self) -> OwnerKey {
        let holder = self.holders.iter().map(|holder| holder.pid).min();
        match (&self.process, holder) {
            (Some(owner), _) => OwnerKey::Process(owner.process.key()),
            (None, Some(pid)) => OwnerKey::Process((pid, None)),
            (None, None) => OwnerKey::Unowned {
                cgroup: self.socket.cgroup,
                netns: self.socket.netns,
                uid: self.socket.inode.map(|_| self.socket.uid),
            },
        }
    }

    /// Returns the descriptors that a process has of it.
    #[must_use]
    pub fn fds_of(&self, pid: u32) -> &[u32] {
        let holder = self.holders.iter().find(|holder| holder.pid == pid);
        holder.map_or(&[], |holder| &holder.fds)
    }

    /// Returns the descriptors that its owner has of it.
    #[must_use]
    pub fn fds(&self) -> &[u32] {
        let owner = self.owner.as_ref();
        owner.map_or(&[], |owner| self.fds_of(owner.pid))
    }
}

/// What is known of a live endpoint that may be stuck.
#[derive(Clone, Debug)]
pub(crate) struct StuckTracking {
    /// The results of its probes.
    pub polls: PollHistory,
    /// The finding that it is stuck.
    pub reported: Option<Box<StuckSocket>>,
}
