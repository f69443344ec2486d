//! What a tracker knows of its endpoints, in a form that outlives it: another tracker of the same
//! boot goes on with it ([`Input::Restore`](crate::Input::Restore)).
//!
//! Times are those of the monotonic clock, which goes on, so ages stay exact. An endpoint is
//! recognized by its socket's cookie, its network namespace, and its addresses and ports: cookies
//! are unique within a boot, so that a socket with the same addresses and ports is never mistaken
//! for it. Endpoints whose socket has no cookie are not saved.

mod endpoint;
mod restore;
mod saver;
mod unconfirmed;

use std::collections::HashSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::process::Process;
use super::stuck::Holder;
use super::types::{Nanos, NetNs, SharedOwner};
use endpoint::SavedEndpoint;

pub(super) use saver::Saver;
pub(super) use unconfirmed::UnconfirmedEndpoints;

/// What was known of some endpoints at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SavedEndpoints {
    /// The owners of these endpoints, each once.
    owners: Vec<SharedOwner>,
    /// The processes that stuck sockets belong to, each once.
    processes: Vec<Arc<Process>>,
    endpoints: Vec<SavedEndpoint>,
}

impl SavedEndpoints {
    /// Returns the number of endpoints.
    #[must_use]
    pub fn len(&self) -> usize {
        self.endpoints.len()
    }

    /// Returns whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.endpoints.is_empty()
    }

    /// Returns the owners, each once.
    #[must_use]
    pub fn owners(&self) -> &[SharedOwner] {
        &self.owners
    }

    /// Returns the processes of stuck sockets, each once.
    #[must_use]
    pub fn processes(&self) -> &[Arc<Process>] {
        &self.processes
    }

    /// Returns the holders of stuck sockets.
    pub fn holders(&self) -> impl Iterator<Item = &Holder> {
        self.endpoints.iter().flat_map(SavedEndpoint::holders)
    }

    /// Returns the number of state changes that are kept of the endpoint with most of them.
    #[must_use]
    pub fn most_changes(&self) -> usize {
        let counts = self.endpoints.iter().map(SavedEndpoint::changes);
        counts.max().unwrap_or(0)
    }
}

/// Everything that was saved at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Saved {
    /// The endpoints, some at a time.
    pub parts: Vec<SavedEndpoints>,
    /// How many endpoints there was no room for.
    pub left_out: usize,
}

/// Which endpoints are saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SaveScope {
    /// Those that are stuck, or may be.
    MayBeStuck,
    /// All that are alive, or wait for the peer's FIN.
    All,
    /// These, and those whose local port is not chosen yet: for
    /// [`Input::Resume`](crate::Input::Resume), which need not recognize them.
    ToResume,
}

/// The end of a restore: by then all sockets were looked at that were open after the restart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreEnd {
    /// The time by which they were.
    pub at: Nanos,
    /// Until when the earlier tracker had taken all records.
    pub until: Nanos,
    /// From when on this one gets them.
    pub from: Nanos,
    /// Whether all endpoints were saved, so that those that are gone were not reported yet.
    pub is_complete: bool,
    /// The network namespaces whose sockets were all read.
    pub searched: HashSet<NetNs>,
    /// Whether these are all that there are.
    pub searched_all: bool,
}
