//! Who listens where: the owner of the connections that come in, until their own close() tells better.

use foldhash::HashMap;

use super::types::{IpVersion, NetNs, SharedOwner, Tuple};

/// Listening sockets kept at most. A host with more loses the owners of some incoming connections, nothing else.
const CAPACITY: usize = 16_384;

#[derive(Debug, Default)]
pub(super) struct Listeners {
    /// By their local ends.
    listeners: HashMap<(NetNs, Tuple), Listener>,
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
        let at = |local| self.listeners.get(&(netns, local));
        at(tuple.without_peer())
            .or_else(|| at(tuple.on_all_addresses(IpVersion::V4)))
            .or_else(|| at(tuple.on_all_addresses(IpVersion::V6)))
    }
}

/// Where a socket listens. One of IPv6 may be bound to a v4-mapped address; its connections are IPv4.
fn place(tuple: &Tuple) -> Tuple {
    Tuple::from((tuple.local(), tuple.local())).without_peer()
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv6Addr, SocketAddr};

    use super::*;

    #[test]
    fn a_listener_on_a_v4_mapped_address_has_ipv4_connections() {
        let mut listeners = Listeners::default();
        let local = SocketAddr::from(([127, 0, 0, 1], 80));
        let mapped: Ipv6Addr = "::ffff:127.0.0.1".parse().expect("an address");
        let bytes = |address: Ipv6Addr| address.octets();
        let bound = Tuple::new(
            IpVersion::V6,
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
