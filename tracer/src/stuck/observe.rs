//! From sock_diag's description of a socket to the core's.

use tcpclose_core::stuck::{Activity, ObservedSocket, STUCK_STATES};
use tcpclose_core::types::{Nanos, Opening};
use tcpclose_sys::kernel::sock_diag::{KernelSocket, SocketProtocol, SocketTimer, StateSet};

/// The states in which a socket can be stuck.
pub(super) const OBSERVED_STATES: StateSet = StateSet::from_states(&STUCK_STATES);

/// Describes a socket as of the beginning of a scan or probe, `since_scan_start` after which the
/// kernel has listed it.
pub(super) fn observe(socket: &KernelSocket, since_scan_start: Nanos) -> ObservedSocket {
    if socket.protocol == SocketProtocol::Mptcp {
        return observe_mptcp(socket, since_scan_start);
    }
    let ms = |ms: u32| Nanos::from_millis(ms.into()) - since_scan_start;
    ObservedSocket {
        queued: socket.rqueue,
        unsent: socket.wqueue,
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
        keepalive: socket.timer == SocketTimer::Keepalive,
        mptcp: false,
        opening: match socket.inode {
            // It waits to be accepted.
            None => Some(Opening::Passive),
            Some(_) => socket.opening(),
        },
        entered: None,
        activity: None,
    }
}
