//! Interfaces to the host: what this process may do, and the host's processes, cgroups and
//! containers.

pub mod capabilities;
pub mod cgroup;
pub mod cgroup_paths;
pub mod container;
pub mod descriptor_table;
pub mod descriptors;
mod kernel_release;
pub(crate) mod mountinfo;
pub mod pid_ns;
pub mod privilege_drop;
pub(crate) mod proc_dir;
pub mod process;
pub mod self_usage;
pub mod shared_cgroup_names;
pub mod signals;
pub mod systemd_unit;

pub use kernel_release::kernel_release;
