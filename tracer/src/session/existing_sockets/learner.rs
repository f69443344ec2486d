//! What the thread does that learns which sockets were open before.

use std::collections::HashSet;

use crate::session::owners;
use crate::session::snapshot::{SnapshotPart, SocketSnapshot};
use crate::session::time_wait_overflow::TimeWaitOverflows;
use tcpclose_core::SnapshotSocket;
use tcpclose_core::types::{EndpointId, NetNs};
use tcpclose_sys::kernel::clock::now;
use tcpclose_sys::kernel::loader::TraceOptions;

/// What the thread does, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LearnStep {
    /// A snapshot of all namespaces.
    Sockets,
    /// The holders of these sockets.
    Owners,
    /// A snapshot of the namespaces that only a descriptor keeps alive.
    SocketsByDescriptor,
}

/// What came of a step.
#[derive(Default)]
pub(super) struct Learnt {
    pub parts: Vec<SnapshotPart>,
    /// What could not be read, in sentences.
    pub unseen: Vec<String>,
    /// The namespaces whose sockets were all read.
    pub complete: HashSet<NetNs>,
    pub overflows: Option<TimeWaitOverflows>,
}

/// Returns the answer of a thread that has panicked.
pub(super) fn given_up(step: &LearnStep) -> Learnt {
    let what = match step {
        LearnStep::Sockets | LearnStep::SocketsByDescriptor => "a snapshot of sockets",
        LearnStep::Owners => "the search for their holders",
    };
    Learnt {
        unseen: vec![format!(
            "{what} ended in a panic, which is a bug in tcpclose"
        )],
        ..Learnt::default()
    }
}

/// Does the steps, in its thread.
pub(super) struct Learner {
    options: TraceOptions,
    snapshot: Option<SocketSnapshot>,
    /// Those of the snapshot's sockets that may have a holder.
    held: Vec<SnapshotSocket>,
}

impl Learner {
    pub const fn new(options: TraceOptions) -> Self {
        Self {
            options,
            snapshot: None,
            held: Vec::new(),
        }
    }

    pub fn run(&mut self, step: LearnStep) -> Learnt {
        match step {
            LearnStep::Sockets => self.find_sockets(),
            LearnStep::Owners => self.find_owners(),
            LearnStep::SocketsByDescriptor => self.find_sockets_by_descriptor(),
        }
    }

    fn find_sockets(&mut self) -> Learnt {
        let mut snapshot = SocketSnapshot::take(&self.options);
        let parts = std::mem::take(&mut snapshot.parts);
        let all = parts.iter().flat_map(|part| &part.sockets);
        let has_file = |id: &EndpointId| snapshot.inodes.contains_key(id);
        let held = all.filter(|socket| has_file(&socket.cookie));
        self.held = held.cloned().collect();
        let learnt = Learnt {
            parts,
            unseen: std::mem::take(&mut snapshot.unseen),
            complete: std::mem::take(&mut snapshot.complete),
            overflows: Some(std::mem::take(&mut snapshot.overflows)),
        };
        self.snapshot = Some(snapshot);
        learnt
    }

    fn find_owners(&mut self) -> Learnt {
        let at = now();
        let held = std::mem::take(&mut self.held);
        let owned = match &self.snapshot {
            Some(snapshot) => owners::find_owners(&held, &snapshot.inodes),
            None => Vec::new(),
        };
        Learnt {
            parts: vec![SnapshotPart { at, sockets: owned }],
            ..Learnt::default()
        }
    }

    fn find_sockets_by_descriptor(&mut self) -> Learnt {
        let Some(snapshot) = self.snapshot.take() else {
            return Learnt::default();
        };
        let found = snapshot.take_by_descriptors(&self.options);
        Learnt {
            parts: found.parts,
            unseen: found.unseen,
            complete: found.complete,
            overflows: None,
        }
    }
}
