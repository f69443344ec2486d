//! The doors to the kernel.

mod attach;
pub mod btf;
pub mod decode;
pub mod ebpf_log;
pub mod held;
pub mod loader;
mod misses;
pub mod monotonic;
pub mod netns;
mod offsets;
pub mod reader;
mod ring_positions;
mod runs;
pub mod sock_diag;
mod tracefs;
mod twin;
pub mod ways_in;

include!(concat!(env!("OUT_DIR"), "/ebpf_object.rs"));
