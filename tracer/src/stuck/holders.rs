//! Who holds sockets.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use super::listeners::{ListeningSocket, queues};
use tcpclose_common::SocketDescriptor;
use tcpclose_core::process::Process;
use tcpclose_core::stuck::{Holder, HolderCoverage, ObservedSocket};
use tcpclose_core::types::{EndpointId, Inode};
use tcpclose_sys::host::descriptor_table::DescriptorTable;
use tcpclose_sys::host::descriptors::{
    HolderSearch, find_holders, find_holders_among, preferred_holder,
};
use tcpclose_sys::host::namespace_link::in_initial_pid_namespace;

/// Who holds which of some sockets.
#[derive(Clone, Debug, Default)]
pub(super) struct SocketHolders {
    /// The descriptors of their inodes, and of those of the listening sockets in whose queues they
    /// wait.
    descriptors: DescriptorTable,
    /// The processes among the holders.
    processes: BTreeMap<u32, Arc<Process>>,
    /// Inodes of the listening sockets in whose queues connections wait.
    queues: HashMap<EndpointId, Vec<u32>>,
    /// The threads that have some of the descriptors for themselves.
    threads: BTreeMap<SocketDescriptor, u32>,
}

/// The most processes that are named of those that could not be inspected.
const MAX_NAMED_PIDS: usize = 64;

/// Returns which processes a search of all has covered.
pub(super) fn coverage(search: &HolderSearch) -> HolderCoverage {
    let unreadable = &search.unreadable;
    if search.hidden || !in_initial_pid_namespace() || unreadable.len() > MAX_NAMED_PIDS {
        HolderCoverage::Partial
    } else if unreadable.is_empty() {
        HolderCoverage::All
    } else {
        HolderCoverage::AllBut(unreadable.iter().map(|(pid, _)| *pid).collect())
    }
}

impl SocketHolders {
    /// Searches for the holders: among the files that the kernel's iterator has listed, or else in
    /// /proc. With `pids`, only sockets that one of those processes holds have holders, and all of
    /// theirs are found. The search says what could not be read.
    pub fn find<'a>(
        sockets: impl Iterator<Item = &'a ObservedSocket> + Clone,
        listeners: &[ListeningSocket],
        pids: &[u32],
        files: Option<Vec<SocketDescriptor>>,
    ) -> (Self, HolderSearch) {
        let queues = queues(sockets.clone(), listeners);
        let accepted = sockets.filter_map(|socket| socket.inode).map(Inode::get);
        let inodes: HashSet<u32> = accepted.chain(queues.values().flatten().copied()).collect();
        let mut search = match files {
            Some(files) => find_holders_among(files, &inodes),
            None => find_holders(&inodes, pids),
        };
        if !pids.is_empty() {
            // Other processes may hold what these hold.
            let inodes = search.descriptors.inodes().collect();
            let all = find_holders(&inodes, &[]);
            search.descriptors = all.descriptors;
            search.processes = all.processes;
            search.threads = all.threads;
        }
        let found = Self {
            descriptors: std::mem::take(&mut search.descriptors),
            processes: std::mem::take(&mut search.processes),
            threads: std::mem::take(&mut search.threads),
            queues,
        };
        (found, search)
    }

    /// Returns the descriptors of a socket; where it was not accepted, those of the listening
    /// socket.
    fn descriptors<'a>(
        &'a self,
        socket: &'a ObservedSocket,
    ) -> impl Iterator<Item = SocketDescriptor> + 'a {
        let own = socket.inode.map(Inode::get);
        let queue = match own {
            Some(_) => None,
            None => self.queues.get(&socket.id),
        };
        let inodes = own.into_iter().chain(queue.into_iter().flatten().copied());
        inodes.flat_map(|inode| self.descriptors.for_inode(inode))
    }

    /// Returns whether any process is known to hold a socket.
    pub fn is_held(&self, socket: &ObservedSocket) -> bool {
        self.descriptors(socket).next().is_some()
    }

    /// Returns whether one of these processes holds a socket.
    pub fn is_held_by(&self, socket: &ObservedSocket, pids: &[u32]) -> bool {
        self.descriptors(socket)
            .any(|holder| pids.contains(&holder.pid))
    }

    /// Returns every process that holds a socket, with its descriptors.
    pub fn holders_of(&self, socket: &ObservedSocket) -> Vec<Holder> {
        let mut holders: Vec<Holder> = Vec::new();
        for descriptor in self.descriptors(socket) {
            let SocketDescriptor { pid, fd, .. } = descriptor;
            let thread = self.threads.get(&descriptor).copied();
            let is_same = |holder: &&mut Holder| (holder.pid, holder.thread) == (pid, thread);
            match holders.iter_mut().find(is_same) {
                Some(holder) => holder.fds.push(fd),
                None => {
                    let process = self.processes.get(&pid);
                    holders.push(Holder {
                        pid,
                        comm: process.map_or_else(Box::default, |process| process.comm.clone()),
                        fds: vec![fd],
                        thread,
                    });
                }
            }
        }
        holders
    }

    /// Returns the inode by which a process holds a socket: its own, or where it was not accepted
    /// that of a listening socket.
    pub fn inode_of(&self, socket: &ObservedSocket, pid: u32) -> Option<u32> {
        let mut descriptors = self.descriptors(socket);
        let held = descriptors.find(|descriptor| descriptor.pid == pid);
        held.map(|descriptor| descriptor.inode)
    }

    /// Returns the ids of the processes that hold a socket, each once.
    pub fn pids(&self, socket: &ObservedSocket) -> BTreeSet<u32> {
        let descriptors = self.descriptors(socket);
        descriptors.map(|descriptor| descriptor.pid).collect()
    }

    /// Returns what is known of a holder.
    pub fn process(&self, pid: u32) -> Option<&Arc<Process>> {
        self.processes.get(&pid)
    }

    /// Returns the process that a socket belongs to: of several holders the one of the highest
    /// rank, and among those the one that started first.
    pub fn owner(
        &self,
        socket: &ObservedSocket,
        rank: impl Fn(u32) -> u8,
    ) -> Option<&Arc<Process>> {
        preferred_holder(&self.processes, self.descriptors(socket), rank)
    }
}
