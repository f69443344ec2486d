//! The basic types of the core; each carries its unit.

use std::hash::{Hash, Hasher};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::{Add, Sub};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use strum::{Display, IntoStaticStr};
use tcpclose_common::COMM_LEN;

pub use super::kernel_ids::{
    CgroupId, Inode, InterfaceIndex, NetNs, Port, SocketAddress, StartTime,
};
use super::kernel_ids::{KernelId as _, zero_is_none};

/// A point in time or a span, in nanoseconds of `CLOCK_MONOTONIC`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Nanos(pub u64);

impl Nanos {
    /// Microseconds as nanoseconds.
    #[must_use]
    pub const fn from_micros(us: u64) -> Self {
        Self(us * 1_000)
    }

    /// Milliseconds as nanoseconds.
    #[must_use]
    pub const fn from_millis(ms: u64) -> Self {
        Self(ms * 1_000_000)
    }

    /// Seconds as nanoseconds.
    #[must_use]
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs * 1_000_000_000)
    }

    /// The value in milliseconds.
    #[must_use]
    pub fn as_millis(self) -> f64 {
        self.0 as f64 / 1e6
    }
}

/// A point in time that may not be known, in 8 bytes: for what is kept a million times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OptionalNanos(u64);

impl OptionalNanos {
    /// The time is not known.
    pub const UNKNOWN: Self = Self(u64::MAX);

    /// The time, where it is known.
    pub fn get(self) -> Option<Nanos> {
        (self != Self::UNKNOWN).then_some(Nanos(self.0))
    }
}

impl From<Nanos> for OptionalNanos {
    fn from(at: Nanos) -> Self {
        Self(at.0)
    }
}

/// An endpoint that may not be known, in 6 bytes that need no alignment: for what is kept a million
/// times. Cookies count from 1 and do not get that far; an id that does is not kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct OptionalId([u8; 6]);

impl OptionalId {
    /// The endpoint, where it is known.
    pub fn get(self) -> Option<EndpointId> {
        let [a, b, c, d, e, f] = self.0;
        let id = u64::from_le_bytes([a, b, c, d, e, f, 0, 0]);
        (id != 0).then_some(EndpointId(id))
    }
}

impl From<EndpointId> for OptionalId {
    fn from(EndpointId(id): EndpointId) -> Self {
        match id.to_le_bytes() {
            [a, b, c, d, e, f, 0, 0] => Self([a, b, c, d, e, f]),
            _ => Self::default(),
        }
    }
}

/// A sequence number that may not be known, in 5 bytes that need no alignment: for what is kept a
/// million times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct OptionalSeq(Option<[u8; 4]>);

impl OptionalSeq {
    /// The number, where it is known.
    pub fn get(self) -> Option<u32> {
        self.0.map(u32::from_ne_bytes)
    }
}

impl From<Option<u32>> for OptionalSeq {
    fn from(seq: Option<u32>) -> Self {
        Self(seq.map(u32::to_ne_bytes))
    }
}

impl From<Duration> for Nanos {
    /// Saturates after 584 years.
    fn from(duration: Duration) -> Self {
        Self(duration.as_nanos().try_into().unwrap_or(u64::MAX))
    }
}

impl Add for Nanos {
    type Output = Self;

    fn add(self, span: Self) -> Self {
        Self(self.0.saturating_add(span.0))
    }
}

impl Sub for Nanos {
    type Output = Self;

    /// Zero when `earlier` is the later one: records of two CPUs may be a few microseconds out of
    /// order.
    fn sub(self, earlier: Self) -> Self {
        Self(self.0.saturating_sub(earlier.0))
    }
}

/// What identifies one endpoint among all that are alive: the socket cookie, or where
/// the kernel gives none the socket's address (see [`EndpointId::is_cookie`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct EndpointId(pub u64);

impl EndpointId {
    /// Kernel addresses lie in the upper half of the address space; cookies count up from 1 and
    /// never get there.
    #[must_use]
    pub const fn is_cookie(self) -> bool {
        self.0 < 1 << 63
    }
}

/// The IP version on the wire. A v4-mapped connection of an IPv6 socket is [`IpVersion::V4`].
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, Display, IntoStaticStr,
)]
#[strum(serialize_all = "snake_case")]
#[repr(u8)]
#[expect(missing_docs, reason = "the names say it")]
pub enum IpVersion {
    #[strum(serialize = "ipv4")]
    V4 = 4,
    #[strum(serialize = "ipv6")]
    V6 = 6,
}

/// Addresses and ports of a connection, seen from the local side. 40 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tuple {
    local: [u8; 16],
    peer: [u8; 16],
    /// Local port; `None` while none is chosen.
    #[serde(with = "zero_is_none")]
    pub local_port: Option<Port>,
    /// Peer's port; `None` where there is no peer.
    #[serde(with = "zero_is_none")]
    pub peer_port: Option<Port>,
    ip: IpVersion,
}

/// The address of the self-test's own connections, which are loopback connections like any other
/// of 127.0.0.0/8. Its last bytes read `TCP`.
pub const SELF_TEST_ADDRESS: Ipv4Addr = Ipv4Addr::new(127, b'T', b'C', b'P');

impl Tuple {
    /// Returns whether a socket with this tuple is connected to itself: both endpoints are one.
    #[must_use]
    pub fn is_of_one_endpoint(&self) -> bool {
        (self.local, self.local_port) == (self.peer, self.peer_port) && self.local_port.is_some()
    }

    /// Returns whether the addresses alone show that both endpoints are on one host.
    #[must_use]
    pub fn is_within_host(&self) -> bool {
        let ip = self.local().ip();
        ip == self.peer().ip() || ip.to_canonical().is_loopback()
    }

    /// Returns whether one endpoint has the [address](SELF_TEST_ADDRESS) of the self-test's
    /// connections. Findings about them are marked, and summaries and metrics leave them out.
    #[must_use]
    pub fn is_self_test(&self) -> bool {
        let address = IpAddr::V4(SELF_TEST_ADDRESS);
        self.local().ip() == address || self.peer().ip() == address
    }

    /// Takes addresses as the kernel's records hold them: IPv4 in the first four bytes, the rest
    /// zero; no port is 0.
    #[must_use]
    pub const fn new(ip: IpVersion, local: ([u8; 16], u16), peer: ([u8; 16], u16)) -> Self {
        Self {
            local: local.0,
            peer: peer.0,
            local_port: Port::new(local.1),
            peer_port: Port::new(peer.1),
            ip,
        }
    }

    /// Returns the tuple as the other endpoint has it, where no NAT lies between.
    pub(super) const fn mirrored(self) -> Self {
        let Self {
            local,
            peer,
            local_port,
            peer_port,
            ip,
        } = self;
        Self {
            local: peer,
            peer: local,
            local_port: peer_port,
            peer_port: local_port,
            ip,
        }
    }

    /// The local address and port alone.
    pub(super) const fn without_peer(self) -> Self {
        Self {
            peer: [0; 16],
            peer_port: None,
            ..self
        }
    }

    /// The local address and port alone, bound to all addresses of this IP version.
    pub(super) const fn on_all_addresses(self, ip: IpVersion) -> Self {
        Self {
            local: [0; 16],
            ip,
            ..self.without_peer()
        }
    }

    /// The IP version on the wire.
    #[must_use]
    pub const fn ip(&self) -> IpVersion {
        self.ip
    }

    /// Local address and port; port 0 while none is chosen.
    #[must_use]
    pub fn local(&self) -> SocketAddr {
        SocketAddr::new(address(self.ip, self.local), Port::to_raw(self.local_port))
    }

    /// Peer's address and port; port 0 where there is no peer.
    #[must_use]
    pub fn peer(&self) -> SocketAddr {
        SocketAddr::new(address(self.ip, self.peer), Port::to_raw(self.peer_port))
    }
}

/// As three numbers: hashers take few large ones faster than many bytes.
impl Hash for Tuple {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u128(u128::from_ne_bytes(self.local));
        state.write_u128(u128::from_ne_bytes(self.peer));
        let (local, peer) = (Port::to_raw(self.local_port), Port::to_raw(self.peer_port));
        state.write_u32((u32::from(local) << 16) | u32::from(peer));
    }
}

impl From<(SocketAddr, SocketAddr)> for Tuple {
    /// The local and the peer's address. Addresses that are v4-mapped become IPv4.
    fn from((local, peer): (SocketAddr, SocketAddr)) -> Self {
        let (local_ip, peer_ip) = (local.ip().to_canonical(), peer.ip().to_canonical());
        let ip = if local_ip.is_ipv4() {
            IpVersion::V4
        } else {
            IpVersion::V6
        };
        Self::new(
            ip,
            (bytes(local_ip), local.port()),
            (bytes(peer_ip), peer.port()),
        )
    }
}

fn address(ip: IpVersion, bytes: [u8; 16]) -> IpAddr {
    match ip {
        IpVersion::V4 => Ipv4Addr::new(bytes[0], bytes[1], bytes[2], bytes[3]).into(),
        IpVersion::V6 => Ipv6Addr::from(bytes).into(),
    }
}

fn bytes(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(v4) => {
            let mut bytes = [0; 16];
            bytes[..4].copy_from_slice(&v4.octets());
            bytes
        }
        IpAddr::V6(v6) => v6.octets(),
    }
}

/// Which side opened the connection.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, Display, IntoStaticStr,
)]
#[strum(serialize_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Role {
    Client,
    Server,
    #[default]
    Unknown,
}

/// How a socket came to its connection, as its counters prove it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// By connect(): the peer has acknowledged a SYN of this host.
    Active,
    /// Not by a SYN of this host: it was accepted, or restored with `TCP_REPAIR`.
    Passive,
}

impl Opening {
    /// Returns the role, where it is proven. `listens`: whether a socket listens on the local port;
    /// that alone proves nothing, as the port may be shared with a socket that connects
    /// (`SO_REUSEPORT`).
    #[must_use]
    pub const fn role(opening: Option<Self>, listens: bool) -> Role {
        match (opening, listens) {
            (Some(Self::Active), _) => Role::Client,
            (Some(Self::Passive), true) => Role::Server,
            _ => Role::Unknown,
        }
    }
}

/// How an [`Owner`] is known. Never as the process that happened to be on the CPU.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, Display, IntoStaticStr,
)]
#[strum(serialize_all = "snake_case")]
pub enum OwnerSource {
    /// The process that called connect().
    Connect,
    /// The process that called close() or shutdown(), or exited.
    Close,
    /// Through the socket on which the connection came in: the process that called listen() or
    /// holds it, or the only one that closed other connections of it.
    Listen,
    /// A process that holds a descriptor of the socket, from /proc.
    Proc,
}

/// A thread, at the time of a system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Thread {
    /// Its id, in the initial pid namespace; that of a process's first thread is the process's.
    pub id: u32,
    /// Its name, NUL-padded: any bytes. Escape it before it is shown.
    pub comm: [u8; COMM_LEN],
}

impl Thread {
    /// Returns the name without the NULs behind it.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        let mut parts = self.comm.split(|byte| *byte == 0);
        parts.next().unwrap_or_default()
    }
}

/// The process an endpoint belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(remote = "Self")]
pub struct Owner {
    /// Process id (tgid) in the initial pid namespace.
    pub pid: u32,
    /// User id of the task, in the initial user namespace.
    pub uid: u32,
    /// Id of its cgroup (v2) at the time, where that is known.
    #[serde(with = "zero_is_none")]
    pub cgroup: Option<CgroupId>,
    /// Name of the process as the kernel has it: any bytes but NUL. Escape it before it is shown.
    pub comm: Box<[u8]>,
    /// Where this is known from.
    pub source: OwnerSource,
    /// Its thread that called connect(), where that was seen.
    #[serde(default)]
    pub thread: Option<Thread>,
}

impl Owner {
    /// Returns the thread that called connect(), unless it is the process's first one.
    #[must_use]
    pub fn further_thread(&self) -> Option<&Thread> {
        self.thread.as_ref().filter(|thread| thread.id != self.pid)
    }

    /// Returns the thread that called connect() if `process`, found in another way, is the same.
    pub(crate) fn thread_of(&self, process: &Self) -> Option<Thread> {
        let is_same = (self.pid, &self.comm) == (process.pid, &process.comm);
        self.thread.filter(|_| is_same)
    }
}

/// An owner shared by the connections that have it.
pub type SharedOwner = Arc<Owner>;

/// How a reconstructed fact is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Display, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Certainty {
    /// The kernel's own state at the time proves it.
    Observed,
    /// It follows from what was observed and the protocol, but nothing here saw it.
    Inferred,
}
