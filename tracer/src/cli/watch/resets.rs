//! `tcpclose resets`.

use super::WatchArgs;
use super::args::{ClosesArgs, Shown, TableArgs};

const AFTER_HELP: &str = "\
Examples:
  tcpclose resets                     until Ctrl-C
  tcpclose resets --duration 30s      for half a minute
  tcpclose resets nginx               of processes named nginx
  tcpclose resets --cause refused     of connects that were refused
  tcpclose resets --last 20m          in what the agent's flight recorder has
  tcpclose resets --replay FILE       in what `tcpclose record FILE` has recorded

The groups at the end go to the terminal, or to stderr where stdout is none.

Exit codes: 0 no connection closed abnormally, 1 at least one did, 2 none was seen to and not everything was seen, or \
cannot run, wrong usage, or a broken recording";

/// What `tcpclose resets` takes.
#[derive(clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(in crate::cli) struct ResetsArgs {
    #[command(flatten)]
    closes: ClosesArgs,
    #[command(flatten)]
    table: TableArgs,
}

impl From<ResetsArgs> for WatchArgs {
    fn from(args: ResetsArgs) -> Self {
        Self {
            table: args.table,
            ..args.closes.showing(Shown::Abnormal)
        }
    }
}
