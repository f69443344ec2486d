//! `tcpclose agent`.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use super::{event_loop, replay_common};
use crate::agent::{self, config};
use crate::notice::notice;

/// What `tcpclose agent` takes.
#[derive(clap::Args)]
#[command(after_help = "\
Signals: SIGHUP reads the configuration again and opens files anew; SIGTERM ends it with a last summary.

Exit codes: 0 it was told to end, 1 it had to end while it worked, 2 it could not run, or the configuration is wrong

Examples:
  tcpclose agent --print-default-config > /etc/tcpclose.toml
  tcpclose agent --config /etc/tcpclose.toml --check-config
  tcpclose agent --config /etc/tcpclose.toml
  tcpclose agent --replay FILE        what was recorded with --record, watch --record or record")]
pub(super) struct Args {
    /// The configuration, in TOML; without it the default is taken
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Only say whether the configuration is right
    #[arg(long, conflicts_with = "print_default_config")]
    check_config: bool,
    /// Print the default configuration, which explains every key
    #[arg(long, conflicts_with = "config")]
    print_default_config: bool,
    /// Record it all too, to be told again with --replay; a file that is there is overwritten
    #[arg(long, value_name = "FILE", conflicts_with_all = ["check_config", "print_default_config"])]
    record: Option<PathBuf>,
    /// Write what was recorded in a file, and summaries of it, to stdout, instead of what happens now
    #[arg(long, value_name = "FILE", conflicts_with_all = ["record", "check_config", "print_default_config"])]
    replay: Option<PathBuf>,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    if args.print_default_config {
        return print(config::DEFAULT);
    }
    let config = match &args.config {
        // A recording has its own.
        Some(file) if args.replay.is_some() => config::Config::read(file)?,
        Some(file) => config::Config::read_for_this_host(file)?,
        None => config::Config::default(),
    };
    if args.check_config {
        config.check_destinations()?;
        return print("the configuration is valid\n");
    }
    if let Some(file) = args.replay.clone() {
        return replay_common::until_stopped(move |stop| {
            let damage = agent::replay(&config, &file, &stop)?;
            Ok(replay_common::exit_code(&damage, &file, ExitCode::SUCCESS))
        });
    }
    let runtime = event_loop()?;
    let (file, record) = (args.config.clone(), args.record.as_deref());
    match runtime.block_on(agent::run(config, file, record)) {
        // Starting it again may help.
        Err(error) if error.is::<agent::FailedWhileRunning>() => {
            notice!("{error:#}");
            Ok(ExitCode::from(1))
        }
        ended => ended.map(|()| ExitCode::SUCCESS),
    }
}

fn print(text: &str) -> anyhow::Result<ExitCode> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(ExitCode::SUCCESS),
    }
}
