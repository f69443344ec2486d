//! Why the holders of stuck sockets do nothing with them: adds what /proc shows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::holders::SocketHolders;
use tcpclose_core::stuck::StuckSocket;
use tcpclose_core::stuck::why::{
    DueEvent, Duplicate, EpollFinding, HolderEvidence, HolderOrigin, ProcessEvidence,
};
use tcpclose_sys::host::holder_evidence::read_holder_evidence;
use tcpclose_sys::kernel::clock::start_of_process;

/// What is read of the holders of stuck sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EvidenceScope {
    /// No evidence is collected.
    None,
    /// What costs them nothing that can be noticed.
    Cheap,
    /// Large epoll sets too.
    Everything,
}

/// Reads the holders of these sockets, where any are stuck, and adds what is known of each to its
/// sockets.
pub(super) fn add_evidence(
    sockets: &mut [StuckSocket],
    holders: &SocketHolders,
    scope: EvidenceScope,
) {
    if scope == EvidenceScope::None {
        return;
    }
    let stuck = || sockets.iter().filter(|stuck| stuck.is_stuck());
    let pids: BTreeSet<u32> = stuck()
        .flat_map(|stuck| stuck.holders.iter().map(|holder| holder.pid))
        .collect();
    let processes = pids.iter().filter_map(|pid| holders.process(*pid));
    let processes = processes.map(|process| &**process);
    let read = read_holder_evidence(processes, scope == EvidenceScope::Everything);
    let processes: BTreeMap<u32, Arc<ProcessEvidence>> = read
        .into_iter()
        .map(|(pid, evidence)| (pid, Arc::new(evidence)))
        .collect();
    for stuck in sockets.iter_mut().filter(|stuck| stuck.is_stuck()) {
        stuck.why = holder_evidence(stuck, holders, &processes);
    }
}

fn holder_evidence(
    stuck: &StuckSocket,
    holders: &SocketHolders,
    processes: &BTreeMap<u32, Arc<ProcessEvidence>>,
) -> Vec<HolderEvidence> {
    let due = DueEvent::from_verdict(stuck.verdict);
    let inode = |pid| holders.inode_of(&stuck.socket, pid);
    let mut all = Vec::new();
    for holder in &stuck.holders {
        let Some(process) = processes.get(&holder.pid) else {
            continue;
        };
        let own = inode(holder.pid);
        // Of a table that is a single thread's own, the numbers mean something else in /proc/PID.
        let shared = holder.thread.is_none();
        let is_open = |fd: u32| {
            let same = |other: &&tcpclose_core::stuck::Holder| inode(other.pid) == own;
            let others = stuck.holders.iter().filter(same);
            others
                .flat_map(|holder| &holder.fds)
                .any(|open| *open == fd)
        };
        let judged = process.sets.as_deref().zip(own).filter(|_| shared);
        let judged = judged.map(|(sets, inode)| {
            EpollFinding::judge(sets, inode, due == DueEvent::Connection, is_open, |set| {
                process.is_waited_on(set)
            })
        });
        let (epoll, registrations) = judged.unzip();
        all.push(HolderEvidence {
            pid: holder.pid,
            epoll,
            registrations: registrations.unwrap_or_default(),
            duplicate: duplicate(stuck, holder.pid, &holder.fds, holders, process),
            fds: match shared {
                true => holder.fds.as_slice().into(),
                false => Box::default(),
            },
            process: Arc::clone(process),
        });
    }
    all
}

/// Returns how a holder came to a socket. How old a listening socket is, nothing shows.
fn duplicate(
    stuck: &StuckSocket,
    pid: u32,
    fds: &[u32],
    holders: &SocketHolders,
    process: &ProcessEvidence,
) -> Option<Duplicate> {
    if stuck.socket.waits_for_accept() {
        return None;
    }
    let origin = HolderOrigin {
        started: holders.process(pid)?.started.map(start_of_process),
        is_forked: process.is_forked,
        fds,
        parents: process.parent.map_or(&[], |parent| stuck.fds_of(parent)),
    };
    Duplicate::judge(&origin, stuck.age.since)
}
