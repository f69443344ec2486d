//! Interfaces to the kernel: the eBPF programs and their records, BTF, sock_diag, network
//! namespaces, clocks.

mod address_space;
mod attach;
pub mod attached;
pub mod btf;
pub mod clock;
pub mod decode;
pub mod ebpf_log;
mod load_error;
pub mod loader;
pub mod netns;
pub mod netns_cache;
mod object;
mod offsets;
pub mod program_stats;
pub mod reader;
mod recursion_fallback;
mod recursion_misses;
mod ring_positions;
pub mod sock_diag;
pub mod task_file_iter;
pub(crate) mod tracefs;
