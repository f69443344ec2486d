//! Listening sockets. Their owners count as the owners of incoming connections, until close() shows
//! the actual owner.

use foldhash::HashMap;
use smallvec::SmallVec;

use super::types::{EndpointId, IpVersion, NetNs, SharedOwner, Tuple};

/// The most listening sockets that are kept. A host with more only loses the owners of some
/// incoming connections.
const CAPACITY: usize = 16_384;

#[derive(Debug, Default)]
pub(super) struct Listeners {
    /// The listeners by address: several where they share one (`SO_REUSEPORT`).
    by_address: HashMap<(Option<NetNs>, Tuple), SmallVec<[Listener; 1]>>,
    count: usize,
}

#[derive(Debug)]
struct Listener {
    id: EndpointId,
    /// `None` if the call of listen() was not seen.
    owner: Option<SharedOwner>,
}

impl Listeners {
    pub fn opened(
        &mut self,
        id: EndpointId,
        netns: Option<NetNs>,
        tuple: &Tuple,
        owner: Option<SharedOwner>,
    ) {
        let key = (netns, listening_address(tuple));
        let mut there = self.by_address.get_mut(&key).into_iter().flatten();
        match there.find(|listener| listener.id == id) {
            Some(known) => known.owner = owner.or(known.owner.take()),
            None if self.count < CAPACITY => {
                self.count += 1;
                let there = self.by_address.entry(key).or_default();
                there.push(Listener { id, owner });
            }
            None => {}
        }
    }

    pub fn closed(&mut self, id: EndpointId, netns: Option<NetNs>, tuple: &Tuple) {
        let key = (netns, listening_address(tuple));
        let Some(there) = self.by_address.get_mut(&key) else {
            return;
        };
        let before = there.len();
        there.retain(|listener| listener.id != id);
        self.count -= before - there.len();
        if there.is_empty() {
            self.by_address.remove(&key);
        }
    }

    /// Returns the owner of the socket that an incoming connection belongs to. `None` if the owner
    /// is not known, or if several sockets with different owners listen there.
    pub fn owner_of(&self, netns: Option<NetNs>, tuple: &Tuple) -> Option<&SharedOwner> {
        let (first, others) = self.find(netns, tuple)?.split_first()?;
        let owner = first.owner.as_ref()?;
        let same = |other: &Listener| other.owner.as_ref().is_some_and(|it| it.pid == owner.pid);
        others.iter().all(same).then_some(owner)
    }

    /// Returns whether a socket listens on the connection's local port.
    pub fn is_listening(&self, netns: Option<NetNs>, tuple: &Tuple) -> bool {
        self.find(netns, tuple).is_some()
    }

    fn find(&self, netns: Option<NetNs>, tuple: &Tuple) -> Option<&[Listener]> {
        let mut there =
            possible_listeners(tuple).filter_map(|address| self.by_address.get(&(netns, address)));
        there.next().map(SmallVec::as_slice)
    }
}

/// Returns the address on which a socket listens. An IPv6 socket may be bound to a v4-mapped
/// address; its connections are IPv4.
pub fn listening_address(tuple: &Tuple) -> Tuple {
    Tuple::from((tuple.local(), tuple.local())).without_peer()
}

/// Returns the addresses on which the listener of an incoming connection may listen, the closest
/// first: on the connection's address, or on all. An IPv6 socket on all addresses accepts IPv4,
/// too, but not the other way round.
pub fn possible_listeners(endpoint: &Tuple) -> impl Iterator<Item = Tuple> {
    let ip = endpoint.ip();
    let both = [IpVersion::V4, IpVersion::V6];
    let all = both
        .into_iter()
        .filter(move |it| ip == IpVersion::V4 || *it == ip);
    let all = all.map(|it| endpoint.on_all_addresses(it));
    std::iter::once(endpoint.without_peer()).chain(all)
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv6Addr, SocketAddr};
    use std::sync::Arc;

    use super::*;
    use crate::types::{Owner, OwnerSource};

    const HERE: Option<NetNs> = NetNs::new(1);

    fn on(address: &str, port: u16) -> Tuple {
        let address: IpAddr = address.parse().expect("an address");
        let none = match address {
            IpAddr::V4(_) => "0.0.0.0:0",
            IpAddr::V6(_) => "[::]:0",
        };
        let local = SocketAddr::new(address, port);
        Tuple::from((local, none.parse().expect("an address")))
    }

    /// A connection to port 80.
    fn to(address: &str) -> Tuple {
        let local = SocketAddr::new(address.parse().expect("an address"), 80);
        Tuple::from((local, SocketAddr::new(local.ip(), 4242)))
    }

    fn owner(pid: u32) -> Option<SharedOwner> {
        Some(Arc::new(Owner {
            pid,
            uid: 0,
            cgroup: None,
            comm: (*b"server").into(),
            source: OwnerSource::Listen,
        }))
    }

    fn pid_of(listeners: &Listeners, address: &str) -> Option<u32> {
        let owner = listeners.owner_of(HERE, &to(address));
        owner.map(|owner| owner.pid)
    }

    #[test]
    fn a_listener_on_a_v4_mapped_address_has_ipv4_connections() {
        let mut listeners = Listeners::default();
        let mapped: Ipv6Addr = "::ffff:127.0.0.1".parse().expect("an address");
        let bytes = |address: Ipv6Addr| address.octets();
        let bound = Tuple::new(
            IpVersion::V6,
            (bytes(mapped), 80),
            (bytes(Ipv6Addr::UNSPECIFIED), 0),
        );
        listeners.opened(EndpointId(1), HERE, &bound, None);
        assert!(listeners.is_listening(HERE, &to("127.0.0.1")));
        listeners.closed(EndpointId(1), HERE, &bound);
        assert!(!listeners.is_listening(HERE, &to("127.0.0.1")));
    }

    #[test]
    fn a_connection_came_in_on_the_closest_listener_that_takes_its_ip_version() {
        let mut listeners = Listeners::default();
        listeners.opened(EndpointId(1), HERE, &on("0.0.0.0", 80), owner(1));
        assert_eq!(pid_of(&listeners, "127.0.0.1"), Some(1));
        assert!(!listeners.is_listening(HERE, &to("::1")));
        listeners.opened(EndpointId(2), HERE, &on("::", 80), owner(2));
        listeners.opened(EndpointId(3), HERE, &on("127.0.0.3", 80), owner(3));
        assert_eq!(pid_of(&listeners, "127.0.0.1"), Some(1));
        assert_eq!(pid_of(&listeners, "127.0.0.3"), Some(3));
        assert_eq!(pid_of(&listeners, "::1"), Some(2));
        listeners.closed(EndpointId(1), HERE, &on("0.0.0.0", 80));
        assert_eq!(pid_of(&listeners, "127.0.0.1"), Some(2));
    }

    #[test]
    fn of_several_processes_that_share_a_port_none_is_the_owner() {
        let mut listeners = Listeners::default();
        let all = on("0.0.0.0", 80);
        listeners.opened(EndpointId(1), HERE, &all, owner(1));
        // The same, as a snapshot shows it.
        listeners.opened(EndpointId(1), HERE, &all, None);
        listeners.opened(EndpointId(2), HERE, &all, owner(1));
        assert_eq!(pid_of(&listeners, "127.0.0.1"), Some(1));
        listeners.opened(EndpointId(3), HERE, &all, owner(3));
        assert_eq!(pid_of(&listeners, "127.0.0.1"), None);
        // One of the first process restarts.
        listeners.closed(EndpointId(1), HERE, &all);
        listeners.opened(EndpointId(4), HERE, &all, owner(4));
        assert_eq!(pid_of(&listeners, "127.0.0.1"), None);
        listeners.closed(EndpointId(2), HERE, &all);
        listeners.closed(EndpointId(3), HERE, &all);
        assert_eq!(pid_of(&listeners, "127.0.0.1"), Some(4));
        listeners.opened(EndpointId(5), HERE, &all, None);
        assert_eq!(
            pid_of(&listeners, "127.0.0.1"),
            None,
            "one may be anybody's"
        );
        listeners.closed(EndpointId(4), HERE, &all);
        listeners.closed(EndpointId(5), HERE, &all);
        assert!(!listeners.is_listening(HERE, &to("127.0.0.1")));
        assert_eq!(listeners.count, 0);
    }
}
