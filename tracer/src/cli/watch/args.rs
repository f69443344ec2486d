//! What `tcpclose watch` takes.

use std::path::PathBuf;
use std::time::Duration;

use crate::cli::count;
use crate::cli::tracing::StuckArgs;
use crate::filter::args::FilterArgs;
use crate::output::table::STATES_HELP;
use tcpclose_sys::kernel::loader::Options;

const AFTER_HELP: &str = "\
Examples:
  tcpclose watch                      every close on this host
  tcpclose watch -L 3306,5432         only connections of these local ports
  tcpclose watch --format json        one JSON object a line
  tcpclose watch --replay FILE        what was recorded with --record or `tcpclose record`

Exit codes: 0 fine (also after Ctrl-C, and when the reader of a pipe has gone), 2 could not run, bad usage, or a
recording that is broken";

/// How lines are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    /// Columns for people
    Table,
    /// One JSON object a line
    Json,
}

/// What `tcpclose watch` takes.
#[derive(Clone, clap::Args)]
#[command(after_help = AFTER_HELP, after_long_help = format!("{STATES_HELP}\n\n{AFTER_HELP}"))]
pub(in crate::cli) struct Args {
    #[command(flatten)]
    pub(super) filters: FilterArgs,
    /// How to print
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub(super) format: Format,
    /// Stop after N lines
    #[arg(long, value_name = "N", value_parser = count)]
    pub(super) count: Option<u64>,
    /// Stop after this long, such as 30s or 5m
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub(super) duration: Option<Duration>,
    #[command(flatten)]
    pub(super) stuck: StuckArgs,
    /// Print each raw state transition, as bcc's tcpstates does, and nothing else
    #[arg(long, conflicts_with = "stuck_after")]
    pub(super) transitions: bool,
    /// Use the classic tracepoint even where the kernel has BTF (tells less)
    #[arg(long)]
    pub(super) no_btf: bool,
    /// Let the eBPF programs say on stderr which transitions they leave out
    #[arg(short, long)]
    pub(super) verbose: bool,
    /// Record it all too, to be shown again with --replay; a file that is there is overwritten
    #[arg(long, value_name = "FILE")]
    pub(super) record: Option<PathBuf>,
    /// Show what was recorded in a file, instead of what happens now
    #[arg(long, value_name = "FILE", conflicts_with_all = ["record", "no_btf", "verbose", "duration", "stuck_after"])]
    pub(super) replay: Option<PathBuf>,
}

impl Args {
    /// Returns what the kernel is asked for.
    pub(super) fn options(&self) -> anyhow::Result<Options> {
        Ok(Options {
            every_transition: self.transitions,
            classic: self.no_btf,
            log: self.verbose.then_some(crate::notice::write_line),
            filter: self.filters.kernel.live()?,
            ..Options::default()
        })
    }
}
