//! One end of a connection, as findings name it.

use super::types::{EndpointId, Nanos, NetNs, Role, Tuple};

/// Which connection end a finding is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The socket cookie, or where the kernel gives none a number of our own.
    pub id: EndpointId,
    /// The network namespace it lived in, where that is known.
    pub netns: Option<NetNs>,
    /// Its addresses and ports.
    pub tuple: Tuple,
    /// Whether this end opened the connection.
    pub role: Role,
    /// False when the connection is older than the tracer or its opening was lost.
    pub seen_from_start: bool,
    /// When it became established; `None` when it never did or that was not seen.
    pub opened: Option<Nanos>,
    /// From established (or from the first SYN when it never was) to the end of this end, TIME_WAIT
    /// excluded.
    pub lifetime: Option<Nanos>,
}
