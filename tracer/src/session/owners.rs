//! Finds the owners of sockets that are older than the tracer: the holders of their descriptors,
//! from /proc.

use std::collections::{HashMap, HashSet};

use tcpclose_common::TcpState;
use tcpclose_core::SnapshotSocket;
use tcpclose_core::process::Process;
use tcpclose_core::types::{CgroupId, EndpointId, Owner, OwnerSource, SharedOwner};
use tcpclose_sys::host::cgroup::Cgroups;
use tcpclose_sys::host::descriptors::find_holders;
use tcpclose_sys::host::namespace_link::in_initial_pid_namespace;

/// Finds the owners of the sockets of a snapshot by the inodes of their files, and returns the
/// sockets that have one: connections, then listeners. Reads every process' descriptors, which
/// takes some tenths of a second on a busy host. Of several processes that hold a listening socket,
/// one that holds connections of that port comes first: it accepts them.
///
/// Returns none outside of the initial pid namespace, where the ids in /proc are not those that the
/// eBPF programs see.
pub(super) fn find_owners(
    sockets: &[SnapshotSocket],
    inodes: &HashMap<EndpointId, u32>,
) -> Vec<SnapshotSocket> {
    if !in_initial_pid_namespace() {
        return Vec::new();
    }
    let search = find_holders(&HashSet::from_iter(inodes.values().copied()), &[]);
    let cgroups = Cgroups::new();
    let owners: HashMap<u32, SharedOwner> = search
        .processes
        .iter()
        .map(|(pid, process)| (*pid, owner(process, &cgroups).into()))
        .collect();
    let port = |socket: &SnapshotSocket| (socket.netns, socket.tuple.local_port);
    let (listeners, connections): (Vec<_>, Vec<_>) =
        (sockets.iter()).partition(|socket| socket.state == TcpState::Listen);
    let is_shared = |socket: &&&SnapshotSocket| {
        let inode = inodes.get(&socket.cookie).copied();
        let descriptors = inode.map(|inode| search.descriptors.for_inode(inode));
        let mut pids = descriptors.into_iter().flatten().map(|it| it.pid);
        pids.next()
            .is_some_and(|first| pids.any(|pid| pid != first))
    };
    let shared = listeners.iter().filter(is_shared);
    let shared: HashSet<_> = shared.map(|socket| port(socket)).collect();
    let accepted = connections.iter().filter(|it| shared.contains(&port(it)));
    let acceptors = accepted.flat_map(|socket| {
        let inode = inodes.get(&socket.cookie).copied();
        let descriptors = inode.map(|inode| search.descriptors.for_inode(inode));
        let descriptors = descriptors.into_iter().flatten();
        descriptors.map(move |descriptor| (port(socket), descriptor.pid))
    });
    let acceptors: HashSet<_> = acceptors.collect();
    let owned = connections.into_iter().chain(listeners);
    let owned = owned.filter_map(|socket| {
        let inode = inodes.get(&socket.cookie)?;
        let rank = |pid| match socket.state {
            TcpState::Listen => u8::from(acceptors.contains(&(port(socket), pid))),
            _ => 0,
        };
        let process = search.owner(*inode, rank)?;
        Some(SnapshotSocket {
            owner: Some(owners.get(&process.pid)?.clone()),
            ..socket.clone()
        })
    });
    owned.collect()
}

fn owner(process: &Process, cgroups: &Cgroups) -> Owner {
    let path = process.cgroup_v2.as_deref();
    Owner {
        pid: process.pid,
        uid: process.uid,
        cgroup: path.and_then(|path| CgroupId::new(cgroups.id(path)?)),
        comm: process.comm.clone(),
        source: OwnerSource::Proc,
        thread: None,
    }
}
