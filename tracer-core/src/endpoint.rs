//! The endpoint of a connection in findings.

use serde::{Deserialize, Serialize};

use super::kernel_ids::zero_is_none;
use super::types::{EndpointId, Nanos, NetNs, Role, SharedOwner, Tuple};

/// The sequence numbers of the two SYNs, in RFC 9293's words. The other endpoint has the same two
/// the other way round, also through NAT; a proxy and some firewalls change them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct InitialSequenceNumbers {
    /// The initial sequence number of this host's end.
    pub iss: u32,
    /// The initial sequence number of the peer's end.
    pub irs: u32,
}

impl InitialSequenceNumbers {
    /// Returns the numbers as the other endpoint has them.
    pub(super) const fn mirrored(self) -> Self {
        let Self { iss, irs } = self;
        Self { iss: irs, irs: iss }
    }
}

/// The endpoint that a finding is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// The socket cookie, or a number of the core's own where the kernel provides none.
    pub id: EndpointId,
    /// The network namespace it lived in, where that is known.
    #[serde(with = "zero_is_none")]
    pub netns: Option<NetNs>,
    /// The local and peer addresses and ports.
    pub tuple: Tuple,
    /// Which side opened the connection.
    pub role: Role,
    /// The initial sequence numbers, where both are certain.
    pub initial: Option<InitialSequenceNumbers>,
    /// Whether the start was seen: `false` if the connection is older than the tracer, or if
    /// records were lost.
    pub seen_from_start: bool,
    /// When it became established; `None` when it never did or that was not seen.
    pub opened: Option<Nanos>,
    /// From ESTABLISHED (from the first SYN if it was never established) until the endpoint had
    /// closed, without TIME_WAIT.
    pub lifetime: Option<Nanos>,
    /// The id of the other end, where that is on this host.
    pub peer: Option<EndpointId>,
    /// The process at the other end, where that is on this host and known.
    pub peer_owner: Option<SharedOwner>,
}
