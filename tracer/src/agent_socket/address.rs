//! Which agent is asked.

use std::path::{Path, PathBuf};

use super::client::AgentClient;
use super::error::AgentError;
use super::{DEFAULT_RUN_DIRECTORY, socket_path};
use crate::coverage::CoverageGap;

/// The socket of the agent that is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AgentAddress {
    path: PathBuf,
    /// Whether the user has named it.
    is_named: bool,
}

impl Default for AgentAddress {
    fn default() -> Self {
        Self {
            path: socket_path(Path::new(DEFAULT_RUN_DIRECTORY)),
            is_named: false,
        }
    }
}

impl AgentAddress {
    /// Returns the address that a user has named.
    #[must_use]
    pub fn named(path: PathBuf) -> Self {
        Self {
            path,
            is_named: true,
        }
    }

    /// Asks the agent. Returns `None` if it does not answer; what the user should know of that is
    /// added to `gaps`.
    pub fn ask<T>(
        &self,
        gaps: &mut Vec<CoverageGap>,
        ask: impl FnOnce(&mut AgentClient<'_>) -> Result<T, AgentError>,
    ) -> Option<T> {
        match self.try_to_ask(ask) {
            Ok(answer) => Some(answer),
            Err(error) => {
                if self.is_named || !error.is_ordinary() {
                    gaps.push(CoverageGap::note(error.to_string()));
                }
                None
            }
        }
    }

    /// Asks the agent.
    ///
    /// # Errors
    /// It does not answer.
    pub fn try_to_ask<T>(
        &self,
        ask: impl FnOnce(&mut AgentClient<'_>) -> Result<T, AgentError>,
    ) -> Result<T, AgentError> {
        ask(&mut AgentClient::connect(&self.path)?)
    }
}
