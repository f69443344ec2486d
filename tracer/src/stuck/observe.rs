//! From sock_diag's description of a socket to the core's.

use tcpclose_core::stuck::{Activity, ObservedSocket, STUCK_STATES};
use tcpclose_core::types::Nanos;
use tcpclose_sys::kernel::sock_diag::{KernelSocket, SocketTimer, StateSet};

/// The states in which a socket can be stuck.
pub(super) const STATES: StateSet = StateSet::of(&STUCK_STATES);

/// Describes a socket as of the beginning of a scan or probe, `late` after which the kernel has
/// listed it.
pub(super) fn observe(socket: &KernelSocket, late: Nanos) -> ObservedSocket {
    let ms = |ms: u32| Nanos::from_millis(ms.into()) - late;
    ObservedSocket {
        id: socket.id,
        state: socket.state,
        netns: socket.netns,
        tuple: socket.tuple,
        interface: socket.interface,
        inode: socket.inode,
        uid: socket.uid,
        cgroup: socket.cgroup,
        queued: socket.rqueue,
        unsent: socket.wqueue,
        keepalive: socket.timer == SocketTimer::Keepalive,
        entered: None,
        activity: socket.info.map(|info| Activity {
            since_data: (info.data_segs_in > 0).then(|| ms(info.last_data_recv_ms)),
            since_ack: ms(info.last_ack_recv_ms),
            bytes_acked: info.bytes_acked,
            since_sent: (info.data_segs_out > 0 && info.retransmits == 0)
                .then(|| ms(info.last_data_sent_ms)),
        }),
    }
}
