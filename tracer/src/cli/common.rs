//! Shared by several commands.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::ColorChoice;
use tokio::runtime::Runtime;

use crate::agent_socket::AgentAddress;
use crate::duration_arg::{InvalidDuration, duration_from};
use crate::output::{Format, terminal};
use crate::recording::IfExists;

/// The exit code of a command that could not run, or was used wrongly.
pub(super) const EXIT_FAILED: u8 = 2;

/// The exit code of a question whose answer is that there is something.
pub(super) const EXIT_FOUND: u8 = 1;

/// The exit code of a scan that could not inspect everything.
pub(super) const EXIT_INCOMPLETE: u8 = 2;

/// Returns the exit code of a scan. What it could not inspect comes first: a script that counts
/// stuck sockets must not take a part for all.
pub(super) fn scan_exit_code(has_found: bool, complete: bool) -> ExitCode {
    match (has_found, complete) {
        (_, false) => ExitCode::from(EXIT_INCOMPLETE),
        (true, true) => ExitCode::from(EXIT_FOUND),
        (false, true) => ExitCode::SUCCESS,
    }
}

/// Returns the exit code of a question that is asked to find what is wrong: what was found stays
/// wrong, whatever could not be inspected.
pub(super) fn verdict_exit_code(has_found: bool, complete: bool) -> ExitCode {
    match (has_found, complete) {
        (true, _) => ExitCode::from(EXIT_FOUND),
        (false, true) => ExitCode::SUCCESS,
        (false, false) => ExitCode::from(EXIT_INCOMPLETE),
    }
}

/// Parses the interval of repeated scans.
pub(super) fn scan_interval(text: &str) -> Result<Duration, InvalidDuration> {
    duration_from(Duration::from_millis(1), text)
}

/// The longest time for writing the last lines, after Ctrl-C or to a reader that has stopped
/// reading.
pub(super) const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// Parses a number that is at least one.
pub(super) fn positive_count(text: &str) -> Result<u64, &'static str> {
    let count = text.parse().ok().filter(|count| *count > 0);
    count.ok_or("must be a number of at least 1")
}

/// How the output looks.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub(super) struct OutputArgs {
    /// Output format
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// The same as --format json
    #[arg(long, conflicts_with = "format")]
    json: bool,
    /// Colours in tables; auto: on a terminal, unless `NO_COLOR` is set
    #[arg(long, value_name = "WHEN", value_enum, default_value_t = ColorChoice::Auto)]
    color: ColorChoice,
}

impl OutputArgs {
    pub(super) const fn format(self) -> Format {
        match self.json {
            true => Format::Json,
            false => self.format,
        }
    }

    /// Returns when there are colours.
    pub(super) const fn color(self) -> ColorChoice {
        self.color
    }

    /// Returns whether tables are coloured.
    pub(super) fn has_colours(self) -> bool {
        match self.color {
            ColorChoice::Auto => terminal::has_colours(),
            ColorChoice::Always => true,
            ColorChoice::Never => false,
        }
    }
}

/// Which agent is asked.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct AgentArg {
    /// Ask the agent with this socket for what a scan cannot see, or `none`; without this option,
    /// /run/tcpclose/agent.sock where an agent answers there
    #[arg(long, value_name = "PATH")]
    agent: Option<PathBuf>,
}

impl AgentArg {
    /// Returns the address of the agent; `None` where none is to be asked.
    pub(super) fn address(&self) -> Option<AgentAddress> {
        match &self.agent {
            None => Some(AgentAddress::default()),
            Some(path) if path.as_os_str() == "none" => None,
            Some(path) => Some(AgentAddress::named(path.clone())),
        }
    }
}

/// Returns what becomes of an existing file with or without `--force`.
pub(super) fn if_exists(force: bool) -> IfExists {
    match force {
        true => IfExists::Overwrite,
        false => IfExists::Refuse,
    }
}

/// Returns the runtime of the commands that wait, which uses the calling thread only.
pub(super) fn single_threaded_runtime() -> anyhow::Result<Runtime> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder
        .enable_all()
        .build()
        .context("starting the event loop failed")
}

/// Whether what was printed had a reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PrintOutcome {
    Printed,
    /// The reader of the pipe has gone (`| head`), which is not an error.
    ReaderGone,
}

impl PrintOutcome {
    /// Returns the outcome of writing to stdout.
    ///
    /// # Errors
    /// Writing has failed, and not because the reader of a pipe has gone.
    pub(super) fn from_write(written: io::Result<()>) -> anyhow::Result<Self> {
        match written {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Self::ReaderGone),
            written => written
                .map(|()| Self::Printed)
                .context("writing to stdout failed"),
        }
    }
}

/// Prints a text on stdout.
///
/// # Errors
/// As [`PrintOutcome::from_write`].
pub(super) fn print(text: &str) -> anyhow::Result<PrintOutcome> {
    let mut out = io::stdout().lock();
    PrintOutcome::from_write(out.write_all(text.as_bytes()).and_then(|()| out.flush()))
}
