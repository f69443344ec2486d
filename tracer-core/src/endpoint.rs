//! The endpoint of a connection in findings.

use super::types::{EndpointId, Nanos, NetNs, Role, Tuple};

/// The endpoint that a finding is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The socket cookie, or a number of the core's own where the kernel provides none.
    pub id: EndpointId,
    /// The network namespace it lived in, where that is known.
    pub netns: Option<NetNs>,
    /// The local and peer addresses and ports.
    pub tuple: Tuple,
    /// Whether this end opened the connection.
    pub role: Role,
    /// Whether the start was seen: `false` if the connection is older than the tracer, or if
    /// records were lost.
    pub seen_from_start: bool,
    /// When it became established; `None` when it never did or that was not seen.
    pub opened: Option<Nanos>,
    /// From established (or from the first SYN when it never was) to the end of this end, TIME_WAIT
    /// excluded.
    pub lifetime: Option<Nanos>,
}
