//! The sockets of a snapshot.

use serde::{Deserialize, Serialize};
use tcpclose_common::TcpState;

use super::types::{EndpointId, Nanos, NetNs, Opening, SharedOwner, Tuple};

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
    /// What it is, and what that shows.
    pub kind: SocketKind,
    /// The holder of the socket ([`OwnerSource::Proc`](crate::types::OwnerSource)); `None` if it is
    /// not known.
    pub owner: Option<SharedOwner>,
}

/// A minisocket, or a full socket and how it came to its connection. Recordings of formats 2 and 3
/// have the first two only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SocketKind {
    /// A full socket; nothing shows which side opened its connection.
    Full,
    /// A minisocket, with the remaining time of its timer.
    Minisocket(Nanos),
    /// A full socket that was opened actively.
    Active,
    /// A full socket that was opened passively.
    Passive,
}

impl SocketKind {
    /// Returns the kind of a full socket.
    #[must_use]
    pub const fn full(opening: Option<Opening>) -> Self {
        match opening {
            None => Self::Full,
            Some(Opening::Active) => Self::Active,
            Some(Opening::Passive) => Self::Passive,
        }
    }

    /// Returns the remaining time of a minisocket's timer.
    pub(crate) const fn left(self) -> Option<Nanos> {
        match self {
            Self::Minisocket(left) => Some(left),
            Self::Full | Self::Active | Self::Passive => None,
        }
    }

    /// Returns how a full socket came to its connection, where that is proven.
    pub(crate) const fn opening(self) -> Option<Opening> {
        match self {
            Self::Active => Some(Opening::Active),
            Self::Passive => Some(Opening::Passive),
            Self::Full | Self::Minisocket(_) => None,
        }
    }
}
