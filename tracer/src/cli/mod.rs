//! The command line.

mod agent;
mod common;
mod compare;
mod doctor;
mod dump;
mod gap_printer;
mod last;
mod leaks;
mod ports;
mod record;
mod replay_common;
mod report;
mod report_lines;
mod scan_printer;
mod shutdown;
#[cfg(test)]
mod tests;
mod top;
mod tracing;
mod triage;
mod watch;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};
use tcpclose_sys::host::name_service;

use crate::notice::notice;

/// Show how TCP connections close, which never do and whose they are, from the kernel's own state
/// transitions: no packet capture is needed.
#[derive(Parser)]
#[command(name = "tcpclose", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Find what is wrong with TCP closes on this host, in ten seconds: the worst first, with what
    /// to do
    Triage(triage::TriageArgs),
    /// Show each endpoint as its connection closes
    Watch(watch::WatchArgs),
    /// Record what happens into a file, for a later `watch --replay FILE`
    Record(record::RecordArgs),
    /// Keep what the agent's flight recorder has as a recording, for `watch --replay FILE` and
    /// others
    Dump(dump::DumpArgs),
    /// Find stuck sockets, most of them in CLOSE_WAIT: whose they are, since when, and why
    Leaks(leaks::LeaksArgs),
    /// Find the destinations for which this host runs out of local ports: how many are left, what
    /// takes them, and when the next is free
    Ports(ports::PortsArgs),
    /// Show connections that close abnormally (resets, timeouts, failed connects), and group them
    /// by process, peer and cause when it ends
    Resets(watch::ResetsArgs),
    /// Draw each close as textbooks do: states with their times, segments, and what it means
    Explain(watch::ExplainArgs),
    /// Compare the recordings of two hosts: what went wrong between them, such as resets that
    /// neither has sent
    Compare(compare::CompareArgs),
    /// Make one HTML page of a recording: verdicts, plots over time, and a drawn example of each
    /// kind of close
    Report(report::ReportArgs),
    /// Show live, by service, what closes, resets and gets stuck: a full screen, or text in
    /// intervals
    Top(top::TopArgs),
    /// Run as a daemon that exports summaries, stuck sockets and closes to logs and metrics
    Agent(agent::AgentArgs),
    /// Report what this kernel and these privileges allow, and the effect of each missing piece
    Doctor(doctor::DoctorArgs),
    /// Print the version
    #[command(hide = true)]
    Version,
}

/// Returns the definition of the command line, from which the man pages and completions are made.
#[doc(hidden)]
#[must_use]
pub fn command() -> clap::Command {
    Cli::command()
}

/// Runs the program.
#[must_use]
pub fn main() -> ExitCode {
    name_service::use_files_and_dns_only();
    let result = match Cli::parse().command {
        Command::Triage(args) => triage::run(&args),
        Command::Watch(args) => watch::run(&args),
        Command::Record(args) => record::run(&args),
        Command::Dump(args) => dump::run(&args),
        Command::Leaks(args) => leaks::run(&args),
        Command::Ports(args) => ports::run(&args),
        Command::Resets(args) => watch::run(&args.into()),
        Command::Explain(args) => watch::run(&args.into()),
        Command::Compare(args) => compare::run(&args),
        Command::Report(args) => report::run(&args),
        Command::Top(args) => top::run(&args),
        Command::Agent(args) => agent::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Version => print_version(),
    };
    result.unwrap_or_else(|error| {
        notice!("{error:#}");
        ExitCode::from(common::EXIT_FAILED)
    })
}

fn print_version() -> anyhow::Result<ExitCode> {
    common::print(concat!("tcpclose ", env!("CARGO_PKG_VERSION"), "\n"))?;
    Ok(ExitCode::SUCCESS)
}
