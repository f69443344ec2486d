//! Who listens where: the owner of the connections that come in, until their own close() tells better.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use foldhash::HashMap;

use super::types::{NetNs, SharedOwner, Tuple};

/// Listening sockets kept at most. A host with more loses the owners of some incoming connections, nothing else.
const CAPACITY: usize = 16_384;

#[derive(Debug, Default)]
pub(super) struct Listeners {
    listeners: HashMap<(NetNs, SocketAddr), Listener>,
}

#[derive(Debug, Default)]
struct Listener {
    /// `None` where nobody saw who called listen().
    owner: Option<SharedOwner>,
    /// Several processes listen there (`SO_REUSEPORT`): whose a connection is cannot be told.
    shared: bool,
}

impl Listeners {
    pub fn opened(&mut self, netns: NetNs, tuple: &Tuple, owner: Option<SharedOwner>) {
        let key = (netns, tuple.local());
        if self.listeners.len() < CAPACITY || self.listeners.contains_key(&key) {
            let listener = self.listeners.entry(key).or_default();
            if let (Some(known), Some(owner)) = (&listener.owner, &owner) {
                listener.shared |= known.pid != owner.pid;
            }
            listener.owner = owner.or(listener.owner.take());
        }
    }

    pub fn closed(&mut self, netns: NetNs, tuple: &Tuple) {
        self.listeners.remove(&(netns, tuple.local()));
    }

    /// The owner of the socket that a connection came in on, where that is known.
    pub fn owner_of(&self, netns: NetNs, tuple: &Tuple) -> Option<&SharedOwner> {
        let listener = self.find(netns, tuple)?;
        listener.owner.as_ref().filter(|_| !listener.shared)
    }

    /// Whether somebody listens on the connection's local port.
    pub fn is_listening(&self, netns: NetNs, tuple: &Tuple) -> bool {
        self.find(netns, tuple).is_some()
    }

    /// Bound to the connection's address, or to all.
    fn find(&self, netns: NetNs, tuple: &Tuple) -> Option<&Listener> {
        let wildcards = [
            IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        ];
        std::iter::once(tuple.local().ip())
            .chain(wildcards)
            .find_map(|address| {
                self.listeners
                    .get(&(netns, SocketAddr::new(address, tuple.local_port)))
            })
    }
}
