//! The sockets of a snapshot.

use serde::{Deserialize, Serialize};
use tcpclose_common::TcpState;

use super::types::{EndpointId, Nanos, NetNs, SharedOwner, Tuple};

/// A socket in a snapshot.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SnapshotSocket {
    /// The socket's cookie.
    pub cookie: EndpointId,
    /// The network namespace it lives in.
    pub netns: NetNs,
    /// The local and peer addresses and ports.
    pub tuple: Tuple,
    /// The socket's state; FIN_WAIT2 or TIME_WAIT for a minisocket.
    pub state: TcpState,
    /// The remaining time of the timer of a minisocket; `None` for a full socket.
    pub left: Option<Nanos>,
    /// The holder of the socket ([`OwnerSource::Proc`](crate::types::OwnerSource)); `None` if it is
    /// not known.
    pub owner: Option<SharedOwner>,
}
