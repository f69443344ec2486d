//! What tcpclose's test programs share: network namespaces, processes, mounts and privileges of
//! their own, and one way to report that a test cannot run here.
//!
//! The `unsafe` code that several tests need is here. Where a function here fails and a test cannot
//! go on, it panics.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on panics"
)]

pub mod chart;
pub mod command;
pub mod descriptors;
pub mod interfaces;
pub mod kernel;
pub mod lease;
pub mod loopback_tap;
pub mod mounts;
pub mod namespace;
pub mod netns;
pub mod own_network;
pub mod process;
pub mod scratch;
pub mod skip;
pub mod sockets;
mod system_call;
pub mod tmux;
pub mod wait;

/// What a test returns.
pub type TestResult = Result<(), Box<dyn std::error::Error>>;
