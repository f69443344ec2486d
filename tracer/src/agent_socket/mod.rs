//! Asking a running agent for what a scan cannot see: the protocol of the agent's unix socket, and
//! the side that asks. `agent/socket_server` answers.

mod address;
mod client;
mod error;
mod frame;
mod protocol;

use std::path::{Path, PathBuf};

pub(crate) use address::AgentAddress;
pub(crate) use frame::{FrameError, HEADER_LEN};
pub(crate) use protocol::{AgentStatus, Answer, FlightStatus, Question};

/// The name of the socket in the agent's `run_directory`.
const SOCKET_NAME: &str = "agent.sock";

/// The default of the agent's `run_directory`.
pub(crate) const DEFAULT_RUN_DIRECTORY: &str = "/run/tcpclose";

/// Returns the path of the socket of an agent with this `run_directory`.
pub(crate) fn socket_path(run_directory: &Path) -> PathBuf {
    run_directory.join(SOCKET_NAME)
}
