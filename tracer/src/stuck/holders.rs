//! Who holds the sockets of a look.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::listeners::{Listener, queues};
use super::task_file_iter::Walk;
use tcpclose_core::finding::Stuck;
use tcpclose_core::process::Process;
use tcpclose_core::stuck::{Holder, ObservedSocket};
use tcpclose_core::types::{EndpointId, Inode};
use tcpclose_sys::host::descriptors::{self, Holders, Search};

/// Who holds which of some sockets in CLOSE_WAIT.
#[derive(Clone, Debug, Default)]
pub struct SocketHolders {
    /// Who holds their inodes, and those of the listening sockets in whose queues they wait.
    pub holders: Holders,
    /// The processes among the holders.
    pub processes: BTreeMap<u32, Arc<Process>>,
    /// Inodes of the listening sockets in whose queues connections wait.
    pub queues: HashMap<EndpointId, Vec<u32>>,
}

impl SocketHolders {
    /// Looks through /proc; with `pids` for the sockets that those processes hold, of which all holders are found; or through what a walk has found. What could not be read
    /// is left in the search.
    pub(super) fn find<'a>(
        sockets: impl Iterator<Item = &'a ObservedSocket> + Clone,
        listeners: &[Listener],
        pids: &[u32],
        walk: Option<Walk>,
    ) -> (Self, Search) {
        let queues = queues(sockets.clone(), listeners);
        let accepted = sockets.filter_map(|socket| socket.inode).map(Inode::get);
        let inodes: HashSet<u32> = accepted.chain(queues.values().flatten().copied()).collect();
        let mut search = match walk.and_then(Walk::finish) {
            Some(walked) => descriptors::holders_among(walked, &inodes),
            None => descriptors::find_holders(&inodes, pids),
        };
        if !pids.is_empty() {
            // Whoever else holds what these hold.
            let inodes = search.holders.inodes().collect();
            let all = descriptors::find_holders(&inodes, &[]);
            search.holders = all.holders;
            search.processes = all.processes;
        }
        let held = Self {
            holders: std::mem::take(&mut search.holders),
            processes: std::mem::take(&mut search.processes),
            queues,
        };
        (held, search)
    }

    /// As it was told of each when it turned stuck. Of holders that nothing is laid to, only the numbers are known.
    pub(super) fn told<'a>(ends: impl Iterator<Item = &'a Stuck> + Clone) -> Self {
        let inodes: HashSet<u32> = ends
            .clone()
            .filter_map(|end| end.leak.socket.inode)
            .map(Inode::get)
            .collect();
        // Of a listening socket the inode was not told: a number that no socket here has stands for it.
        let mut unused = (1..=u32::MAX).filter(|number| !inodes.contains(number));
        let mut held = Self::default();
        let mut holders = Vec::new();
        for end in ends {
            let socket = &end.leak.socket;
            let inode = match socket.inode {
                None => unused.next().inspect(|&inode| {
                    held.queues.insert(socket.id, vec![inode]);
                }),
                Some(inode) => Some(inode.get()),
            };
            let descriptors = end.holders.iter().flat_map(|holder| {
                let fds = holder.fds.iter();
                fds.map(|&fd| descriptors::Holder {
                    pid: holder.pid,
                    fd,
                })
            });
            holders.extend(inode.into_iter().flat_map(|inode| {
                let descriptors = descriptors.clone();
                descriptors.map(move |holder| (inode, holder))
            }));
            if let Some(leaker) = &end.leaker {
                let process = &leaker.process;
                let known = held.processes.get(&process.pid);
                // Of two with one number, the earlier is gone.
                if known.is_none_or(|known| known.started <= process.started) {
                    held.processes.insert(process.pid, Arc::clone(process));
                }
            }
        }
        held.holders = holders.into_iter().collect();
        held
    }

    /// The descriptors of a socket; where it was not accepted, those of the listening socket.
    pub fn descriptors<'a>(
        &'a self,
        socket: &'a ObservedSocket,
    ) -> impl Iterator<Item = descriptors::Holder> + 'a {
        let own = socket.inode.map(Inode::get);
        let queue = match own {
            Some(_) => None,
            None => self.queues.get(&socket.id),
        };
        let inodes = own.into_iter().chain(queue.into_iter().flatten().copied());
        inodes.flat_map(|inode| self.holders.of(inode))
    }

    /// Whether any process is known to hold a socket.
    pub(super) fn is_held(&self, socket: &ObservedSocket) -> bool {
        self.descriptors(socket).next().is_some()
    }

    /// Every process that holds a socket, with its descriptors.
    #[must_use]
    pub fn holders(&self, socket: &ObservedSocket) -> Vec<Holder> {
        let mut holders: Vec<Holder> = Vec::new();
        for held in self.descriptors(socket) {
            match holders.iter_mut().find(|holder| holder.pid == held.pid) {
                Some(holder) => holder.fds.push(held.fd),
                None => holders.push(Holder {
                    pid: held.pid,
                    comm: self
                        .processes
                        .get(&held.pid)
                        .map(|process| process.comm.clone())
                        .unwrap_or_default(),
                    fds: vec![held.fd],
                }),
            }
        }
        holders
    }

    /// The process that a socket is laid to: of several holders the one that started first.
    #[must_use]
    pub fn owner(&self, socket: &ObservedSocket) -> Option<u32> {
        let started = |pid: u32| {
            let process = self.processes.get(&pid);
            // One of which nothing is known comes last.
            (
                process.is_none(),
                process.and_then(|process| process.started),
                pid,
            )
        };
        self.descriptors(socket)
            .map(|held| held.pid)
            .min_by_key(|&pid| started(pid))
    }
}
