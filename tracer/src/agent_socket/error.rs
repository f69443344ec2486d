//! Why an agent does not answer.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use super::protocol::VERSION;

/// Why an agent does not answer, in one sentence.
#[derive(Debug, Error)]
#[error("{why}", why = self.sentence())]
pub(crate) struct AgentError {
    /// The path of the agent's socket.
    pub path: PathBuf,
    pub reason: AgentErrorReason,
}

/// The reasons of an [`AgentError`].
#[derive(Debug)]
pub(crate) enum AgentErrorReason {
    /// There is no socket, or nobody listens on it.
    NoAgent,
    /// This user may not ask it.
    NotPermitted,
    /// A process of a user listens there who is not trusted.
    Stranger(u32),
    /// It has another version of the protocol.
    Version(u32),
    /// It takes too long.
    Timeout,
    /// It ended before the answer did.
    Cut,
    /// It sent something else.
    Invalid,
    Failed(io::Error),
}

impl AgentError {
    /// Returns whether it is ordinary that nobody answers: there is no agent, or only others may
    /// ask it.
    pub fn is_ordinary(&self) -> bool {
        use AgentErrorReason::{NoAgent, NotPermitted};
        matches!(self.reason, NoAgent | NotPermitted)
    }

    /// Returns whether there is an agent that only others may ask.
    pub fn is_not_permitted(&self) -> bool {
        matches!(self.reason, AgentErrorReason::NotPermitted)
    }

    fn sentence(&self) -> String {
        let path = self.path.display();
        match &self.reason {
            AgentErrorReason::NoAgent => format!("no agent answers at {path}"),
            AgentErrorReason::NotPermitted => {
                format!("only root and the agent's own user may ask the agent at {path}")
            }
            AgentErrorReason::Stranger(uid) => format!(
                "a process of user {uid} listens at {path}, which is not trusted: remove it, or \
                 choose another path (--agent)"
            ),
            AgentErrorReason::Version(theirs) => format!(
                "the agent at {path} has version {theirs} of the protocol for questions, and this \
                 tcpclose has version {VERSION}: after an update, restart the agent"
            ),
            AgentErrorReason::Timeout => format!("the agent at {path} takes too long to answer"),
            AgentErrorReason::Cut => {
                format!("the agent at {path} ended in the middle of its answer")
            }
            AgentErrorReason::Invalid => {
                format!("what listens at {path} gave no answer that an agent gives")
            }
            AgentErrorReason::Failed(error) => {
                format!("the agent at {path} could not be asked: {error}")
            }
        }
    }
}
