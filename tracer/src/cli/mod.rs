//! The command line. Exit codes: 0 fine, 1 a finding, 2 could not run or bad usage.

mod agent;
mod doctor;
mod leaks;
mod record;
mod replay_common;
mod shutdown;
#[cfg(test)]
mod tests;
mod tracing;
mod watch;

use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use tokio::runtime::Runtime;

use crate::notice::notice;

/// Could not run, or bad usage.
const EXIT_FAILED: u8 = 2;

/// Show how TCP connections close, which never do and whose they are, from the kernel's own state
/// transitions: no packet capture is needed.
#[derive(Parser)]
#[command(
    name = "tcpclose",
    version,
    max_term_width = 100,
    disable_help_subcommand = true
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Show each endpoint as its connection closes
    Watch(watch::Args),
    /// Record what happens into a file, for a later `watch --replay FILE`
    Record(record::Args),
    /// Find the sockets that are stuck in CLOSE_WAIT: whose they are, since when, and why
    Leaks(leaks::Args),
    /// Run as a daemon that exports summaries, stuck sockets and closes to logs and metrics
    Agent(agent::Args),
    /// Report what this kernel and these privileges allow, and the effect of each missing piece
    Doctor(doctor::Args),
}

/// Parses a number that is at least one.
fn count(words: &str) -> Result<u64, &'static str> {
    let count = words.parse().ok().filter(|count| *count > 0);
    count.ok_or("must be a number of at least 1")
}

/// Returns the runtime of the commands that wait, which uses the calling thread only.
fn event_loop() -> anyhow::Result<Runtime> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder
        .enable_all()
        .build()
        .context("starting the event loop failed")
}

/// Runs the program.
#[must_use]
pub fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Watch(args) => watch::run(&args),
        Command::Record(args) => record::run(&args),
        Command::Leaks(args) => leaks::run(&args),
        Command::Agent(args) => agent::run(&args),
        Command::Doctor(args) => doctor::run(&args),
    };
    result.unwrap_or_else(|error| {
        notice!("{error:#}");
        ExitCode::from(EXIT_FAILED)
    })
}
