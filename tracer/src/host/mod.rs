//! Doors to the host: what this process may do, and whose processes, cgroups and containers there are.

pub mod capabilities;
pub mod cgroup;
pub mod container;
