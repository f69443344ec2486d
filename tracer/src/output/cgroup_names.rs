//! Where the output takes the names of cgroups from.

use crate::host::cgroup::{CgroupName, Cgroups};

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

/// Knows no cgroup.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoCgroups;

impl CgroupNames for NoCgroups {
    fn name(&mut self, _: u64) -> Option<&CgroupName> {
        None
    }
}
