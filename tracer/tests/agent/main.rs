//! `tcpclose agent` as it is installed: the real program, against the running kernel.
//!
//! Each test has a network namespace of its own, in which the agent and its counterparts run. Without the rights to make
//! one it is skipped and reports that; with TCPCLOSE_TEST_REQUIRE=1 that is a failure.

mod configuration;
mod daemon;
mod metrics;
mod program;
mod recording;
mod reload;
mod rights;
mod soak;
mod summaries;
mod workload;
