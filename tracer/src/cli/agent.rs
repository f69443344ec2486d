//! `tcpclose agent`.

use std::path::PathBuf;
use std::process::ExitCode;

use super::common::{print, single_threaded_runtime};
use super::replay_common;
use crate::agent::{self, config};
use crate::notice::notice;

/// What `tcpclose agent` takes.
#[derive(clap::Args)]
#[command(after_help = "\
Signals: SIGHUP reloads the configuration and reopens files; SIGTERM ends the agent with a last summary

Exit codes: 0 stopped by a signal, 1 failed while it ran, 2 cannot run, or the configuration is invalid
Exit codes of --self-test: 0 every output has the records, 1 an output or the tracer lacks some, 2 cannot run

Examples:
  tcpclose agent --print-default-config > /etc/tcpclose.toml
  tcpclose agent --config /etc/tcpclose.toml --check-config
  tcpclose agent --config /etc/tcpclose.toml --self-test
  tcpclose agent --config /etc/tcpclose.toml
  tcpclose agent --replay FILE")]
pub(super) struct AgentArgs {
    /// Configuration file in TOML; without this option the defaults apply, with JSON lines on
    /// stdout as the only output
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Check the configuration and exit
    #[arg(long, conflicts_with = "print_default_config")]
    check_config: bool,
    /// Print the default configuration, which explains every key
    #[arg(long, conflicts_with = "config")]
    print_default_config: bool,
    /// Record into a file as well, for a later --replay; an existing file is renamed to FILE.old
    #[arg(long, value_name = "FILE", conflicts_with_all = ["check_config", "print_default_config"])]
    record: Option<PathBuf>,
    /// Write the findings of a recording and their summaries to stdout, instead of tracing this
    /// host
    #[arg(long, value_name = "FILE", conflicts_with_all = ["record", "check_config", "print_default_config"])]
    replay: Option<PathBuf>,
    /// Make a stuck socket and a reset on loopback, wait until every output has their records, and
    /// exit. They are marked (self_test), and no metric counts them
    #[arg(long, conflicts_with_all = ["record", "replay", "check_config", "print_default_config"])]
    self_test: bool,
}

pub(super) fn run(args: &AgentArgs) -> anyhow::Result<ExitCode> {
    if args.print_default_config {
        print(config::DEFAULT_CONFIG)?;
        return Ok(ExitCode::SUCCESS);
    }
    let config = match &args.config {
        // A recording has its own.
        Some(file) if args.replay.is_some() => config::Config::read(file)?,
        Some(file) => config::Config::read_for_this_host(file)?,
        None => config::Config::without_file(),
    };
    if args.check_config {
        config.check_destinations()?;
        print("the configuration is valid\n")?;
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(file) = args.replay.clone() {
        return replay_common::until_stopped(move |stop| {
            let damage = agent::replay(&config, &file, &stop)?;
            Ok(replay_common::exit_code(&damage, &file, ExitCode::SUCCESS))
        });
    }
    let runtime = single_threaded_runtime()?;
    if args.self_test {
        let capabilities = agent::needed_capabilities(&config);
        return Ok(
            match runtime.block_on(agent::self_test(&config, capabilities))? {
                true => ExitCode::SUCCESS,
                false => ExitCode::from(1),
            },
        );
    }
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
