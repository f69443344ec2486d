//! Where the output takes the names of cgroups from.

use std::collections::HashMap;

use tcpclose_sys::host::cgroup::{CgroupName, Cgroups};
use tcpclose_sys::host::shared_cgroup_names::SharedCgroupNames;

/// Turns a cgroup id into its name.
pub trait CgroupNames: Send {
    /// The name of the cgroup (v2) with this id, `None` where it is not known or the cgroup is gone.
    fn name(&mut self, id: u64) -> Option<&CgroupName>;
}

impl CgroupNames for Cgroups {
    fn name(&mut self, id: u64) -> Option<&CgroupName> {
        Self::name(self, id)
    }
}

/// Knows the names that another thread has come to know.
#[derive(Debug)]
pub struct GivenNames {
    given: SharedCgroupNames,
    /// Those that were asked for.
    own: HashMap<u64, CgroupName>,
}

impl GivenNames {
    /// Answers from these.
    #[must_use]
    pub fn new(given: SharedCgroupNames) -> Self {
        Self {
            given,
            own: HashMap::new(),
        }
    }
}

impl CgroupNames for GivenNames {
    fn name(&mut self, id: u64) -> Option<&CgroupName> {
        if !self.own.contains_key(&id) {
            self.own.insert(id, self.given.get(id)?);
        }
        self.own.get(&id)
    }
}

/// Knows no cgroup.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoCgroups;

impl CgroupNames for NoCgroups {
    fn name(&mut self, _: u64) -> Option<&CgroupName> {
        None
    }
}
