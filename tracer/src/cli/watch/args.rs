//! What `tcpclose watch` takes.

use std::path::PathBuf;
use std::time::Duration;

use clap::ArgAction;

use crate::cli::common::{OutputArgs, positive_count};
use crate::cli::last::LastArgs;
use crate::cli::tracing::StuckArgs;
use crate::duration_arg::duration;
use crate::filter::args::{CloseFilterArgs, FilterArgs};
use crate::output::table::STATES_HELP;
use crate::output::writer::View;
use crate::pair_key_source::PairKeySource;
use tcpclose_core::filter::ConnectionFilter;
use tcpclose_sys::kernel::loader::TraceOptions;

const AFTER_HELP: &str = "\
Examples:
  tcpclose watch                  every close on this host
  tcpclose watch nginx            only connections of processes named nginx
  tcpclose watch --port 5432      only connections with this port at either end
  tcpclose watch --format json    one JSON object per line
  tcpclose watch --last 20m       what the agent's flight recorder has
  tcpclose watch --replay FILE    what `tcpclose record FILE` has recorded

Exit codes: 0 success (also after Ctrl-C, or when the reader of a pipe exits), 2 cannot run, wrong usage, or a broken \
recording";

/// What `tcpclose watch` takes.
#[derive(Clone, Default, clap::Args)]
#[command(after_help = AFTER_HELP, after_long_help = format!("{STATES_HELP}\n\n{AFTER_HELP}"))]
#[command(mut_arg("stuck_after", |arg| arg.conflicts_with_all(["replay", "last"])))]
pub(in crate::cli) struct WatchArgs {
    #[command(flatten)]
    pub(super) closes: ClosesArgs,
    #[command(flatten)]
    pub(super) table: TableArgs,
    #[command(flatten)]
    pub(super) stuck: StuckArgs,
    /// Show every state transition, as bcc's tcpstates does, instead of closes
    #[arg(long, conflicts_with = "stuck_after")]
    pub(super) transitions: bool,
    #[arg(skip)]
    pub(super) shown: Shown,
    /// Whether nothing but ASCII is drawn, whatever the locale has.
    #[arg(skip)]
    pub(super) ascii: bool,
    /// Record into a file as well, for a later --replay; an existing file is refused (see --force)
    #[arg(long, value_name = "FILE", conflicts_with_all = ["replay", "last"])]
    pub(super) record: Option<PathBuf>,
    /// Overwrite an existing file with --record
    #[arg(long, requires = "record")]
    pub(super) force: bool,
}

impl WatchArgs {
    /// Returns what the lines are.
    pub(super) const fn view(&self) -> View {
        match self.shown {
            _ if self.transitions => View::Transitions,
            Shown::Ladders => View::Ladders,
            Shown::Everything | Shown::Abnormal => View::Closes,
        }
    }

    /// Returns the options for tracing the kernel.
    pub(super) fn options(&self) -> anyhow::Result<TraceOptions> {
        Ok(TraceOptions {
            every_transition: self.transitions,
            classic: self.closes.no_btf,
            log: (self.table.verbose > 1).then_some(crate::notice::write_line),
            filter: self.closes.filters.kernel.to_config().live()?,
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

/// Which closes are shown.
#[derive(Clone, Default, clap::Args)]
#[command(mut_arg("last", |arg| arg.conflicts_with_all(["replay", "no_btf", "duration"])))]
pub(super) struct ClosesArgs {
    #[command(flatten)]
    pub(super) filters: FilterArgs,
    #[command(flatten)]
    pub(super) paths: CloseFilterArgs,
    /// Stop after N closes; in `watch`, lines about stuck sockets count, too
    #[arg(long, value_name = "N", value_parser = positive_count)]
    pub(super) count: Option<u64>,
    /// Stop after this time, such as 30s or 5m
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(super) duration: Option<Duration>,
    /// Use the classic tracepoint even if the kernel has BTF (shows less)
    #[arg(long)]
    pub(super) no_btf: bool,
    /// The key of the pair ids in JSON: 32 hexadecimal digits or a file with them; without this
    /// option a public one
    #[arg(long, value_name = "KEY")]
    pub(super) pair_key: Option<PairKeySource>,
    /// Show a recording instead of what happens now
    #[arg(long, value_name = "FILE", conflicts_with_all = ["no_btf", "duration"])]
    pub(super) replay: Option<PathBuf>,
    #[command(flatten)]
    pub(super) last: LastArgs,
}

impl ClosesArgs {
    /// Returns the part of the filter that the kernel does not apply.
    pub(super) fn user_space_filter(&self) -> ConnectionFilter {
        self.paths.add_to(self.filters.user_space_part())
    }

    /// Returns the whole filter for a recording.
    pub(super) fn recorded_filter(&self) -> anyhow::Result<ConnectionFilter> {
        Ok(self.paths.add_to(self.filters.recorded()?))
    }

    pub(super) fn showing(self, shown: Shown) -> WatchArgs {
        WatchArgs {
            closes: self,
            shown,
            ..WatchArgs::default()
        }
    }
}

/// How closes are shown.
#[derive(Clone, Default, clap::Args)]
pub(super) struct TableArgs {
    #[command(flatten)]
    pub(super) output: OutputArgs,
    /// Never cut a name or break a line: the terminal may wrap it
    #[arg(short, long)]
    pub(super) wide: bool,
    /// Show all that is known (addresses, states, bytes), and how each TIME_WAIT ended; -vv: also
    /// which transitions the eBPF programs leave out, on stderr
    #[arg(short, long, action = ArgAction::Count)]
    pub(super) verbose: u8,
}
