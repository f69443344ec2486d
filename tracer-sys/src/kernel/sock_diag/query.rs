//! Requests for sockets, and their bytes (`struct inet_diag_req_v2`, or the older
//! `struct inet_diag_req`, behind a `struct nlmsghdr`).

use std::net::IpAddr;

use strum::VariantArray as _;
use tcpclose_common::TcpState;

use super::mptcp::{IPPROTO_MPTCP, NO_PROTOCOL, SocketProtocol};
use super::request::{HEADER_LEN, NetlinkRequest};
use super::socket::KernelSocket;
use super::wire::{
    INET_DIAG_INFO, INET_DIAG_REQ_PROTOCOL, SOCK_DESTROY, SOCK_DIAG_BY_FAMILY, TCPDIAG_GETSOCK,
};
use tcpclose_core::ProbeRequest;
use tcpclose_core::types::{EndpointId, InterfaceIndex, IpVersion, Tuple};

/// Netlink header and `struct inet_diag_req_v2`.
const REQUEST_LEN: usize = HEADER_LEN + 56;

/// The same, with an attribute of four bytes.
const MPTCP_REQUEST_LEN: usize = REQUEST_LEN + 8;

/// Netlink header and `struct inet_diag_req`.
const BOTH_FAMILIES_REQUEST_LEN: usize = HEADER_LEN + 60;

/// `TCP_BOUND_INACTIVE` of `include/net/tcp_states.h`, which no socket has as its state.
const BOUND_INACTIVE: u32 = 13;

/// A set of TCP states.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StateSet(u32);

impl StateSet {
    /// Returns the empty set.
    #[must_use]
    pub const fn empty() -> Self {
        Self(0)
    }

    /// Returns a set of these states.
    #[must_use]
    pub const fn from_states(states: &[TcpState]) -> Self {
        let mut bits = 0;
        let mut index = 0;
        while index < states.len() {
            bits |= 1 << states[index] as u32;
            index += 1;
        }
        Self(bits)
    }

    /// Returns every state a socket can be in.
    #[must_use]
    pub const fn all() -> Self {
        Self::from_states(TcpState::VARIANTS)
    }

    /// Returns the state of sockets that are bound, and neither listen nor connect. They come as
    /// [`TcpState::Close`], since 6.8 (`TCP_BOUND_INACTIVE`); earlier kernels list none.
    #[must_use]
    pub const fn bound_inactive() -> Self {
        Self(1 << BOUND_INACTIVE)
    }

    /// Returns every state but LISTEN: those of connections. In CLOSE none is found: such a socket
    /// is in none of the tables that the kernel lists.
    #[must_use]
    pub const fn connections() -> Self {
        Self(Self::all().0 & !(1 << TcpState::Listen as u32))
    }

    /// Returns every state but TIME_WAIT: those of sockets that can have a descriptor.
    #[must_use]
    pub const fn full_sockets() -> Self {
        Self(Self::all().0 & !(1 << TcpState::TimeWait as u32))
    }

    /// Returns this set with one more state.
    #[must_use]
    pub const fn with(self, state: TcpState) -> Self {
        Self(self.0 | (1 << state as u32))
    }

    /// Returns whether the state is in the set.
    #[must_use]
    pub const fn contains(self, state: TcpState) -> bool {
        self.0 & (1 << state as u32) != 0
    }
}

/// Which sockets a dump lists, by the family they were created with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketFamilies {
    /// `AF_INET` sockets only. A v4-mapped connection of an IPv6 socket is not among them.
    Inet,
    /// `AF_INET6` sockets only, v4-mapped connections included.
    Inet6,
    /// Sockets of both families. A dump of one family walks over the sockets of both, and over all
    /// of the host's namespaces, so this takes no longer than one of the others.
    Both,
}

/// Selects what a dump lists.
#[derive(Clone, Copy, Debug)]
pub struct DumpQuery {
    /// The states that are listed. The kernel filters TIME_WAIT minisockets by the state that they
    /// represent: an orphan's minisocket in FIN_WAIT2 comes with [`TcpState::FinWait2`], not with
    /// [`TcpState::TimeWait`]. Handshakes that are not complete come with [`TcpState::SynRecv`].
    pub states: StateSet,
    /// The families that are listed.
    pub families: SocketFamilies,
    /// Whether to fill [`KernelSocket::info`]. The kernel then locks each socket for a moment and
    /// writes 250 bytes more: 8% more time over 144,000 sockets (129 ms against 119 ms, 6.18, 2
    /// cores).
    pub info: bool,
    /// The protocol. A dump of MPTCP sockets is of one family.
    pub(super) protocol: SocketProtocol,
}

impl DumpQuery {
    /// Selects all sockets in these states, without [`KernelSocket::info`].
    #[must_use]
    pub const fn new(states: StateSet) -> Self {
        Self {
            states,
            families: SocketFamilies::Both,
            info: false,
            protocol: SocketProtocol::Tcp,
        }
    }

    /// Selects the same sockets, with [`KernelSocket::info`].
    #[must_use]
    pub const fn with_info(self) -> Self {
        Self { info: true, ..self }
    }

    /// Selects the same sockets of one family.
    #[must_use]
    pub const fn with_families(self, families: SocketFamilies) -> Self {
        Self { families, ..self }
    }
}

/// Selects the socket of one lookup.
#[derive(Clone, Copy, Debug)]
pub struct SocketLookup {
    /// The addresses and ports of both endpoints, the local one first.
    pub tuple: Tuple,
    /// The socket's id, so that another socket that has the same tuple by now is not found. An id
    /// that is no cookie is not compared.
    pub id: Option<EndpointId>,
    /// The interface that the socket is bound to, if to one ([`KernelSocket::interface`]). The
    /// kernel finds a bound socket only by its interface's number; connections between link-local
    /// addresses are always bound.
    pub interface: Option<InterfaceIndex>,
    /// Whether to fill [`KernelSocket::info`].
    pub info: bool,
}

impl From<&ProbeRequest> for SocketLookup {
    /// Selects the socket that is to be probed, if it is bound to no interface.
    fn from(request: &ProbeRequest) -> Self {
        Self {
            id: request.cookie,
            ..Self::new(request.tuple)
        }
    }
}

impl SocketLookup {
    /// Selects the socket with this tuple that is bound to no interface.
    #[must_use]
    pub const fn new(tuple: Tuple) -> Self {
        Self {
            tuple,
            id: None,
            interface: None,
            info: false,
        }
    }

    /// Selects the same socket, if it has this id.
    #[must_use]
    pub const fn with_id(self, id: EndpointId) -> Self {
        Self {
            id: Some(id),
            ..self
        }
    }

    /// Selects the socket that is bound to this interface.
    #[must_use]
    pub const fn with_interface(self, interface: Option<InterfaceIndex>) -> Self {
        Self { interface, ..self }
    }

    /// Selects the same socket, with [`KernelSocket::info`].
    #[must_use]
    pub const fn with_info(self) -> Self {
        Self { info: true, ..self }
    }
}

impl From<&KernelSocket> for SocketLookup {
    /// Selects this socket again.
    fn from(socket: &KernelSocket) -> Self {
        Self::new(socket.tuple)
            .with_id(socket.id)
            .with_interface(socket.interface)
    }
}

/// Builds the request for a dump.
pub(super) fn dump_request(query: &DumpQuery, sequence: u32) -> Vec<u8> {
    let family = match query.families {
        SocketFamilies::Inet => libc::AF_INET,
        SocketFamilies::Inet6 => libc::AF_INET6,
        SocketFamilies::Both => return both_families_request(query, sequence).into(),
    };
    if query.protocol == SocketProtocol::Mptcp {
        return mptcp_request(family, query, sequence).into();
    }
    let mut request = family_request(family, query.info, libc::NLM_F_DUMP, sequence);
    request.put(20, &query.states.0.to_ne_bytes());
    request.into_bytes().into()
}

/// Builds the request for a dump of MPTCP sockets: their protocol is in an attribute.
fn mptcp_request(family: libc::c_int, query: &DumpQuery, sequence: u32) -> [u8; MPTCP_REQUEST_LEN] {
    let mut request = NetlinkRequest::new(SOCK_DIAG_BY_FAMILY, libc::NLM_F_DUMP, sequence);
    request.put(16, &[family as u8, NO_PROTOCOL, extensions(query.info)]);
    request.put(20, &query.states.0.to_ne_bytes());
    request.put(REQUEST_LEN, &8_u16.to_ne_bytes());
    request.put(REQUEST_LEN + 2, &INET_DIAG_REQ_PROTOCOL.to_ne_bytes());
    request.put(REQUEST_LEN + 4, &IPPROTO_MPTCP.to_ne_bytes());
    request.into_bytes()
}

/// Builds the request for a dump of both families. Only the older request can do that: the kernel
/// reads no family in it (`inet_diag_dump_compat` in `net/ipv4/inet_diag.c`).
fn both_families_request(query: &DumpQuery, sequence: u32) -> [u8; BOTH_FAMILIES_REQUEST_LEN] {
    let mut request = NetlinkRequest::new(TCPDIAG_GETSOCK, libc::NLM_F_DUMP, sequence);
    request.put(19, &[extensions(query.info)]);
    request.put(68, &query.states.0.to_ne_bytes());
    request.into_bytes()
}

/// Builds the request for one socket.
pub(super) fn lookup_request(lookup: &SocketLookup, sequence: u32) -> [u8; REQUEST_LEN] {
    socket_request(lookup, SOCK_DIAG_BY_FAMILY, 0, sequence)
}

/// Builds the request that destroys one socket, which is acknowledged.
pub(super) fn destroy_request(lookup: &SocketLookup, sequence: u32) -> [u8; REQUEST_LEN] {
    socket_request(lookup, SOCK_DESTROY, libc::NLM_F_ACK, sequence)
}

fn socket_request(
    lookup: &SocketLookup,
    kind: u16,
    flags: libc::c_int,
    sequence: u32,
) -> [u8; REQUEST_LEN] {
    let family = match lookup.tuple.ip() {
        IpVersion::V4 => libc::AF_INET,
        IpVersion::V6 => libc::AF_INET6,
    };
    let mut request = family_request_of(kind, family, lookup.info, flags, sequence);
    let (local, peer) = (lookup.tuple.local(), lookup.tuple.peer());
    request.put(24, &local.port().to_be_bytes());
    request.put(26, &peer.port().to_be_bytes());
    put_address(&mut request, 28, local.ip());
    put_address(&mut request, 44, peer.ip());
    let interface = lookup.interface.map_or(0, InterfaceIndex::get);
    request.put(60, &interface.to_ne_bytes());
    // INET_DIAG_NOCOOKIE in both halves: not compared.
    let cookie = lookup
        .id
        .filter(|id| id.is_cookie())
        .map_or(u64::MAX, |id| id.0);
    request.put(64, &(cookie as u32).to_ne_bytes());
    request.put(68, &((cookie >> 32) as u32).to_ne_bytes());
    request.into_bytes()
}

/// Starts a request for TCP sockets of one family.
fn family_request(
    family: libc::c_int,
    info: bool,
    flags: libc::c_int,
    sequence: u32,
) -> NetlinkRequest<REQUEST_LEN> {
    family_request_of(SOCK_DIAG_BY_FAMILY, family, info, flags, sequence)
}

fn family_request_of(
    kind: u16,
    family: libc::c_int,
    info: bool,
    flags: libc::c_int,
    sequence: u32,
) -> NetlinkRequest<REQUEST_LEN> {
    let mut request = NetlinkRequest::new(kind, flags, sequence);
    let fields = [family as u8, libc::IPPROTO_TCP as u8, extensions(info)];
    request.put(16, &fields);
    request
}

fn put_address(request: &mut NetlinkRequest<REQUEST_LEN>, at: usize, address: IpAddr) {
    match address {
        IpAddr::V4(v4) => request.put(at, &v4.octets()),
        IpAddr::V6(v6) => request.put(at, &v6.octets()),
    }
}

/// Returns the attributes that are requested, as bits.
fn extensions(info: bool) -> u8 {
    if info { 1 << (INET_DIAG_INFO - 1) } else { 0 }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    #[test]
    fn a_set_contains_exactly_its_states() {
        let set = StateSet::from_states(&[TcpState::CloseWait]).with(TcpState::TimeWait);
        assert!(set.contains(TcpState::CloseWait) && set.contains(TcpState::TimeWait));
        assert!(!set.contains(TcpState::Established));
        assert!(!StateSet::connections().contains(TcpState::Listen));
    }

    #[test]
    fn a_lookup_without_a_cookie_sends_inet_diag_nocookie() -> Result<(), std::net::AddrParseError>
    {
        let local: SocketAddr = "127.0.0.1:80".parse()?;
        let peer: SocketAddr = "127.0.0.2:4242".parse()?;
        let lookup = SocketLookup::new(Tuple::from((local, peer)));
        assert_eq!(lookup_request(&lookup, 1)[64..], [0xff; 8]);
        // A socket's address is its id where there are no cookies: it must not be compared.
        let address = lookup.with_id(EndpointId(0xffff_8880_1234_5678));
        assert_eq!(lookup_request(&address, 1)[64..], [0xff; 8]);
        let cookie = lookup_request(&lookup.with_id(EndpointId(0x1_0000_0002)), 1);
        assert_eq!(cookie[64..68], 2_u32.to_ne_bytes());
        assert_eq!(cookie[68..72], 1_u32.to_ne_bytes());
        Ok(())
    }
}
