//! `tcpclose explain`.

use super::WatchArgs;
use super::args::{ClosesArgs, Shown};

const AFTER_HELP: &str = "\
Examples:
  tcpclose explain --count 1          the next close
  tcpclose explain mariadb            of processes named mariadb
  tcpclose explain --path reset       of connections that are reset
  tcpclose explain --last 20m         in what the agent's flight recorder has
  tcpclose explain --replay FILE      in what `tcpclose record FILE` has recorded

Where both ends of a connection are on this host, they are drawn as one, which --count counts once.

Exit codes: 0 success (also after Ctrl-C), 2 cannot run, wrong usage, or a broken recording";

/// What `tcpclose explain` takes.
#[derive(clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(in crate::cli) struct ExplainArgs {
    #[command(flatten)]
    closes: ClosesArgs,
    /// Draw with ASCII alone, whatever the locale has
    #[arg(long)]
    ascii: bool,
}

impl From<ExplainArgs> for WatchArgs {
    fn from(args: ExplainArgs) -> Self {
        Self {
            ascii: args.ascii,
            ..args.closes.showing(Shown::Ladders)
        }
    }
}
