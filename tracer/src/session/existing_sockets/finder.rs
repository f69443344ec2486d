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
pub(super) enum SearchStep {
    /// A snapshot of all namespaces.
    Sockets,
    /// The holders of these sockets.
    Owners,
    /// A snapshot of the namespaces that only a descriptor keeps alive.
    SocketsByDescriptor,
}

/// What came of a step.
#[derive(Default)]
pub(super) struct SearchResult {
    pub parts: Vec<SnapshotPart>,
    /// What could not be read, in sentences.
    pub unseen: Vec<String>,
    /// The namespaces whose sockets were all read.
    pub complete: HashSet<NetNs>,
    pub overflows: Option<TimeWaitOverflows>,
}

/// Returns the answer of a thread that has panicked.
pub(super) fn given_up(step: &SearchStep) -> SearchResult {
    let what = match step {
        SearchStep::Sockets | SearchStep::SocketsByDescriptor => "a snapshot of sockets",
        SearchStep::Owners => "the search for their holders",
    };
    SearchResult {
        unseen: vec![format!(
            "{what} ended in a panic, which is a bug in tcpclose"
        )],
        ..SearchResult::default()
    }
}

/// Does the steps, in its thread.
pub(super) struct ExistingSocketFinder {
    options: TraceOptions,
    snapshot: Option<SocketSnapshot>,
    /// Those of the snapshot's sockets that may have a holder.
    held: Vec<SnapshotSocket>,
}

impl ExistingSocketFinder {
    pub const fn new(options: TraceOptions) -> Self {
        Self {
            options,
            snapshot: None,
            held: Vec::new(),
        }
    }

    pub fn run(&mut self, step: SearchStep) -> SearchResult {
        match step {
            SearchStep::Sockets => self.find_sockets(),
            SearchStep::Owners => self.find_owners(),
            SearchStep::SocketsByDescriptor => self.find_sockets_by_descriptor(),
        }
    }

    fn find_sockets(&mut self) -> SearchResult {
        let mut snapshot = SocketSnapshot::take(&self.options);
        let parts = std::mem::take(&mut snapshot.parts);
        let all = parts.iter().flat_map(|part| &part.sockets);
        let has_file = |id: &EndpointId| snapshot.inodes.contains_key(id);
        let held = all.filter(|socket| has_file(&socket.cookie));
        self.held = held.cloned().collect();
        let learnt = SearchResult {
            parts,
            unseen: std::mem::take(&mut snapshot.unseen),
            complete: std::mem::take(&mut snapshot.complete),
            overflows: Some(std::mem::take(&mut snapshot.overflows)),
        };
        self.snapshot = Some(snapshot);
        learnt
    }

    fn find_owners(&mut self) -> SearchResult {
        let at = now();
        let held = std::mem::take(&mut self.held);
        let owned = match &self.snapshot {
            Some(snapshot) => owners::find_owners(&held, &snapshot.inodes),
            None => Vec::new(),
        };
        SearchResult {
            parts: vec![SnapshotPart { at, sockets: owned }],
            ..SearchResult::default()
        }
    }

    fn find_sockets_by_descriptor(&mut self) -> SearchResult {
        let Some(snapshot) = self.snapshot.take() else {
            return SearchResult::default();
        };
        let found = snapshot.take_by_descriptors(&self.options);
        SearchResult {
            parts: found.parts,
            unseen: found.unseen,
            complete: found.complete,
            overflows: None,
        }
    }
}
