//! The eBPF programs, compiled: kept in the tree, or made anew.

#[path = "../../../tracer-sys/build/kept_object.rs"]
mod kept_object;
#[cfg(test)]
mod kept_object_tests;
mod object;
#[path = "../../../tracer-sys/build/sources.rs"]
mod sources;
mod strip;
mod toolchain;

pub use self::object::{EbpfObject, OBJECT_VARIABLE, compare, keep};
pub use self::toolchain::Ebpf;
