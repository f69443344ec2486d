//! Doors to the host: what this process may do, and whose processes, cgroups and containers there are.

pub mod capabilities;
pub mod cgroup;
pub mod cgroup_paths;
pub mod container;
pub mod descriptors;
pub mod pid_ns;
pub mod privilege_drop;
pub(crate) mod proc_dir;
pub mod process;
pub mod self_usage;
pub mod shared_cgroup_names;
pub mod systemd_unit;
