//! Which of several holders a socket belongs to.
//!
//! With socket activation (inetd, systemd) and in servers that fork, several processes hold the
//! listening socket, and one of them accepts. The kernel does not show which; but who holds other
//! connections that came in there has accepted some.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::holders::SocketHolders;
use tcpclose_common::TcpState;
use tcpclose_core::process::Process;
use tcpclose_core::stuck::ObservedSocket;
use tcpclose_core::types::{CgroupId, Inode, NetNs};
use tcpclose_sys::host::cgroup::Cgroups;
use tcpclose_sys::host::descriptors::find_holders;
use tcpclose_sys::kernel::sock_diag::{DiagClient, DumpQuery, StateSet};

/// The states of connections that were accepted and have a file.
const ACCEPTED_STATES: StateSet = StateSet::from_states(&[
    TcpState::Established,
    TcpState::CloseWait,
    TcpState::FinWait1,
    TcpState::FinWait2,
    TcpState::LastAck,
    TcpState::Closing,
]);

/// A local port in a network namespace.
type LocalPort = (Option<NetNs>, u16);

/// What is known of the processes that hold a socket together.
#[derive(Clone, Debug, Default)]
pub(super) struct Preference {
    /// The processes that hold connections which came in on a port.
    acceptors: HashSet<(LocalPort, u32)>,
    /// The processes that are in the cgroup of a socket.
    in_cgroup: HashSet<(CgroupId, u32)>,
}

impl Preference {
    /// Finds what distinguishes the holders of those sockets that have several; `open` opens a
    /// namespace. Nothing is read where every socket has one.
    pub fn find<'a>(
        sockets: impl Iterator<Item = &'a ObservedSocket>,
        holders: &SocketHolders,
        mut open: impl FnMut(Option<NetNs>) -> Option<DiagClient>,
    ) -> Self {
        let mut preference = Self::default();
        let mut contested: HashMap<LocalPort, HashSet<u32>> = HashMap::new();
        let mut cgroups = None;
        for socket in sockets {
            let pids = holders.pids(socket);
            if pids.len() < 2 {
                continue;
            }
            if let Some(cgroup) = socket.cgroup {
                let cgroups = cgroups.get_or_insert_with(Cgroups::new);
                for process in pids.iter().filter_map(|pid| holders.process(*pid)) {
                    if is_in_cgroup(process, cgroup, cgroups) {
                        preference.in_cgroup.insert((cgroup, process.pid));
                    }
                }
            }
            if socket.waits_for_accept() {
                contested
                    .entry(local_port(socket))
                    .or_default()
                    .extend(pids);
            }
        }
        let netns: HashSet<Option<NetNs>> = contested.keys().map(|(netns, _)| *netns).collect();
        for netns in netns {
            if let Some(diag) = open(netns) {
                preference.find_acceptors(diag, netns, &contested);
            }
        }
        preference
    }

    /// Finds which of these processes hold connections of these ports.
    fn find_acceptors(
        &mut self,
        mut diag: DiagClient,
        netns: Option<NetNs>,
        contested: &HashMap<LocalPort, HashSet<u32>>,
    ) {
        let Ok((sockets, _)) = diag.collect(&DumpQuery::new(ACCEPTED_STATES)) else {
            return;
        };
        let ports = sockets.iter().filter_map(|socket| {
            let port = (netns, socket.tuple.local().port());
            let inode = socket.inode.map(Inode::get)?;
            contested.contains_key(&port).then_some((inode, port))
        });
        let ports: BTreeMap<u32, LocalPort> = ports.collect();
        if ports.is_empty() {
            return;
        }
        let pids = contested.values().flatten().copied();
        let pids: Vec<u32> = HashSet::<u32>::from_iter(pids).into_iter().collect();
        let search = find_holders(&ports.keys().copied().collect(), &pids);
        for (inode, port) in &ports {
            let holders = search.descriptors.for_inode(*inode);
            self.acceptors
                .extend(holders.map(|descriptor| (*port, descriptor.pid)));
        }
    }

    /// Returns how well a holder fits: who accepts fits better than who is in the socket's cgroup,
    /// and that one better than any other.
    pub fn rank(&self, socket: &ObservedSocket, pid: u32) -> u8 {
        let is_acceptor =
            socket.waits_for_accept() && self.acceptors.contains(&(local_port(socket), pid));
        let is_in_cgroup = |cgroup| self.in_cgroup.contains(&(cgroup, pid));
        match is_acceptor {
            true => 2,
            false => u8::from(socket.cgroup.is_some_and(is_in_cgroup)),
        }
    }
}

fn local_port(socket: &ObservedSocket) -> LocalPort {
    (socket.netns, socket.tuple.local().port())
}

/// Returns whether a process is in a cgroup; systemd makes the sockets of NAME.socket in a cgroup
/// of that name, and they are accepted in NAME.service.
fn is_in_cgroup(process: &Arc<Process>, cgroup: CgroupId, cgroups: &mut Cgroups) -> bool {
    let Some(path) = process.cgroup_v2.as_deref() else {
        return false;
    };
    if cgroups.id(path) == Some(cgroup.get()) {
        return true;
    }
    let socket = cgroups.name(cgroup.get());
    socket.is_some_and(|socket| is_activated_by(path, &socket.path))
}

/// Returns whether the cgroup of a service is that of the unit which a socket unit activates.
fn is_activated_by(service: &str, socket: &str) -> bool {
    match (
        service.strip_suffix(".service"),
        socket.strip_suffix(".socket"),
    ) {
        (Some(service), Some(socket)) => service == socket,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_activated_by_the_socket_unit_of_its_name() {
        let socket = "/system.slice/web.socket";
        assert!(is_activated_by("/system.slice/web.service", socket));
        assert!(!is_activated_by("/system.slice/db.service", socket));
        assert!(!is_activated_by("/init.scope", socket));
        assert!(!is_activated_by("/system.slice/web.socket", socket));
    }
}
