//! Who listens where: the owner of the connections that come in, until their own close() tells better.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::types::{NetNs, SharedOwner, Tuple};

/// Listening sockets kept at most. A host with more loses the owners of some incoming connections, nothing else.
const CAPACITY: usize = 16_384;

#[derive(Debug, Default)]
pub(super) struct Listeners {
    /// `None` where nobody saw who called listen().
    owners: HashMap<(NetNs, SocketAddr), Option<SharedOwner>>,
}

impl Listeners {
    pub fn opened(&mut self, netns: NetNs, tuple: &Tuple, owner: Option<SharedOwner>) {
        let key = (netns, tuple.local());
        if self.owners.len() < CAPACITY || self.owners.contains_key(&key) {
            let known = self.owners.entry(key).or_default();
            *known = owner.or(known.take());
        }
    }

    pub fn closed(&mut self, netns: NetNs, tuple: &Tuple) {
        self.owners.remove(&(netns, tuple.local()));
    }

    /// The owner of the socket that a connection came in on, where that is known.
    pub fn owner_of(&self, netns: NetNs, tuple: &Tuple) -> Option<&SharedOwner> {
        self.find(netns, tuple)?.as_ref()
    }

    /// Whether somebody listens on the connection's local port.
    pub fn is_listening(&self, netns: NetNs, tuple: &Tuple) -> bool {
        self.find(netns, tuple).is_some()
    }

    /// Bound to the connection's address, or to all.
    fn find(&self, netns: NetNs, tuple: &Tuple) -> Option<&Option<SharedOwner>> {
        let wildcards = [
            IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        ];
        std::iter::once(tuple.local().ip())
            .chain(wildcards)
            .find_map(|address| {
                self.owners
                    .get(&(netns, SocketAddr::new(address, tuple.local_port)))
            })
    }
}
