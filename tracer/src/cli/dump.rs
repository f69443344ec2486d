//! `tcpclose dump FILE`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::bail;

use super::common::if_exists;
use super::last::{Recorded, address};
use super::replay_common;
use crate::duration_arg::duration;
use crate::notice::notice;

const AFTER_HELP: &str = "\
Examples:
  tcpclose dump night.rec                 all that the agent's flight recorder has
  tcpclose dump night.rec --last 20m      what it has of the last 20 minutes
  tcpclose resets --replay night.rec

Exit codes: 0 success, 2 cannot run, cannot write everything, a broken flight recorder, or wrong usage";

/// What `tcpclose dump` takes.
#[derive(Clone, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct DumpArgs {
    /// The file to write; an existing one is refused (see --force)
    file: PathBuf,
    /// Overwrite an existing file
    #[arg(long)]
    force: bool,
    /// Keep this last time only, such as 20m
    #[arg(long, value_name = "TIME", value_parser = duration)]
    last: Option<Duration>,
    /// The socket of the agent that is asked; without this option, /run/tcpclose/agent.sock
    #[arg(long, value_name = "PATH")]
    agent: Option<PathBuf>,
}

pub(super) fn run(args: &DumpArgs) -> anyhow::Result<ExitCode> {
    let args = args.clone();
    replay_common::until_stopped(move |stop| {
        let recorded = Recorded::Last(address(args.agent.as_ref()), args.last);
        let mut session = recorded.open()?;
        let is_stopped = || stop.load(Ordering::Relaxed);
        let written = session.copy_to(&args.file, if_exists(args.force), is_stopped)?;
        notice!("{}", written.sentence(&args.file));
        if is_stopped() {
            bail!("stopped: {} has only the first part", args.file.display());
        }
        Ok(recorded.exit_code(&session, ExitCode::SUCCESS))
    })
}
