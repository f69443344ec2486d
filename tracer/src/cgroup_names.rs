//! The names of cgroups, for the output.

use std::collections::HashMap;

use tcpclose_sys::host::cgroup::{CgroupName, Cgroups};
use tcpclose_sys::host::container_names;
use tcpclose_sys::host::shared_cgroup_names::SharedCgroupNames;

/// Turns a cgroup id into its name.
pub trait CgroupNames: Send {
    /// The name of the cgroup (v2) with this id, `None` where it is not known or the cgroup is
    /// gone.
    fn name(&mut self, id: u64) -> Option<&CgroupName>;
}

impl CgroupNames for Cgroups {
    fn name(&mut self, id: u64) -> Option<&CgroupName> {
        Self::name(self, id)
    }
}

/// The names of the cgroups in a recording, which another thread adds.
#[derive(Debug)]
pub struct RecordedCgroupNames {
    recorded: SharedCgroupNames,
    /// Those that were asked for.
    looked_up: HashMap<u64, CgroupName>,
    /// Whether their containers are on this host, so that its files have their names.
    are_on_this_host: bool,
}

impl RecordedCgroupNames {
    /// Answers from these, which are a recording's.
    #[must_use]
    pub fn new(recorded: SharedCgroupNames) -> Self {
        Self {
            recorded,
            looked_up: HashMap::new(),
            are_on_this_host: false,
        }
    }

    /// Answers from these, which are those of this host while a recording is made, and with the
    /// names of its containers.
    #[must_use]
    pub fn for_this_host(recorded: SharedCgroupNames) -> Self {
        Self {
            are_on_this_host: true,
            ..Self::new(recorded)
        }
    }
}

impl CgroupNames for RecordedCgroupNames {
    fn name(&mut self, id: u64) -> Option<&CgroupName> {
        if !self.looked_up.contains_key(&id) {
            self.looked_up.insert(id, self.recorded.get(id)?);
        }
        let name = self.looked_up.get_mut(&id)?;
        if let Some(container) = &mut name.container
            && self.are_on_this_host
        {
            container_names::add_names(container);
        }
        Some(name)
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
