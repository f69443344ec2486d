//! `--last`: what the agent's flight recorder has, instead of what happens now.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;

use super::common::EXIT_FAILED;
use super::replay_common;
use crate::agent_socket::AgentAddress;
use crate::duration_arg::duration;
use crate::flight_recorder::Span;
use crate::notice::notice;
use crate::session::{Replay, Session};
use tcpclose_core::types::Nanos;

/// Of which time the flight recorder is read.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct LastArgs {
    /// Show what the agent's flight recorder has of this last time, such as 20m, instead of what
    /// happens now
    #[arg(long, value_name = "TIME", value_parser = duration)]
    last: Option<Duration>,
    /// The socket of the agent that is asked; without this option, /run/tcpclose/agent.sock
    #[arg(long, value_name = "PATH", requires = "last")]
    agent: Option<PathBuf>,
}

/// Something that is replayed.
#[derive(Clone, Debug)]
pub(super) enum Recorded {
    File(PathBuf),
    /// The flight recorder, and for how long before the moment.
    Last(AgentAddress, Option<Duration>),
}

impl LastArgs {
    /// Returns what is replayed, if something is.
    pub(super) fn recorded(&self, file: Option<&PathBuf>) -> Option<Recorded> {
        let last = |last| Recorded::Last(address(self.agent.as_ref()), Some(last));
        self.last
            .map(last)
            .or_else(|| file.cloned().map(Recorded::File))
    }
}

/// Returns the address of an agent that must answer.
pub(super) fn address(path: Option<&PathBuf>) -> AgentAddress {
    path.map_or_else(AgentAddress::default, |path| {
        AgentAddress::named(path.clone())
    })
}

impl Recorded {
    /// Opens it, and says how far back the flight recorder reaches.
    ///
    /// # Errors
    /// It cannot be read, or no agent with a flight recorder answers.
    pub(super) fn open(&self) -> anyhow::Result<Session<Replay>> {
        let (address, last) = match self {
            Self::File(file) => return Session::open(file),
            Self::Last(address, last) => (address, last),
        };
        let status = address.try_to_ask(|agent| agent.flight_recorder())?;
        let Some(status) = status else {
            bail!(
                "the agent has no flight recorder: `enabled` in [flight_recorder] of its \
                 configuration is not set, or the recorder could not begin, which the agent's \
                 standard error says"
            );
        };
        if !status.is_written {
            notice!("the flight recorder's disk is slow: the last seconds are not written yet");
        }
        let from = last.map(|last| status.at - Nanos::from(last));
        let session = Session::open_span(&Span {
            folder: OsString::from_vec(status.folder).into(),
            boot: Some(status.boot),
            writing: Some(status.began),
            from,
        })?;
        let began = session.span_began().unwrap_or_default();
        if from.is_none_or(|from| began > from) {
            let reaches = Duration::from_nanos((status.at - began).0);
            let reaches = Duration::from_secs(reaches.as_secs());
            notice!(
                "the flight recorder reaches back {}",
                humantime::format_duration(reaches)
            );
        }
        Ok(session)
    }

    /// Returns the name of what is shown.
    pub(super) fn name(&self) -> &Path {
        match self {
            Self::File(file) => file,
            Self::Last(..) => Path::new("flight recorder"),
        }
    }

    /// Reports what could not be read; returns `code` if nothing is broken.
    pub(super) fn exit_code(&self, session: &Session<Replay>, code: ExitCode) -> ExitCode {
        for note in session.span_notes() {
            notice!("flight recorder: {note}");
        }
        let code = match session.has_unreadable_segment() {
            true => ExitCode::from(EXIT_FAILED),
            false => code,
        };
        replay_common::exit_code(session.damage(), self.name(), code)
    }
}
