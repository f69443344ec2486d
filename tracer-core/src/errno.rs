//! Values of `sk_err`, which the kernel sets when a connection ends: the numbers of
//! `include/uapi/asm-generic/errno.h`, which x86-64 and arm64 have.

use tcpclose_common::TcpState;

/// ICMPv6 reported that a firewall forbids the connection.
pub(crate) const EACCES: u16 = 13;
/// ICMP or the routing reported that there is no way to the network.
pub(crate) const ENETUNREACH: u16 = 101;
/// ICMP reported that the host is unknown.
pub(crate) const EHOSTDOWN: u16 = 112;
/// ICMP or the routing reported that there is no way to the host.
pub(crate) const EHOSTUNREACH: u16 = 113;
/// The peer's RST came in CLOSE_WAIT.
const EPIPE: u16 = 32;
/// `SOCK_DESTROY` ended the connection (`tcp_abort`).
pub(crate) const ECONNABORTED: u16 = 103;
/// The peer's RST came.
const ECONNRESET: u16 = 104;
/// The peer did not answer in time.
pub(crate) const ETIMEDOUT: u16 = 110;
/// In SYN_SENT, the peer's RST came, or ICMP reported "port unreachable".
pub(crate) const ECONNREFUSED: u16 = 111;

/// Returns whether `sk_err` shows that a RST ended the connection in this state (`tcp_reset`). In
/// SYN_SENT it does not: ECONNREFUSED is ICMP's "port unreachable", too.
pub(crate) const fn is_reset(error: u16, state: TcpState) -> bool {
    match state {
        TcpState::SynSent => false,
        TcpState::CloseWait => error == EPIPE,
        _ => error == ECONNRESET,
    }
}
