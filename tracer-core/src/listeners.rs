//! Listening sockets. Their owners count as the owners of incoming connections, until close() shows
//! the actual owner: the process that calls listen(), or the one other process that closes such
//! connections. With socket activation a manager listens, and a service accepts.

use foldhash::HashMap;
use smallvec::SmallVec;
use tcpclose_common::TcpState;

use super::snapshot::{SnapshotSocket, SocketKind};
use super::types::{EndpointId, IpVersion, NetNs, Owner, OwnerSource, Port, SharedOwner, Tuple};

/// The most listening sockets that are kept. A host with more only loses the owners of some
/// incoming connections.
const MAX_LISTENERS: usize = 16_384;

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
    closers: Closers,
}

/// The processes that closed connections of a listening socket, but for its owner.
#[derive(Debug)]
enum Closers {
    None,
    /// One has closed a connection. A process that was forked for that connection closes no other.
    Once(SharedOwner),
    /// One has closed several.
    One(SharedOwner),
    /// As in servers that fork.
    Several,
}

impl Listener {
    /// Returns the owner of connections that came in on it.
    fn owner_of_connections(&self) -> Option<&SharedOwner> {
        match &self.closers {
            Closers::One(closer) => Some(closer),
            Closers::None | Closers::Once(_) | Closers::Several => self.owner.as_ref(),
        }
    }
}

/// Returns an owner as one that is known through a listening socket.
fn through_listener(owner: &SharedOwner) -> SharedOwner {
    match owner.source {
        OwnerSource::Listen => SharedOwner::clone(owner),
        OwnerSource::Connect | OwnerSource::Close | OwnerSource::Proc => SharedOwner::new(Owner {
            source: OwnerSource::Listen,
            thread: None,
            ..Owner::clone(owner)
        }),
    }
}

impl Listeners {
    pub fn add(
        &mut self,
        id: EndpointId,
        netns: Option<NetNs>,
        tuple: &Tuple,
        owner: Option<SharedOwner>,
    ) {
        let key = (netns, listening_address(tuple));
        let owner = owner.as_ref().map(through_listener);
        let mut there = self.by_address.get_mut(&key).into_iter().flatten();
        match there.find(|listener| listener.id == id) {
            Some(known) => known.owner = owner.or(known.owner.take()),
            None if self.count < MAX_LISTENERS => {
                self.count += 1;
                let there = self.by_address.entry(key).or_default();
                there.push(Listener {
                    id,
                    owner,
                    closers: Closers::None,
                });
            }
            None => {}
        }
    }

    pub fn remove(&mut self, id: EndpointId, netns: Option<NetNs>, tuple: &Tuple) {
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
        let owner = first.owner_of_connections()?;
        let same = |other: &Listener| {
            let other = other.owner_of_connections();
            other.is_some_and(|it| it.pid == owner.pid)
        };
        others.iter().all(same).then_some(owner)
    }

    /// Notes that a process has closed a connection that came in on a socket which is another's.
    /// Where several sockets listen, nothing shows on which of them.
    pub fn note_closer(&mut self, netns: Option<NetNs>, tuple: &Tuple, closer: &SharedOwner) {
        let mut there = possible_listeners(tuple).map(|address| (netns, address));
        let Some(key) = there.find(|key| self.by_address.contains_key(key)) else {
            return;
        };
        let Some([listener]) = self.by_address.get_mut(&key).map(SmallVec::as_mut_slice) else {
            return;
        };
        listener.closers = match &listener.closers {
            Closers::None => Closers::Once(through_listener(closer)),
            Closers::Once(known) if known.pid == closer.pid => Closers::One(known.clone()),
            Closers::One(known) if known.pid == closer.pid => return,
            Closers::Once(_) | Closers::One(_) | Closers::Several => Closers::Several,
        };
    }

    /// Returns whether a socket listens on the connection's local port.
    pub fn is_listening(&self, netns: Option<NetNs>, tuple: &Tuple) -> bool {
        self.find(netns, tuple).is_some()
    }

    /// Returns the listeners as a snapshot shows them, with the owners of what comes in on them.
    /// Those whose namespace is not known are left out.
    pub fn as_snapshot(&self) -> Vec<SnapshotSocket> {
        let addresses = self.by_address.iter();
        let sockets = addresses.flat_map(|((netns, tuple), there)| {
            there.iter().filter_map(|listener| {
                Some(SnapshotSocket {
                    cookie: listener.id,
                    netns: (*netns)?,
                    tuple: *tuple,
                    state: TcpState::Listen,
                    kind: SocketKind::Full,
                    owner: listener.owner_of_connections().cloned(),
                })
            })
        });
        let mut sockets: Vec<_> = sockets.collect();
        sockets.sort_unstable_by_key(|socket| socket.cookie);
        sockets
    }

    /// Returns the ports on which sockets listen, with their namespaces.
    pub fn ports(&self) -> impl Iterator<Item = (Option<NetNs>, Port)> + '_ {
        let addresses = self.by_address.keys();
        addresses.filter_map(|(netns, address)| Some((*netns, address.local_port?)))
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
            thread: None,
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
        listeners.add(EndpointId(1), HERE, &bound, None);
        assert!(listeners.is_listening(HERE, &to("127.0.0.1")));
        listeners.remove(EndpointId(1), HERE, &bound);
        assert!(!listeners.is_listening(HERE, &to("127.0.0.1")));
    }

    #[test]
    fn a_connection_came_in_on_the_closest_listener_that_takes_its_ip_version() {
        let mut listeners = Listeners::default();
        listeners.add(EndpointId(1), HERE, &on("0.0.0.0", 80), owner(1));
        assert_eq!(pid_of(&listeners, "127.0.0.1"), Some(1));
        assert!(!listeners.is_listening(HERE, &to("::1")));
        listeners.add(EndpointId(2), HERE, &on("::", 80), owner(2));
        listeners.add(EndpointId(3), HERE, &on("127.0.0.3", 80), owner(3));
        assert_eq!(pid_of(&listeners, "127.0.0.1"), Some(1));
        assert_eq!(pid_of(&listeners, "127.0.0.3"), Some(3));
        assert_eq!(pid_of(&listeners, "::1"), Some(2));
        listeners.remove(EndpointId(1), HERE, &on("0.0.0.0", 80));
        assert_eq!(pid_of(&listeners, "127.0.0.1"), Some(2));
    }

    #[test]
    fn connections_belong_to_the_one_process_that_closes_them() {
        let mut listeners = Listeners::default();
        let closer = |pid| {
            let owner = owner(pid).expect("there is one");
            SharedOwner::new(Owner {
                source: OwnerSource::Close,
                ..Owner::clone(&owner)
            })
        };
        listeners.add(EndpointId(1), HERE, &on("0.0.0.0", 80), owner(1));
        listeners.note_closer(HERE, &to("127.0.0.1"), &closer(7));
        assert_eq!(pid_of(&listeners, "127.0.0.1"), Some(1));
        listeners.note_closer(HERE, &to("127.0.0.1"), &closer(7));
        let found = listeners.owner_of(HERE, &to("127.0.0.1")).cloned();
        let found = found.map(|owner| (owner.pid, owner.source));
        assert_eq!(found, Some((7, OwnerSource::Listen)));
        // A server that forks: which of its workers accepts the next one is not known.
        listeners.note_closer(HERE, &to("127.0.0.1"), &closer(8));
        assert_eq!(pid_of(&listeners, "127.0.0.1"), Some(1));
        listeners.note_closer(HERE, &to("127.0.0.1"), &closer(8));
        assert_eq!(pid_of(&listeners, "127.0.0.1"), Some(1));
    }

    #[test]
    fn an_owner_from_proc_is_known_through_the_listener() {
        let mut listeners = Listeners::default();
        let holder = SharedOwner::new(Owner {
            source: OwnerSource::Proc,
            ..Owner::clone(&owner(1).expect("there is one"))
        });
        listeners.add(EndpointId(1), HERE, &on("0.0.0.0", 80), Some(holder));
        let found = listeners.owner_of(HERE, &to("127.0.0.1"));
        assert_eq!(found.map(|owner| owner.source), Some(OwnerSource::Listen));
    }

    #[test]
    fn of_several_processes_that_share_a_port_none_is_the_owner() {
        let mut listeners = Listeners::default();
        let all = on("0.0.0.0", 80);
        listeners.add(EndpointId(1), HERE, &all, owner(1));
        // The same, as a snapshot shows it.
        listeners.add(EndpointId(1), HERE, &all, None);
        listeners.add(EndpointId(2), HERE, &all, owner(1));
        assert_eq!(pid_of(&listeners, "127.0.0.1"), Some(1));
        listeners.add(EndpointId(3), HERE, &all, owner(3));
        assert_eq!(pid_of(&listeners, "127.0.0.1"), None);
        // One of the first process restarts.
        listeners.remove(EndpointId(1), HERE, &all);
        listeners.add(EndpointId(4), HERE, &all, owner(4));
        assert_eq!(pid_of(&listeners, "127.0.0.1"), None);
        listeners.remove(EndpointId(2), HERE, &all);
        listeners.remove(EndpointId(3), HERE, &all);
        assert_eq!(pid_of(&listeners, "127.0.0.1"), Some(4));
        listeners.add(EndpointId(5), HERE, &all, None);
        assert_eq!(
            pid_of(&listeners, "127.0.0.1"),
            None,
            "one may be anybody's"
        );
        listeners.remove(EndpointId(4), HERE, &all);
        listeners.remove(EndpointId(5), HERE, &all);
        assert!(!listeners.is_listening(HERE, &to("127.0.0.1")));
        assert_eq!(listeners.count, 0);
    }
}
