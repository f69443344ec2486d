//! Lists the kernel's TCP sockets: a client of `NETLINK_SOCK_DIAG` (sock_diag(7)).
//!
//! By hand: no crate has the filter and attribute of the cgroup id (`INET_DIAG_CGROUP_ID`), or one
//! dump of both families (`TCPDIAG_GETSOCK`).
//!
//! ```no_run
//! use tcpclose_sys::kernel::sock_diag::{DiagClient, DumpQuery, StateSet};
//! use tcpclose_common::TcpState;
//!
//! # fn main() -> Result<(), tcpclose_sys::kernel::sock_diag::DiagError> {
//! let mut diag = DiagClient::open()?;
//! let stuck = DumpQuery::new(StateSet::from_states(&[TcpState::CloseWait])).with_info();
//! let report = diag.dump(&stuck, |socket| {
//!     println!("{} {}", socket.tuple.local(), socket.rqueue);
//! })?;
//! println!("{} stuck", report.sockets);
//! # Ok(())
//! # }
//! ```
//!
//! A dump is not a consistent snapshot. The kernel walks its hash tables in pieces while
//! connections come and go, and counts to find its position in a bucket again: a socket that lives
//! through the whole dump can come twice or, rarely, not at all. Do not rely on `NLM_F_DUMP_INTR`
//! (it is reported, but `net/ipv4/inet_diag.c` never sets it). So key what is kept by
//! [`KernelSocket::id`], and treat absence from one dump as a hint: [`DiagClient::lookup`] is
//! proof.

mod error;
mod interfaces;
#[cfg(test)]
mod interrupted_dump_tests;
pub(crate) mod message;
mod mptcp;
mod netlink;
mod query;
mod request;
mod socket;
mod wire;

use std::io;
use std::ops::ControlFlow;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::netlink::SOCK_DIAG;

pub use error::DiagError;
use interfaces::Interfaces;
use message::NetlinkBody;
use netlink::{receive_answer, send};
pub use query::{DumpQuery, SocketFamilies, SocketLookup, StateSet};
use query::{destroy_request, dump_request, lookup_request};
use wire::{SOCK_DIAG_BY_FAMILY, TCPDIAG_GETSOCK};

pub use mptcp::{MptcpInfo, SocketProtocol};
pub use socket::{KernelSocket, SocketTimer, TcpInfo};

use super::netns::{self, NetNsHandle};
use tcpclose_core::types::{EndpointId, NetNs};

/// Netlink fills at most 32 KiB at a time (`netlink_recvmsg` in `net/netlink/af_netlink.c` caps
/// it), so a larger buffer would stay empty. The kernel makes the next piece while it hands out
/// this one, independent of `SO_RCVBUF`.
const BUFFER_LEN: usize = 64 * 1024;

/// Interfaces that [`DiagClient::lookup_on_any_interface`] tries. Each costs some microseconds.
const MAX_INTERFACES: usize = 256;

/// How often [`DiagClient::collect`] tries a dump that is interrupted.
const MAX_DUMP_ATTEMPTS: u32 = 3;

/// A client for the sockets of one network namespace, usable from any thread, in whichever
/// namespace that is.
///
/// It keeps its namespace alive: a container's namespace, its veth and its addresses stay until the
/// client is dropped. So open one for a poll, drop it, and open another for the next.
#[derive(Debug)]
pub struct DiagClient {
    fd: OwnedFd,
    netns: Option<NetNs>,
    buffer: Vec<u8>,
    sequence: u32,
    /// Whether the end of a dump was not read yet. It must be, before the next request.
    unfinished: bool,
    interfaces: Interfaces,
}

/// The outcome of a dump.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct DumpReport {
    /// Sockets that were handed out.
    pub sockets: u64,
    /// Descriptions that could not be understood and were left out: states or families unknown to
    /// this program.
    pub skipped: u64,
    /// The kernel reports that its tables changed so that the list is not consistent: dump again.
    pub interrupted: bool,
}

impl DiagClient {
    /// Opens a client for the calling thread's network namespace. Needs no rights.
    ///
    /// # Errors
    /// [`DiagError::Open`], and [`DiagError::Unavailable`] where the kernel lacks `tcp_diag`.
    pub fn open() -> Result<Self, DiagError> {
        Self::new(NetlinkSockets::open()?, netns::current().ok())
    }

    /// Opens a client for another network namespace: a thread enters it, opens the socket there and
    /// ends. The socket stays in the namespace in which it was opened.
    ///
    /// # Errors
    /// As [`DiagClient::open`], and [`DiagError::Namespace`] when it is gone or may not be entered.
    pub fn open_in(namespace: &NetNsHandle) -> Result<Self, DiagError> {
        Self::new(
            namespace.enter(NetlinkSockets::open)??,
            Some(namespace.id()),
        )
    }

    /// Makes one request for nothing. After that ENOENT can only mean "no such socket"; without
    /// `tcp_diag` it would be the answer to everything.
    fn new(sockets: NetlinkSockets, netns: Option<NetNs>) -> Result<Self, DiagError> {
        let NetlinkSockets { fd, interfaces } = sockets;
        let mut diag = Self {
            fd,
            interfaces,
            netns,
            buffer: vec![0; BUFFER_LEN],
            sequence: 0,
            unfinished: false,
        };
        let nothing = DumpQuery::new(StateSet::empty()).with_families(SocketFamilies::Inet);
        match diag.dump(&nothing, |_| {}) {
            Err(DiagError::Refused(error)) if error.kind() == io::ErrorKind::NotFound => {
                Err(DiagError::Unavailable)
            }
            Err(error) => Err(error),
            Ok(_) => Ok(diag),
        }
    }

    /// Returns the namespace whose sockets the client sees; `None` where its number could not be
    /// read.
    #[must_use]
    pub fn netns(&self) -> Option<NetNs> {
        self.netns
    }

    /// Calls `visit` with every socket that the query selects, without an allocation for each.
    ///
    /// What other namespaces do meanwhile hides none, though all share one hash table: the kernel
    /// counts only this namespace's sockets of a bucket, to continue there with the next piece of
    /// the list (`num` in `inet_diag_dump_icsk` of `net/ipv4/inet_diag.c`). A socket of this
    /// namespace that comes or goes in that very bucket may hide another. One that begins its
    /// TIME_WAIT may be missing before 6.10: its minisocket has no references yet when the bucket
    /// is free again (`inet_twsk_hashdance` of `net/ipv4/inet_timewait_sock.c`).
    ///
    /// The dump is not repeated (see [`DumpReport::interrupted`]); [`DiagClient::dump_all`] repeats
    /// it.
    ///
    /// # Errors
    /// The list is then incomplete, though `visit` may have been called. The client stays usable.
    pub fn dump(
        &mut self,
        query: &DumpQuery,
        mut visit: impl FnMut(&KernelSocket),
    ) -> Result<DumpReport, DiagError> {
        let mut report = DumpReport::default();
        let sequence = self.next_sequence()?;
        send(&self.fd, &dump_request(query, sequence))?;
        self.unfinished = true;
        self.read_dump(query.protocol, sequence, &mut report, &mut visit)?;
        Ok(report)
    }

    /// Calls `visit` with every socket that the query selects, and with some of them again where
    /// the dump has to be repeated: one that was interrupted or lost a part is, up to three
    /// attempts.
    ///
    /// # Errors
    /// As [`Self::collect`].
    pub fn dump_all(
        &mut self,
        query: &DumpQuery,
        mut visit: impl FnMut(&KernelSocket),
    ) -> Result<DumpReport, DiagError> {
        let mut attempt = 1;
        loop {
            match self.dump(query, &mut visit) {
                Ok(report) if !report.interrupted || attempt == MAX_DUMP_ATTEMPTS => {
                    return Ok(report);
                }
                Err(error) if !error.is_transient() || attempt == MAX_DUMP_ATTEMPTS => {
                    return Err(error);
                }
                Ok(_) | Err(_) => attempt += 1,
            }
        }
    }

    /// Returns all sockets that the query selects, each once, in the order of their ids. A dump
    /// that was interrupted or lost a part is repeated, up to three attempts; their sockets are
    /// combined, and of each socket the latest description counts.
    ///
    /// # Errors
    /// Those of the last attempt. Where the last attempt was merely interrupted, the report
    /// shows that.
    pub fn collect(
        &mut self,
        query: &DumpQuery,
    ) -> Result<(Vec<KernelSocket>, DumpReport), DiagError> {
        let mut sockets: Vec<KernelSocket> = Vec::new();
        let mut report = self.dump_all(query, |socket| sockets.push(*socket))?;
        // The sort is stable: of equals the last one is the latest description.
        sockets.sort_by_key(|socket| socket.id);
        sockets.dedup_by(|later, kept| {
            let same = later.id == kept.id;
            if same {
                *kept = *later;
            }
            same
        });
        report.sockets = sockets.len() as u64;
        Ok((sockets, report))
    }

    /// Returns all MPTCP connections in these states, in the order of their ids, with
    /// [`KernelSocket::mptcp`].
    ///
    /// # Errors
    /// As [`Self::collect`]; [`DiagError::MptcpUnavailable`] where the kernel cannot list them.
    pub fn collect_mptcp(&mut self, states: StateSet) -> Result<Vec<KernelSocket>, DiagError> {
        let mut all = Vec::new();
        for families in [SocketFamilies::Inet, SocketFamilies::Inet6] {
            let query = DumpQuery {
                protocol: SocketProtocol::Mptcp,
                ..DumpQuery::new(states).with_info().with_families(families)
            };
            match self.collect(&query) {
                Ok((mut sockets, _)) => all.append(&mut sockets),
                Err(DiagError::Refused(error)) if error.kind() == io::ErrorKind::NotFound => {
                    return Err(DiagError::MptcpUnavailable);
                }
                Err(error) => return Err(error),
            }
        }
        all.sort_by_key(|socket| socket.id);
        Ok(all)
    }

    /// Finds the socket of a connection, also minisockets, v4-mapped ones and incomplete
    /// handshakes. `None`: there is none with this tuple, id and interface.
    ///
    /// # Errors
    /// The kernel did not answer whether it exists.
    pub fn lookup(&mut self, lookup: &SocketLookup) -> Result<Option<KernelSocket>, DiagError> {
        let sequence = self.next_sequence()?;
        send(&self.fd, &lookup_request(lookup, sequence))?;
        let netns = self.netns;
        let answer = receive_answer(&self.fd, &mut self.buffer, sequence, |message| {
            let NetlinkBody::Data(SOCK_DIAG_BY_FAMILY, bytes) = message.body else {
                return Ok(ControlFlow::Continue(()));
            };
            let socket = KernelSocket::parse(bytes, netns)
                .ok_or(DiagError::Malformed("a socket's description"))?;
            // Where no connection has the tuple, the kernel goes on to a listener on the local
            // address (`inet_lookup`), and returns that when no cookie forbids it.
            let is_same = socket.tuple == lookup.tuple;
            Ok(ControlFlow::Break(Some(socket).filter(|_| is_same)))
        });
        match answer {
            Ok(Some(found)) => Ok(found),
            Ok(None) => Err(DiagError::Malformed(
                "the answer for one socket is a list's end",
            )),
            Err(DiagError::Refused(error)) if is_no_such_socket(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Destroys the socket with this tuple, id and interface (`SOCK_DESTROY`): the kernel closes
    /// it, and resets the connection. Returns `false` where there is none any more. The id must be
    /// a cookie, as another connection may have the same tuple by now.
    ///
    /// # Errors
    /// [`DiagError::DestroyUnavailable`], [`DiagError::DestroyForbidden`] without `CAP_NET_ADMIN`,
    /// [`DiagError::NoCookie`], or the kernel did not answer.
    pub fn destroy(&mut self, lookup: &SocketLookup) -> Result<bool, DiagError> {
        if !lookup.id.is_some_and(EndpointId::is_cookie) {
            return Err(DiagError::NoCookie);
        }
        let sequence = self.next_sequence()?;
        send(&self.fd, &destroy_request(lookup, sequence))?;
        let answer = receive_answer(&self.fd, &mut self.buffer, sequence, |message| {
            Ok(match message.body {
                NetlinkBody::Error(0) => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            })
        });
        match answer {
            Ok(_) => Ok(true),
            Err(DiagError::Refused(error)) if is_no_such_socket(&error) => Ok(false),
            Err(DiagError::Refused(error)) => Err(DiagError::from_refused_destroy(error)),
            Err(error) => Err(error),
        }
    }

    /// Finds a socket as [`Self::lookup`] does, also where it is bound to another interface than is
    /// known: the one that `lookup` names is tried first, then all others. `None`: there is none
    /// with this tuple and id.
    ///
    /// # Errors
    /// As [`Self::lookup`]; [`DiagError::TooManyInterfaces`] where not all could be tried.
    pub fn lookup_on_any_interface(
        &mut self,
        lookup: &SocketLookup,
    ) -> Result<Option<KernelSocket>, DiagError> {
        if let Some(found) = self.lookup(lookup)? {
            return Ok(Some(found));
        }
        let interfaces = self.interfaces.indexes(&mut self.buffer)?.to_vec();
        let unbound = lookup.interface.map(|_| None);
        let others = unbound
            .into_iter()
            .chain(interfaces.iter().map(|one| Some(*one)));
        let others = others.filter(|interface| *interface != lookup.interface);
        for interface in others.take(MAX_INTERFACES) {
            if let Some(found) = self.lookup(&lookup.with_interface(interface))? {
                return Ok(Some(found));
            }
        }
        if interfaces.len() > MAX_INTERFACES {
            return Err(DiagError::TooManyInterfaces);
        }
        Ok(None)
    }

    /// Returns the number for the next request, once the answer to the last one has been read: the
    /// kernel refuses a dump with EBUSY while another is under way on the same socket.
    fn next_sequence(&mut self) -> Result<u32, DiagError> {
        while self.unfinished {
            let report = &mut DumpReport::default();
            match self.read_dump(SocketProtocol::Tcp, self.sequence, report, &mut |_| {}) {
                // Nothing is left to read.
                Err(DiagError::NoAnswer) => self.unfinished = false,
                Err(DiagError::Receive(error)) => return Err(DiagError::Receive(error)),
                // Each of the others used up a datagram of a finite list.
                Ok(()) | Err(_) => {}
            }
        }
        self.sequence = self.sequence.wrapping_add(1);
        Ok(self.sequence)
    }

    fn read_dump(
        &mut self,
        protocol: SocketProtocol,
        sequence: u32,
        report: &mut DumpReport,
        visit: &mut impl FnMut(&KernelSocket),
    ) -> Result<(), DiagError> {
        let (netns, unfinished) = (self.netns, &mut self.unfinished);
        receive_answer::<()>(&self.fd, &mut self.buffer, sequence, |message| {
            report.interrupted |= message.interrupted;
            *unfinished &= !message.is_last();
            if let NetlinkBody::Data(SOCK_DIAG_BY_FAMILY | TCPDIAG_GETSOCK, bytes) = message.body {
                match KernelSocket::parse_as(protocol, bytes, netns) {
                    Some(socket) => {
                        report.sockets += 1;
                        visit(&socket);
                    }
                    None => report.skipped += 1,
                }
            }
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(())
    }
}

/// Returns whether the kernel refused a lookup because there is no such socket: it uses `ESTALE`
/// for one with another cookie.
fn is_no_such_socket(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    matches!(errno, Some(Errno::NOENT | Errno::STALE))
}

/// The sockets that are opened in a namespace.
struct NetlinkSockets {
    fd: OwnedFd,
    interfaces: Interfaces,
}

impl NetlinkSockets {
    fn open() -> Result<Self, DiagError> {
        Ok(Self {
            fd: netlink::open(Some(SOCK_DIAG))?,
            interfaces: Interfaces::open()?,
        })
    }
}
