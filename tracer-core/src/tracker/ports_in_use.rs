//! The ports that connections and listening sockets use.

use foldhash::HashSet;

use crate::summary::PortUse;
use crate::types::{NetNs, Port};

/// Ports that are in use.
#[derive(Clone, Debug, Default)]
pub struct PortsInUse {
    /// Those of the connections on each route, each once.
    pub by_route: Vec<Vec<PortUse>>,
    /// Those of sockets that listen and of connections that were accepted: connect() chooses none
    /// of these in their namespace, whatever the peer is (`fastreuse` in `__inet_hash_connect` of
    /// `net/ipv4/inet_hashtables.c`).
    pub bound: HashSet<(Option<NetNs>, Port)>,
}
