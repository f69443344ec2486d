//! `tcpclose agent` as it is installed: the real program, against the running kernel.
//!
//! Each test has a network namespace of its own, in which the agent and its counterparts run.
//! Without the rights to make one it is skipped and reports that; with TCPCLOSE_TEST_REQUIRE=1 that
//! is a failure.

#![expect(clippy::panic, reason = "a test that cannot go on panics")]
#![expect(clippy::print_stdout, reason = "printing is what it is for")]

mod chart;
mod chart_container;
mod configuration;
mod daemon;
mod flight;
mod losses;
mod metrics;
mod ports;
mod program;
mod questions;
mod recording;
mod reload;
mod restart;
mod rights;
mod sampling;
mod self_test;
mod soak;
mod summaries;
mod workload;
