//! What a snapshot of all sockets shows.

use serde::{Deserialize, Serialize};
use tcpclose_common::TcpState;

use super::types::{EndpointId, Nanos, NetNs, SharedOwner, Tuple};

/// A socket that a snapshot shows.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SnapshotSocket {
    /// The socket's cookie.
    pub cookie: EndpointId,
    /// The network namespace it lives in.
    pub netns: NetNs,
    /// The local and peer addresses and ports.
    pub tuple: Tuple,
    /// Its state; of a minisocket FIN_WAIT2 or TIME_WAIT.
    pub state: TcpState,
    /// What the timer of a minisocket has left; `None` of a full socket.
    pub left: Option<Nanos>,
    /// Who holds it ([`OwnerSource::Proc`](crate::types::OwnerSource)); `None` where that is not
    /// known.
    pub owner: Option<SharedOwner>,
}
