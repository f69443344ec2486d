//! Whose connections wait to be accepted.

use std::collections::HashMap;

use tcpclose_core::stuck::ObservedSocket;
use tcpclose_core::types::{EndpointId, Inode, NetNs, Tuple};
use tcpclose_core::{listening_address, possible_listeners};
use tcpclose_sys::kernel::sock_diag::KernelSocket;

/// A socket that listens.
pub(super) struct Listener {
    pub(super) netns: Option<NetNs>,
    place: Tuple,
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
    listeners: &[Listener],
) -> HashMap<EndpointId, Vec<u32>> {
    let mut by_place: HashMap<(Option<NetNs>, Tuple), Vec<u32>> = HashMap::new();
    for listener in listeners.iter().filter(|listener| listener.waiting > 0) {
        let Some(inode) = listener.inode else {
            continue;
        };
        let there = by_place.entry((listener.netns, listener.place));
        there.or_default().push(inode.get());
    }
    let waiting = sockets.filter(|socket| socket.inode.is_none());
    let queues = waiting.map(|socket| {
        let mut there = possible_listeners(&socket.tuple)
            .filter_map(|place| by_place.get(&(socket.netns, place)).cloned());
        (socket.id, there.next().unwrap_or_default())
    });
    queues.collect()
}

impl Listener {
    pub(super) fn port(&self) -> u16 {
        self.place.local().port()
    }
}

impl From<&KernelSocket> for Listener {
    fn from(socket: &KernelSocket) -> Self {
        Self {
            netns: socket.netns,
            place: listening_address(&socket.tuple),
            inode: socket.inode,
            waiting: socket.rqueue,
        }
    }
}
