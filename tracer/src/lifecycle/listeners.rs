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
        let key = (netns, place(tuple));
        if self.listeners.len() < CAPACITY || self.listeners.contains_key(&key) {
            let listener = self.listeners.entry(key).or_default();
            if let (Some(known), Some(owner)) = (&listener.owner, &owner) {
                listener.shared |= known.pid != owner.pid;
            }
            listener.owner = owner.or(listener.owner.take());
        }
    }

    pub fn closed(&mut self, netns: NetNs, tuple: &Tuple) {
        self.listeners.remove(&(netns, place(tuple)));
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

/// Where a socket listens. One of IPv6 may be bound to a v4-mapped address; its connections are IPv4.
fn place(tuple: &Tuple) -> SocketAddr {
    let local = tuple.local();
    SocketAddr::new(local.ip().to_canonical(), local.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_on_a_v4_mapped_address_has_ipv4_connections() {
        let mut listeners = Listeners::default();
        let local = SocketAddr::from(([127, 0, 0, 1], 80));
        let mapped: Ipv6Addr = "::ffff:127.0.0.1".parse().expect("an address");
        let bytes = |address: Ipv6Addr| address.octets();
        let bound = Tuple::new(
            super::super::types::IpVersion::V6,
            (bytes(mapped), 80),
            (bytes(Ipv6Addr::UNSPECIFIED), 0),
        );
        let connection = Tuple::from((local, SocketAddr::from(([127, 0, 0, 1], 4242))));
        listeners.opened(NetNs(1), &bound, None);
        assert!(listeners.is_listening(NetNs(1), &connection));
        listeners.closed(NetNs(1), &bound);
        assert!(!listeners.is_listening(NetNs(1), &connection));
    }
}
