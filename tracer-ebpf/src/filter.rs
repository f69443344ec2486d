//! The connection filter that the user asked for, applied before a record costs anything.

use aya_ebpf::macros::map;
use aya_ebpf::maps::Array;

use tcpclose_common::TcpState;

use crate::kernel::{Sock, config};

/// A set of ports, one bit each.
type PortSet = Array<u64>;

/// The wanted local ports, where `filter_local_ports` is on.
#[map]
static LOCAL_PORTS: PortSet = Array::with_max_entries(1024, 0);

/// The wanted ports of the peer, where `filter_peer_ports` is on.
#[map]
static PEER_PORTS: PortSet = Array::with_max_entries(1024, 0);

#[inline(always)]
fn contains(ports: &PortSet, port: u16) -> bool {
    match ports.get(u32::from(port >> 6)) {
        Some(word) => word >> (port & 63) & 1 != 0,
        None => false,
    }
}

/// Returns whether the transition belongs to a connection's life. LISTEN to SYN_RECV does not: it
/// carries the listener's cookie or none, and the child's ESTABLISHED follows at once. True for all
/// where the user wants to see every transition.
#[inline(always)]
pub fn is_of_a_connection(old: u8, new: u8) -> bool {
    old != TcpState::Listen || new != TcpState::SynRecv || config!(every_transition) != 0
}

/// Returns whether the filter lets a transition of this socket pass.
#[inline(always)]
pub fn wants(old: u8, new: u8, netns: u32, ip: u8, local_port: u16, peer_port: u16) -> bool {
    let netns_filter = config!(filter_netns);
    if netns_filter != 0 && netns != netns_filter {
        return false;
    }
    // No port is chosen yet when connect() starts: the ESTABLISHED that follows decides.
    let connecting = old == TcpState::Close && new == TcpState::SynSent;
    if config!(filter_local_ports) != 0 && !connecting && !contains(&LOCAL_PORTS, local_port) {
        return false;
    }
    // A listener shows who owns the connections that come in, from any port and in any IP version.
    if old == TcpState::Listen || new == TcpState::Listen {
        return true;
    }
    if config!(filter_peer_ports) != 0 && !contains(&PEER_PORTS, peer_port) {
        return false;
    }
    let ip_filter = config!(filter_ip);
    ip_filter == 0 || ip_filter == u32::from(ip)
}

/// Returns whether the filter lets a signal of this socket pass.
#[inline(always)]
pub fn wants_socket(sk: Sock) -> bool {
    // A closed socket has no skc_num any more; a minisocket or a request has no other port.
    let port = match sk.tcp() {
        Some(tcp) => u16::from_be(tcp.field(config!(inet_sport))),
        None => sk.field(config!(skc_num)),
    };
    wants_common(sk, port)
}

/// Returns whether the filter lets a signal of this timewait minisocket pass.
#[inline(always)]
pub fn wants_minisocket(tw: Sock) -> bool {
    wants_common(tw, tw.field(config!(skc_num)))
}

#[inline(always)]
fn wants_common(sk: Sock, local_port: u16) -> bool {
    let netns_filter = config!(filter_netns);
    if netns_filter != 0 && sk.netns() != netns_filter {
        return false;
    }
    if config!(filter_local_ports) != 0 && !contains(&LOCAL_PORTS, local_port) {
        return false;
    }
    if config!(filter_peer_ports) != 0
        && !contains(&PEER_PORTS, u16::from_be(sk.field(config!(skc_dport))))
    {
        return false;
    }
    let ip_filter = config!(filter_ip);
    ip_filter == 0 || ip_filter == u32::from(sk.ip_version())
}

/// Returns whether the task on the CPU is the one whose system call drove the transition.
///
/// connect(), listen() and the first FIN of an endpoint happen in a system call only. A close from
/// a live state without an error while a process holds the socket's lock is that process's own
/// abort (unread data, `SO_LINGER`).
#[inline(always)]
pub fn is_syscall_driven(old: u8, new: u8, aborts: bool) -> bool {
    const ESTABLISHED: u8 = TcpState::Established as u8;
    const SYN_SENT: u8 = TcpState::SynSent as u8;
    const FIN_WAIT1: u8 = TcpState::FinWait1 as u8;
    const CLOSE: u8 = TcpState::Close as u8;
    const CLOSE_WAIT: u8 = TcpState::CloseWait as u8;
    const LAST_ACK: u8 = TcpState::LastAck as u8;
    const LISTEN: u8 = TcpState::Listen as u8;
    match (old, new) {
        (CLOSE, SYN_SENT) | (CLOSE, LISTEN) | (ESTABLISHED, FIN_WAIT1) | (CLOSE_WAIT, LAST_ACK) => {
            true
        }
        (ESTABLISHED, CLOSE) | (CLOSE_WAIT, CLOSE) | (SYN_SENT, CLOSE) => aborts,
        _ => false,
    }
}
