//! What the core asks about sockets that stay in CLOSE_WAIT, and what it is told.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Holder, ObservedSocket};
use crate::process::Process;
use crate::types::{EndpointId, Nanos, NetNs, Tuple};

/// A socket that may be stuck, and is to be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProbeRequest {
    /// What the answer is to be given under.
    pub id: EndpointId,
    /// Its cookie, where the kernel gives one.
    pub cookie: Option<EndpointId>,
    /// The network namespace it lives in, where that is known.
    pub netns: Option<NetNs>,
    /// Its addresses and ports.
    pub tuple: Tuple,
}

/// ProbeResponse to all questions that were asked at a time.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ProbeResponse {
    /// When the look began; the times in the answers are told as of then.
    pub at: Nanos,
    /// When it ended.
    pub ended: Nanos,
    /// What was seen of each that is in CLOSE_WAIT. Of those that are not among them, nothing is known.
    pub seen: Vec<ProbedSocket>,
}

/// A socket in CLOSE_WAIT, and who holds it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProbedSocket {
    /// Of the question.
    pub id: EndpointId,
    /// The socket.
    pub socket: ObservedSocket,
    /// All processes that hold it.
    pub holders: Vec<Holder>,
    /// The one that it is laid to.
    pub process: Option<Arc<Process>>,
}
