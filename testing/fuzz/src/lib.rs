//! One function for each parser of bytes that tcpclose did not write itself: from the kernel, from
//! other processes' /proc files, from recordings, from configuration files. Each takes any bytes
//! and asserts what must hold whatever they are: no panic, bounded results, and results that agree
//! with the bytes.
//!
//! `cargo test` runs each over its corpus and over mutations of it (tests/bounded.rs). `guided/`
//! has the same functions as targets of cargo-fuzz. testing/fuzz/README.md says how to run it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod btf;
mod cgroup_path;
mod configuration;
mod container_names;
mod mountinfo;
mod netlink;
mod proc_files;
mod recording;
mod replay;
mod ring_record;

pub use btf::btf;
pub use cgroup_path::cgroup_path;
pub use configuration::configuration;
pub use container_names::container_names;
pub use mountinfo::mountinfo;
pub use netlink::netlink;
pub use proc_files::proc_files;
pub use recording::recording;
pub use replay::replay;
pub use ring_record::ring_record;

/// A function that panics where any bytes are read wrongly.
pub type Target = fn(&[u8]);

/// All targets, by the names of their folders in `corpus/` and `crashes/`.
pub const TARGETS: [(&str, Target); 10] = [
    ("btf", btf),
    ("cgroup_path", cgroup_path),
    ("configuration", configuration),
    ("container_names", container_names),
    ("mountinfo", mountinfo),
    ("netlink", netlink),
    ("proc_files", proc_files),
    ("recording", recording),
    ("replay", replay),
    ("ring_record", ring_record),
];
