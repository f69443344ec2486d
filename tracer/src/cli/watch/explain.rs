//! `tcpclose explain`.

use super::WatchArgs;
use super::args::{ClosesArgs, Shown};

const AFTER_HELP: &str = "\
Examples:
  tcpclose explain --count 1          the next close
  tcpclose explain mariadb            of processes named mariadb
  tcpclose explain --path reset       of connections that are reset
  tcpclose explain --replay FILE      in what `tcpclose record FILE` has recorded

Exit codes: 0 success (also after Ctrl-C), 2 cannot run, wrong usage, or a broken recording";

/// What `tcpclose explain` takes.
#[derive(clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(in crate::cli) struct ExplainArgs {
    #[command(flatten)]
    closes: ClosesArgs,
}

impl From<ExplainArgs> for WatchArgs {
    fn from(args: ExplainArgs) -> Self {
        args.closes.showing(Shown::Ladders)
    }
}
