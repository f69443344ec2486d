//! Shares names of cgroups between a thread that learns them and one that needs them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::cgroup::CgroupName;
use super::container;

/// The most names that are kept, as many as of the host's own. Further ones stay unknown: a name
/// that was reported must not change.
pub const MAX_CGROUP_NAMES: usize = 12_288;

/// The names; clones share them.
#[derive(Clone, Debug, Default)]
pub struct SharedCgroupNames(Arc<Mutex<HashMap<u64, CgroupName>>>);

impl SharedCgroupNames {
    /// Sets the path of the cgroup with this id.
    pub fn insert(&self, id: u64, path: String) {
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if names.len() < MAX_CGROUP_NAMES {
            let container = container::from_cgroup_path(&path);
            names.insert(id, CgroupName { path, container });
        }
    }

    /// Returns the ids and paths of all.
    #[must_use]
    pub fn all(&self) -> Vec<(u64, String)> {
        let names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<_> = names
            .iter()
            .map(|(id, name)| (*id, name.path.clone()))
            .collect();
        all.sort_unstable();
        all
    }

    /// Returns the name of the cgroup with this id.
    #[must_use]
    pub fn get(&self, id: u64) -> Option<CgroupName> {
        let names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        names.get(&id).cloned()
    }
}
