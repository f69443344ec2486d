//! What `tcpclose watch` takes.

use std::path::PathBuf;
use std::time::Duration;

use crate::cli::common::{OutputArgs, positive_count};
use crate::cli::tracing::StuckArgs;
use crate::duration_arg::duration;
use crate::filter::args::{CloseFilterArgs, FilterArgs};
use crate::output::table::STATES_HELP;
use tcpclose_sys::kernel::loader::TraceOptions;

const AFTER_HELP: &str = "\
Examples:
  tcpclose watch                  every close on this host
  tcpclose watch nginx            only connections of processes named nginx
  tcpclose watch --port 5432      only connections with this port at either end
  tcpclose watch --format json    one JSON object per line
  tcpclose watch --replay FILE    what `tcpclose record FILE` has recorded

Exit codes: 0 success (also after Ctrl-C, or when the reader of a pipe exits), 2 cannot run, wrong usage, or a broken \
recording";

/// What `tcpclose watch` takes.
#[derive(Clone, Default, clap::Args)]
#[command(after_help = AFTER_HELP, after_long_help = format!("{STATES_HELP}\n\n{AFTER_HELP}"))]
pub(in crate::cli) struct WatchArgs {
    #[command(flatten)]
    pub(super) filters: FilterArgs,
    #[command(flatten)]
    pub(super) closes: CloseFilterArgs,
    #[command(flatten)]
    pub(super) output: OutputArgs,
    /// Stop after N lines
    #[arg(long, value_name = "N", value_parser = positive_count)]
    pub(super) count: Option<u64>,
    /// Stop after this time, such as 30s or 5m
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(super) duration: Option<Duration>,
    #[command(flatten)]
    pub(super) stuck: StuckArgs,
    /// Show every state transition, as bcc's tcpstates does, instead of closes
    #[arg(long, conflicts_with = "stuck_after")]
    pub(super) transitions: bool,
    /// Use the classic tracepoint even if the kernel has BTF (shows less)
    #[arg(long)]
    pub(super) no_btf: bool,
    #[arg(skip)]
    pub(super) shown: Shown,
    /// Print on stderr which transitions the eBPF programs leave out
    #[arg(short, long)]
    pub(super) verbose: bool,
    /// Record into a file as well, for a later --replay; an existing file is refused (see --force)
    #[arg(long, value_name = "FILE")]
    pub(super) record: Option<PathBuf>,
    /// Overwrite an existing file with --record
    #[arg(long, requires = "record")]
    pub(super) force: bool,
    /// Show a recording instead of what happens now
    #[arg(long, value_name = "FILE", conflicts_with_all = ["record", "no_btf", "verbose", "duration", "stuck_after"])]
    pub(super) replay: Option<PathBuf>,
}

impl WatchArgs {
    /// Returns the options for tracing the kernel.
    pub(super) fn options(&self) -> anyhow::Result<TraceOptions> {
        Ok(TraceOptions {
            every_transition: self.transitions,
            classic: self.no_btf,
            log: self.verbose.then_some(crate::notice::write_line),
            filter: self.filters.kernel.to_config().live()?,
            ..TraceOptions::default()
        })
    }
}

/// What is shown of what happens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Shown {
    /// A line for each close, end of TIME_WAIT and stuck socket: `tcpclose watch`.
    #[default]
    Everything,
    /// A line for each abnormal close, and their groups at the end: `tcpclose resets`.
    Abnormal,
    /// A drawing of each close: `tcpclose explain`.
    Ladders,
}

/// What the commands take that show only closes.
#[derive(clap::Args)]
pub(super) struct ClosesArgs {
    #[command(flatten)]
    filters: FilterArgs,
    #[command(flatten)]
    closes: CloseFilterArgs,
    /// Stop after N closes
    #[arg(long, value_name = "N", value_parser = positive_count)]
    count: Option<u64>,
    /// Stop after this time, such as 30s or 5m
    #[arg(long, value_name = "TIME", value_parser = duration)]
    duration: Option<Duration>,
    /// Use the classic tracepoint even if the kernel has BTF (shows less)
    #[arg(long)]
    no_btf: bool,
    /// Show a recording instead of what happens now
    #[arg(long, value_name = "FILE", conflicts_with_all = ["no_btf", "duration"])]
    replay: Option<PathBuf>,
}

impl ClosesArgs {
    pub(super) fn showing(self, shown: Shown) -> WatchArgs {
        let Self {
            filters,
            closes,
            count,
            duration,
            no_btf,
            replay,
        } = self;
        WatchArgs {
            filters,
            closes,
            count,
            duration,
            no_btf,
            replay,
            shown,
            ..WatchArgs::default()
        }
    }
}
