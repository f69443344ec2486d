//! Doors to the host: what this process may do, and whose processes, cgroups and containers there are.

pub mod capabilities;
pub mod cgroup;
pub mod cgroup_paths;
pub mod container;
pub mod descriptors;
pub mod named_cgroups;
pub mod pid_ns;
mod proc_dir;
pub mod process;
pub mod rights;
pub mod unit;
pub mod usage;
