//! What the core asks about a single socket.

use super::types::{EndpointId, NetNs, Tuple};

/// A socket that is to be probed: a minisocket, or a socket that may be stuck.
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
