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
Signals: SIGHUP reloads the configuration and reopens files; SIGTERM ends the agent with a last summary

Exit codes: 0 stopped by a signal, 1 failed while it ran, 2 cannot run, or the configuration is invalid

Examples:
  tcpclose agent --print-default-config > /etc/tcpclose.toml
  tcpclose agent --config /etc/tcpclose.toml --check-config
  tcpclose agent --config /etc/tcpclose.toml
  tcpclose agent --replay FILE")]
pub(super) struct Args {
    /// Configuration file in TOML; without this option the defaults apply
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Check the configuration and exit
    #[arg(long, conflicts_with = "print_default_config")]
    check_config: bool,
    /// Print the default configuration, which explains every key
    #[arg(long, conflicts_with = "config")]
    print_default_config: bool,
    /// Record into a file as well, for a later --replay; an existing file is overwritten
    #[arg(long, value_name = "FILE", conflicts_with_all = ["check_config", "print_default_config"])]
    record: Option<PathBuf>,
    /// Write the findings of a recording and their summaries to stdout, instead of tracing this
    /// host
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
        // A restart may help.
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
