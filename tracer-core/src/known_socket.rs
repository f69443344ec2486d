//! What the core knows of single sockets, for others who only see that they are there.

use serde::{Deserialize, Serialize};
use tcpclose_common::TcpState;

use super::endpoint::Endpoint;
use super::kernel_ids::zero_is_none;
use super::process::ProcessKey;
use super::stuck::TrendLines;
use super::types::{Nanos, SharedOwner, StartTime};

/// What is known of a live socket.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KnownSocket {
    /// The endpoint. Its lifetime is not known before it closes.
    pub endpoint: Endpoint,
    /// The socket's present state.
    pub state: TcpState,
    /// When it entered that state, where that was seen.
    pub since: Option<Nanos>,
    /// The process it belongs to, where that is known.
    pub owner: Option<SharedOwner>,
    /// How the stuck sockets of its process grow, where it was reported as one of them.
    pub trend: Option<ProcessTrend>,
}

/// How the stuck sockets of a process grow.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProcessTrend {
    /// The process id.
    pub pid: u32,
    /// When the process started, where that is known.
    #[serde(with = "zero_is_none")]
    pub started: Option<StartTime>,
    /// The lines through its numbers.
    pub lines: TrendLines,
}

impl ProcessTrend {
    /// Returns the key that identifies the process.
    #[must_use]
    pub const fn process(&self) -> ProcessKey {
        (self.pid, self.started)
    }
}

/// What is known of a minisocket, in TIME_WAIT or in FIN_WAIT2.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownMinisocket {
    /// The process that the connection belonged to, where that is known.
    pub owner: Option<SharedOwner>,
    /// From ESTABLISHED until the endpoint had closed; `None` where the beginning was not seen, and
    /// in FIN_WAIT2.
    pub lifetime: Option<Nanos>,
}
