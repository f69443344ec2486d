//! Whose connections wait to be accepted.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::kernel::sock_diag::Socket;
use crate::lifecycle::leak::CloseWait;
use crate::lifecycle::types::{ConnId, NetNs};

/// A socket that listens.
pub(super) struct Listener {
    pub(super) netns: NetNs,
    ip: IpAddr,
    pub(super) port: u16,
    /// 0 without a file.
    inode: u32,
    /// Connections that wait to be accepted.
    waiting: u32,
}

/// The listening sockets in whose queue each connection may wait that was not accepted. With `SO_REUSEPORT` there are
/// several, and the kernel does not tell in which one's; those with an empty queue are none of them.
pub(super) fn queues<'a>(
    sockets: impl Iterator<Item = &'a CloseWait>,
    listeners: &[Listener],
) -> HashMap<ConnId, Vec<u32>> {
    let mut by_port: HashMap<(NetNs, u16), Vec<&Listener>> = HashMap::new();
    for listener in listeners
        .iter()
        .filter(|listener| listener.inode != 0 && listener.waiting > 0)
    {
        by_port
            .entry((listener.netns, listener.port))
            .or_default()
            .push(listener);
    }
    let mut queues = HashMap::new();
    for socket in sockets.filter(|socket| socket.inode == 0) {
        let local = socket.tuple.local();
        let there = by_port
            .get(&(socket.netns, local.port()))
            .map_or(&[][..], Vec::as_slice);
        let on = |wanted: fn(&Listener, IpAddr) -> bool| {
            there
                .iter()
                .filter(|listener| wanted(listener, local.ip()))
                .map(|listener| listener.inode)
                .collect()
        };
        let mut inodes: Vec<u32> = on(|listener, ip| listener.ip == ip);
        if inodes.is_empty() {
            inodes = on(|listener, _| listener.ip.is_unspecified());
        }
        queues.insert(socket.id, inodes);
    }
    queues
}

impl From<&Socket> for Listener {
    fn from(socket: &Socket) -> Self {
        let local = socket.tuple.local();
        Self {
            netns: socket.netns,
            // One of IPv6 that is bound to a v4-mapped address has IPv4 connections.
            ip: local.ip().to_canonical(),
            port: local.port(),
            inode: socket.inode,
            waiting: socket.rqueue,
        }
    }
}
