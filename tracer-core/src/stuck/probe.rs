//! Probes of single sockets that may be stuck: the core's requests, and the responses.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::observed::ObservedSocket;
use super::owner::Holder;
use crate::process::Process;
use crate::types::{EndpointId, Nanos, NetNs, Tuple};

/// A socket that may be stuck, and is to be probed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProbeRequest {
    /// Names the socket in the response.
    pub id: EndpointId,
    /// The socket's cookie, where the kernel provides one.
    pub cookie: Option<EndpointId>,
    /// The network namespace it lives in, where that is known.
    pub netns: Option<NetNs>,
    /// The local and peer addresses and ports.
    pub tuple: Tuple,
}

/// The response to all requests that were made at a time.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ProbeResponse {
    /// When the probe began; the spans in the response count from here.
    pub at: Nanos,
    /// When the probe ended.
    pub ended: Nanos,
    /// The sockets that were found in one of [`STUCK_STATES`](super::STUCK_STATES). Nothing is
    /// known of the others.
    pub found: Vec<ProbedSocket>,
}

/// A socket that was probed, and the processes that hold it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProbedSocket {
    /// As in the request.
    pub id: EndpointId,
    /// The socket.
    pub socket: ObservedSocket,
    /// All processes that hold it.
    pub holders: Vec<Holder>,
    /// The process among them that it belongs to.
    pub process: Option<Arc<Process>>,
}
