//! A close for tests that need only some of its fields.

use std::net::SocketAddr;

use smallvec::smallvec;

use crate::endpoint::Endpoint;
use crate::finding::{Bytes, Close, ClosePath, Initiator};
use crate::types::{EndpointId, Nanos, NetNs, Role};

/// Returns a client's endpoint. Nothing is known of its life.
pub(crate) fn endpoint(local: SocketAddr, peer: SocketAddr) -> Endpoint {
    Endpoint {
        id: EndpointId(1),
        netns: NetNs::new(1),
        tuple: (local, peer).into(),
        role: Role::Client,
        initial: None,
        seen_from_start: true,
        opened: None,
        lifetime: None,
        peer: None,
        peer_owner: None,
    }
}

/// Returns a close of which nothing is known but what is given.
pub(crate) fn close(endpoint: Endpoint, path: ClosePath, initiator: Initiator) -> Close {
    Close {
        at: Nanos(0),
        endpoint,
        owner: None,
        path,
        initiator,
        cause: None,
        idle: None,
        peer_cause: None,
        connect_error: None,
        lost: None,
        steps: smallvec![],
        segments: None,
        states: smallvec![],
        bytes: Bytes::default(),
        retransmits: None,
        reset: None,
        half_close: None,
    }
}
