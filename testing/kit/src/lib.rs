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

pub mod browser;
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

/// Returns the path of the program that a test runs: `TCPCLOSE_BIN`, or what cargo has `built` for
/// the test. In virtual machines it is another one than where the test was compiled.
#[must_use]
pub fn program_path(built: &str) -> String {
    std::env::var("TCPCLOSE_BIN").unwrap_or_else(|_| built.to_owned())
}

/// What a test returns.
pub type TestResult = Result<(), Box<dyn std::error::Error>>;
