//! From sock_diag's description of a socket to the core's.

use tcpclose_common::TcpState;
use tcpclose_core::stuck::{Activity, ObservedSocket, STUCK_STATES, Unanswered, UnansweredKind};
use tcpclose_core::types::{Nanos, Opening};
use tcpclose_sys::kernel::sock_diag::{KernelSocket, SocketProtocol, SocketTimer, StateSet};

/// The states in which a socket can be stuck.
pub(super) const OBSERVED_STATES: StateSet = StateSet::from_states(&STUCK_STATES);

/// Describes a socket as of the beginning of a scan or probe, `since_scan_start` after which the
/// kernel has listed it. Returns `None` where it cannot be stuck; a minisocket never is.
pub(super) fn observe_stuck(
    socket: &KernelSocket,
    since_scan_start: Nanos,
) -> Option<ObservedSocket> {
    let observed = (!socket.is_minisocket()).then(|| observe(socket, since_scan_start));
    observed.filter(ObservedSocket::can_be_stuck)
}

fn observe(socket: &KernelSocket, since_scan_start: Nanos) -> ObservedSocket {
    if socket.protocol == SocketProtocol::Mptcp {
        return observe_mptcp(socket, since_scan_start);
    }
    let ms = |ms: u32| Nanos::from_millis(ms.into()) - since_scan_start;
    ObservedSocket {
        queued: socket.rqueue,
        unsent: socket.wqueue,
        unanswered: unanswered(socket, since_scan_start),
        activity: socket.info.map(|info| Activity {
            since_data: (info.data_segs_in > 0).then(|| ms(info.last_data_recv_ms)),
            since_ack: ms(info.last_ack_recv_ms),
            bytes_acked: info.bytes_acked,
            since_sent: (info.data_segs_out > 0 && info.retransmits == 0)
                .then(|| ms(info.last_data_sent_ms)),
        }),
        ..describe(socket)
    }
}

/// Returns what the peer has left unanswered. The kernel's number is that of the timer that runs
/// (`inet_sk_diag_fill` in net/ipv4/inet_diag.c).
fn unanswered(socket: &KernelSocket, since_scan_start: Nanos) -> Option<Unanswered> {
    let kind = match socket.timer {
        SocketTimer::Retransmit => UnansweredKind::Retransmissions,
        SocketTimer::WindowProbe => UnansweredKind::WindowProbes,
        SocketTimer::Keepalive => UnansweredKind::KeepaliveProbes,
        SocketTimer::None | SocketTimer::TimeWait | SocketTimer::Other(_) => return None,
    };
    let count = socket.retransmits;
    let at_least = socket.info.and_then(|info| {
        let waited = match kind {
            UnansweredKind::Retransmissions => resent_for_us(info.rto_us, count, socket.expires_ms),
            UnansweredKind::WindowProbes => probed_for_us(info.rto_us, count, socket.expires_ms),
            UnansweredKind::KeepaliveProbes => return None,
        };
        Some(Nanos(waited.saturating_mul(1_000)) - since_scan_start)
    });
    (count > 0).then_some(Unanswered {
        kind,
        count,
        at_least,
    })
}

/// Returns for how long at least a segment has had no answer that was sent again `count` times. The
/// timeout is doubled with each time at most (`tcp_retransmit_timer` in net/ipv4/tcp_timer.c), so
/// the ones before were at least a half, a quarter, … of this one, which has `left_ms` to go.
fn resent_for_us(timeout_us: u32, count: u8, left_ms: u32) -> u64 {
    let timeout = u64::from(timeout_us);
    let earliest = timeout.checked_shr(count.into()).unwrap_or(0);
    (2 * timeout - earliest).saturating_sub(1_000 * u64::from(left_ms))
}

/// Returns for how long at least `count` probes of a window have had no answer. The time between
/// two is the timeout, doubled with each (`tcp_probe0_when` in include/net/tcp.h), up to its limit;
/// where the peer had answered earlier ones it is longer. A segment that this host's own firewall
/// drops counts as one that was not sent, and is probed for in the same way (`tcp_send_probe0`).
fn probed_for_us(timeout_us: u32, count: u8, left_ms: u32) -> u64 {
    let interval = |probe: u8| {
        let doubled = u64::from(timeout_us) << probe.min(31);
        doubled.min(MAX_TIMEOUT_US)
    };
    let before: u64 = (1..count).map(interval).sum();
    before + interval(count).saturating_sub(1_000 * u64::from(left_ms))
}

/// TCP_RTO_MAX, in microseconds.
const MAX_TIMEOUT_US: u64 = 120_000_000;

/// As [`observe`], of an MPTCP connection.
fn observe_mptcp(socket: &KernelSocket, since_scan_start: Nanos) -> ObservedSocket {
    let ms = |ms: u32| Nanos::from_millis(ms.into()) - since_scan_start;
    let unsent = socket.mptcp.map_or(0, |info| info.unsent);
    ObservedSocket {
        queued: socket.rqueue,
        unsent: u32::try_from(unsent).unwrap_or(u32::MAX),
        mptcp: true,
        activity: socket.mptcp.and_then(|info| {
            let [sent, received, acked] = info.ages_ms?;
            Some(Activity {
                since_data: (info.bytes_received > 0).then(|| ms(received)),
                since_ack: ms(acked),
                bytes_acked: info.bytes_acked,
                since_sent: (info.bytes_sent > 0 && info.retransmits == 0).then(|| ms(sent)),
            })
        }),
        ..describe(socket)
    }
}

/// Describes what sockets of both protocols have.
fn describe(socket: &KernelSocket) -> ObservedSocket {
    ObservedSocket {
        id: socket.id,
        state: socket.state,
        netns: socket.netns,
        tuple: socket.tuple,
        interface: socket.interface,
        inode: socket.inode,
        uid: socket.uid,
        cgroup: socket.cgroup,
        queued: 0,
        unsent: 0,
        unanswered: None,
        keepalive: socket.timer == SocketTimer::Keepalive,
        mptcp: false,
        opening: match (socket.inode, socket.state) {
            // It waits to be accepted.
            (None, TcpState::Established | TcpState::CloseWait) => Some(Opening::Passive),
            _ => socket.opening(),
        },
        entered: None,
        activity: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_timer_shows_for_how_long_a_segment_is_unanswered() {
        // Sent again after 0.2, 0.6 and 1.4 s; 1 s of the 1.6 s that follow is over.
        assert_eq!(resent_for_us(1_600_000, 3, 600), 2_400_000);
        assert_eq!(resent_for_us(400_000, 1, 400), 200_000);
        // At its limit of 120 s the timeout grows no more: the sum is then a lower bound.
        assert_eq!(resent_for_us(120_000_000, 15, 0), 239_996_338);
        assert_eq!(resent_for_us(0, 255, u32::MAX), 0);
        // Probes after 0.4 and 0.8 s more; of the 1.6 s that follow 0.1 s is over.
        assert_eq!(probed_for_us(200_000, 3, 1_500), 1_300_000);
        assert_eq!(probed_for_us(200_000, 1, 60_000), 0);
        assert_eq!(probed_for_us(120_000_000, 3, 0), 360_000_000);
        assert_eq!(probed_for_us(u32::MAX, 255, 0), 255 * MAX_TIMEOUT_US);
    }
}
