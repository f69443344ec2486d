//! What `tcpclose watch` takes.

use std::path::PathBuf;
use std::time::Duration;

use crate::cli::count;
use crate::cli::tracing::StuckArgs;
use crate::filter::args::FilterArgs;
use crate::output::table::STATES_HELP;
use tcpclose_sys::kernel::loader::TraceOptions;

const AFTER_HELP: &str = "\
Examples:
  tcpclose watch                  every close on this host
  tcpclose watch -L 3306,5432     only connections with these local ports
  tcpclose watch --format json    one JSON object per line
  tcpclose watch --replay FILE    what `tcpclose record FILE` has recorded

Exit codes: 0 success (also after Ctrl-C, or when the reader of a pipe exits), 2 cannot run, wrong usage, or a broken \
recording";

/// How lines are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    /// A table
    Table,
    /// JSON lines: one object per line
    Json,
}

/// What `tcpclose watch` takes.
#[derive(Clone, clap::Args)]
#[command(after_help = AFTER_HELP, after_long_help = format!("{STATES_HELP}\n\n{AFTER_HELP}"))]
pub(in crate::cli) struct Args {
    #[command(flatten)]
    pub(super) filters: FilterArgs,
    /// Output format
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub(super) format: Format,
    /// Stop after N lines
    #[arg(long, value_name = "N", value_parser = count)]
    pub(super) count: Option<u64>,
    /// Stop after this time, such as 30s or 5m
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub(super) duration: Option<Duration>,
    #[command(flatten)]
    pub(super) stuck: StuckArgs,
    /// Show every state transition, as bcc's tcpstates does, instead of closes
    #[arg(long, conflicts_with = "stuck_after")]
    pub(super) transitions: bool,
    /// Use the classic tracepoint even if the kernel has BTF (shows less)
    #[arg(long)]
    pub(super) no_btf: bool,
    /// Print on stderr which transitions the eBPF programs leave out
    #[arg(short, long)]
    pub(super) verbose: bool,
    /// Record into a file as well, for a later --replay; an existing file is overwritten
    #[arg(long, value_name = "FILE")]
    pub(super) record: Option<PathBuf>,
    /// Show a recording instead of what happens now
    #[arg(long, value_name = "FILE", conflicts_with_all = ["record", "no_btf", "verbose", "duration", "stuck_after"])]
    pub(super) replay: Option<PathBuf>,
}

impl Args {
    /// Returns the options for tracing the kernel.
    pub(super) fn options(&self) -> anyhow::Result<TraceOptions> {
        Ok(TraceOptions {
            every_transition: self.transitions,
            classic: self.no_btf,
            log: self.verbose.then_some(crate::notice::write_line),
            filter: self.filters.kernel.live()?,
            ..TraceOptions::default()
        })
    }
}
