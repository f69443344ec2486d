//! Whose connections wait to be accepted.

use std::collections::HashMap;

use tcpclose_core::stuck::ObservedSocket;
use tcpclose_core::types::{EndpointId, Inode, NetNs, Tuple};
use tcpclose_core::{listening_address, possible_listeners};
use tcpclose_sys::kernel::sock_diag::KernelSocket;

/// A socket that listens.
pub(super) struct ListeningSocket {
    pub(super) netns: Option<NetNs>,
    address: Tuple,
    /// `None` without a file.
    inode: Option<Inode>,
    /// Connections that wait to be accepted.
    waiting: u32,
}

/// Returns the listening sockets in whose queue each connection may wait that was not accepted.
/// With `SO_REUSEPORT` there are several, and the kernel does not show which one it is; those with
/// an empty queue are ruled out.
pub(super) fn queues<'a>(
    sockets: impl Iterator<Item = &'a ObservedSocket>,
    listeners: &[ListeningSocket],
) -> HashMap<EndpointId, Vec<u32>> {
    let mut by_address: HashMap<(Option<NetNs>, Tuple), Vec<u32>> = HashMap::new();
    for listener in listeners.iter().filter(|listener| listener.waiting > 0) {
        let Some(inode) = listener.inode else {
            continue;
        };
        let there = by_address.entry((listener.netns, listener.address));
        there.or_default().push(inode.get());
    }
    let waiting = sockets.filter(|socket| socket.waits_for_accept());
    let queues = waiting.map(|socket| {
        let mut there = possible_listeners(&socket.tuple)
            .filter_map(|address| by_address.get(&(socket.netns, address)).cloned());
        (socket.id, there.next().unwrap_or_default())
    });
    queues.collect()
}

impl ListeningSocket {
    pub(super) fn port(&self) -> u16 {
        self.address.local().port()
    }
}

impl From<&KernelSocket> for ListeningSocket {
    fn from(socket: &KernelSocket) -> Self {
        Self {
            netns: socket.netns,
            address: listening_address(&socket.tuple),
            inode: socket.inode,
            waiting: socket.rqueue,
        }
    }
}
