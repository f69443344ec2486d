//! What `tcpclose leaks` shows: the table for people, and `leak` records as JSON lines.

mod json;
mod table;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::host::descriptors::{Holder, Holders};
use crate::host::process::Process;
use crate::lifecycle::leak::{Fit, Group, Leak, group};
use crate::lifecycle::types::{ConnId, Nanos, NetNs};

pub use json::write_leak;
pub use table::{LeakTable, changes};

/// Whose leaks are counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Owner {
    /// The process that holds them; of several the one that started first. Where a connection was not accepted, the one
    /// that holds the listening socket.
    Process(u32),
    /// No process is known to hold them. All are of the same cgroup (v2), by its id.
    Nobody {
        /// 0 where unknown.
        cgroup: u64,
    },
}

/// One look at the host, ready to be shown.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// When it was taken.
    pub at: Nanos,
    /// The least age of what is in it.
    pub min_age: Nanos,
    /// What stays in CLOSE_WAIT.
    pub leaks: Vec<Leak>,
    /// The same by owner, worst first.
    pub groups: Vec<Group<Owner>>,
    /// How many stuck sockets each owner has.
    pub stuck_of: HashMap<Owner, usize>,
    /// Who holds the inodes of `leaks`, and of the listening sockets of those that were not accepted.
    pub holders: Holders,
    /// The processes among the holders.
    pub processes: BTreeMap<u32, Process>,
    /// Inodes of the listening sockets in whose queues connections wait.
    pub listeners: HashMap<ConnId, Vec<u32>>,
    /// Ports that are listened on, by namespace.
    pub served: HashSet<(NetNs, u16)>,
    /// How the number of leaks grows, of owners that were looked at often enough.
    pub growth: HashMap<Owner, Fit>,
    /// Sockets that are as old, and still send: in `leaks` too, where every socket is told of.
    pub sending: usize,
    /// Sockets in CLOSE_WAIT for a shorter time.
    pub younger: usize,
    /// Of those, sockets whose age keepalive may hide.
    pub hidden: usize,
    /// Some processes could not be looked into.
    pub unseen_processes: bool,
}

impl Report {
    /// Puts the leaks in groups. To be called once all else is filled in.
    pub fn group(&mut self) {
        self.groups = group(&self.leaks, |leak| self.owner(leak));
        self.stuck_of = self
            .groups
            .iter()
            .map(|group| (group.owner, group.stuck()))
            .collect();
    }

    /// Whose leak it is.
    #[must_use]
    pub fn owner(&self, leak: &Leak) -> Owner {
        let started = |pid: u32| {
            (
                self.processes
                    .get(&pid)
                    .map_or(u64::MAX, |process| process.started),
                pid,
            )
        };
        let first = self
            .holders(leak)
            .map(|holder| holder.pid)
            .min_by_key(|&pid| started(pid));
        match first {
            Some(pid) => Owner::Process(pid),
            None => Owner::Nobody {
                cgroup: leak.socket.cgroup,
            },
        }
    }

    /// The descriptors of a leak; where it was not accepted, those of the listening socket.
    pub fn holders<'a>(&'a self, leak: &'a Leak) -> impl Iterator<Item = Holder> + 'a {
        let own = (leak.socket.inode != 0).then_some(leak.socket.inode);
        let queue = match own {
            Some(_) => None,
            None => self.listeners.get(&leak.socket.id),
        };
        let inodes = own.into_iter().chain(queue.into_iter().flatten().copied());
        inodes.flat_map(|inode| self.holders.of(inode))
    }

    /// The descriptors of a leak in one process.
    #[must_use]
    pub fn fds(&self, leak: &Leak, pid: u32) -> Vec<u32> {
        let held = self.holders(leak).filter(|holder| holder.pid == pid);
        held.map(|holder| holder.fd).collect()
    }

    /// How many leaks are some application's fault.
    #[must_use]
    pub fn stuck(&self) -> usize {
        self.groups.iter().map(Group::stuck).sum()
    }

    /// When the owner has no descriptors left, going by the line through the looks. `None` where nothing grows, or
    /// nothing is known of its limit.
    #[must_use]
    pub fn exhausted_in(&self, owner: Owner) -> Option<Nanos> {
        let Owner::Process(pid) = owner else {
            return None;
        };
        let process = self.processes.get(&pid)?;
        let room = process.limit?.saturating_sub(process.open);
        self.growth.get(&owner)?.time_to(room)
    }
}
