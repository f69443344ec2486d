//! The response to probes of sockets that may be stuck.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::observed::ObservedSocket;
use super::owner::{Holder, HolderCoverage};
use crate::process::Process;
use crate::types::{EndpointId, Nanos};

/// The response to all requests that were made at a time.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct StuckProbeResponse {
    /// When the probe began; the spans in the response count from here.
    pub at: Nanos,
    /// When the probe ended.
    pub ended: Nanos,
    /// The sockets that were found in one of [`STUCK_STATES`](super::STUCK_STATES). Nothing is
    /// known of the others.
    pub found: Vec<ProbedSocket>,
    /// Which processes were searched for their holders.
    pub coverage: HolderCoverage,
}

/// A socket that was probed, and the processes that hold it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProbedSocket {
    /// As in the [`ProbeRequest`](crate::ProbeRequest).
    pub id: EndpointId,
    /// The socket as sock_diag shows it.
    pub socket: ObservedSocket,
    /// All processes that hold it.
    pub holders: Vec<Holder>,
    /// The process among them that it belongs to.
    pub process: Option<Arc<Process>>,
}
