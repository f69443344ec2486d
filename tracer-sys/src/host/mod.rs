//! Interfaces to the host: what this process may do, and the host's processes, cgroups and
//! containers.

mod boot_id;
pub mod capabilities;
pub mod cgroup;
pub mod cgroup_paths;
pub mod confinement;
pub mod container;
pub mod container_names;
pub(crate) mod descriptor_links;
pub mod descriptor_table;
pub mod descriptors;
mod epoll_sets;
pub mod holder_evidence;
mod kernel_release;
pub(crate) mod mountinfo;
pub mod name_service;
pub mod namespace_link;
pub mod priority;
pub mod privilege_drop;
pub(crate) mod proc_dir;
pub mod process;
pub mod running_agents;
mod runtimes;
pub mod self_usage;
pub mod shared_cgroup_names;
pub mod signals;
mod system_calls;
pub mod systemd_unit;
mod thread_samples;
mod thread_tables;

pub use boot_id::boot_id;
pub use kernel_release::{is_too_old, kernel_release};
