//! Forms of the one connection filter ([`ConnectionFilter`]): the command line's and the
//! configuration's; and the whole of it applied.

pub mod args;
pub mod config;
pub(crate) mod containers;
mod port_arg;

use crate::cgroup_names::CgroupNames;
use tcpclose_core::filter::ConnectionFilter;
use tcpclose_core::finding::Finding;
use tcpclose_core::stuck::StuckSocket;

/// Returns whether a finding passes all parts of a filter. Those about no connection always do.
pub(crate) fn passes(
    filter: &ConnectionFilter,
    finding: &Finding,
    cgroups: &mut dyn CgroupNames,
) -> bool {
    filter.matches(finding) && containers::passes(&filter.containers, finding, cgroups)
}

/// Returns whether a stuck socket passes all parts of a filter.
pub(crate) fn passes_stuck(
    filter: &ConnectionFilter,
    stuck: &StuckSocket,
    cgroups: &mut dyn CgroupNames,
) -> bool {
    filter.matches_stuck(stuck) && containers::passes_stuck(&filter.containers, stuck, cgroups)
}
