//! What connections have in common: the service that they are to.

use std::net::SocketAddr;

use crate::finding::Endpoint;
use crate::types::{Port, Role};

/// What connections have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ServiceAddress {
    /// They were accepted on this port of this host.
    Listening(Port),
    /// This host opened them to this address and port.
    Peer(SocketAddr),
}

impl ServiceAddress {
    /// Returns the service of an endpoint; `None` where its role is not known.
    #[must_use]
    pub fn from_endpoint(endpoint: &Endpoint) -> Option<Self> {
        let tuple = &endpoint.tuple;
        match endpoint.role {
            Role::Server => tuple.local_port.map(Self::Listening),
            Role::Client => Some(Self::Peer(tuple.peer())),
            Role::Unknown => None,
        }
    }
}
