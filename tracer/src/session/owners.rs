//! Finds the owners of sockets that are older than the tracer: the holders of their descriptors,
//! from /proc.

use std::collections::{HashMap, HashSet};

use tcpclose_core::process::Process;
use tcpclose_core::types::{CgroupId, EndpointId, Owner, OwnerSource, SharedOwner};
use tcpclose_sys::host::cgroup::Cgroups;
use tcpclose_sys::host::descriptors::find_holders;
use tcpclose_sys::host::pid_ns;

/// Finds the owners of these sockets by the inodes of their files. Reads every process'
/// descriptors, which takes some tenths of a second on a busy host.
///
/// Returns no owners outside of the initial pid namespace, where the ids in /proc are not those
/// that the eBPF programs see.
pub(super) fn of(inodes: &HashMap<EndpointId, u32>) -> HashMap<EndpointId, SharedOwner> {
    if !pid_ns::is_initial() {
        return HashMap::new();
    }
    let search = find_holders(&HashSet::from_iter(inodes.values().copied()), &[]);
    let cgroups = Cgroups::new();
    let owners: HashMap<u32, SharedOwner> = search
        .processes
        .iter()
        .map(|(pid, process)| (*pid, owner(process, &cgroups).into()))
        .collect();
    let owned = inodes.iter().filter_map(|(socket, inode)| {
        let process = search.owner(*inode)?;
        Some((*socket, owners.get(&process.pid)?.clone()))
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
    }
}
