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
        Some(word) => (word >> (port & 63)) & 1 != 0,
        None => false,
    }
}

/// Returns whether the transition belongs to a connection's life. LISTEN to SYN_RECV does not: it
/// carries the listener's cookie or none, and the child's ESTABLISHED follows at once. True for all
/// where the user wants to see every transition.
#[inline(always)]
pub fn is_connection_transition(old: u8, new: u8) -> bool {
    old != TcpState::Listen || new != TcpState::SynRecv || config!(every_transition) != 0
}

/// Returns whether the filter lets a transition of this socket pass.
#[inline(always)]
pub fn passes(old: u8, new: u8, netns: u32, ip: u8, local_port: u16, peer_port: u16) -> bool {
    if !passes_netns(|| netns) {
        return false;
    }
    // No port is chosen yet when connect() starts: the ESTABLISHED that follows decides.
    if !is_connect(old, new) && !passes_local_port(local_port) {
        return false;
    }
    // A listener shows who owns the connections that come in, from any port and in any IP version.
    if old == TcpState::Listen || new == TcpState::Listen {
        return true;
    }
    passes_peer_port(|| peer_port) && passes_ip(|| ip)
}

/// Returns whether the filter lets a signal of this socket pass.
#[inline(always)]
pub fn passes_socket(sk: Sock) -> bool {
    // A closed socket has no skc_num any more; a minisocket or a request has no other port.
    let port = match sk.tcp() {
        Some(tcp) => u16::from_be(tcp.field(config!(inet_sport))),
        None => sk.field(config!(skc_num)),
    };
    passes_signal(sk, port)
}

/// Returns whether the filter lets a signal of this timewait minisocket pass.
#[inline(always)]
pub fn passes_minisocket(tw: Sock) -> bool {
    passes_signal(tw, tw.field(config!(skc_num)))
}

#[inline(always)]
pub fn passes_signal(sk: Sock, local_port: u16) -> bool {
    passes_netns(|| sk.netns())
        && passes_local_port(local_port)
        && passes_peer_port(|| u16::from_be(sk.field(config!(skc_dport))))
        && passes_ip(|| sk.ip_version())
}

// The parts of the filter. What a part that is off does not need is not loaded.

#[inline(always)]
fn passes_netns(netns: impl FnOnce() -> u32) -> bool {
    let wanted = config!(filter_netns);
    wanted == 0 || netns() == wanted
}

#[inline(always)]
fn passes_local_port(port: u16) -> bool {
    config!(filter_local_ports) == 0 || contains(&LOCAL_PORTS, port)
}

#[inline(always)]
fn passes_peer_port(port: impl FnOnce() -> u16) -> bool {
    config!(filter_peer_ports) == 0 || contains(&PEER_PORTS, port())
}

#[inline(always)]
fn passes_ip(ip: impl FnOnce() -> u8) -> bool {
    let wanted = config!(filter_ip);
    wanted == 0 || wanted == u32::from(ip())
}

/// Returns whether connect() begins a connection, in the context of the thread that called it.
#[inline(always)]
pub fn is_connect(old: u8, new: u8) -> bool {
    old == TcpState::Close && new == TcpState::SynSent
}

/// Returns whether the task on the CPU is the one whose system call drove the transition.
///
/// connect(), listen() and the first FIN of an endpoint happen in a system call only. A close from
/// a live state without an error while a process holds the socket's lock is that process's own
/// abort (unread data, `SO_LINGER`).
#[inline(always)]
pub fn is_syscall_driven(old: u8, new: u8, aborts: bool) -> bool {
    use TcpState::{Close, CloseWait, Established, FinWait1, LastAck, Listen, SynSent};
    let is = |from: TcpState, to: TcpState| old == from && new == to;
    is_connect(old, new)
        || is(Close, Listen)
        || is(Established, FinWait1)
        || is(CloseWait, LastAck)
        || aborts && (is(Established, Close) || is(CloseWait, Close) || is(SynSent, Close))
}
