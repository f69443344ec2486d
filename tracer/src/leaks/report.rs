//! What one look at the host found, by owner.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use crate::host::descriptors::{self, Holders};
use crate::lifecycle::finding::{Conn, Stuck};
use crate::lifecycle::leak::{
    Forecast, Group, Holder, Leak, LeakEnd, LeakEvent, Leaker, Verdict, group,
};
use crate::lifecycle::process::Process;
use crate::lifecycle::types::{self, ConnId, Nanos, NetNs, OwnerSource, Role};

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
    pub processes: BTreeMap<u32, Arc<Process>>,
    /// Inodes of the listening sockets in whose queues connections wait.
    pub listeners: HashMap<ConnId, Vec<u32>>,
    /// Ports that are listened on, by namespace.
    pub served: HashSet<(NetNs, u16)>,
    /// How the number of leaks grows, of owners that were looked at often enough.
    pub forecasts: HashMap<Owner, Forecast>,
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
    pub fn holders<'a>(&'a self, leak: &'a Leak) -> impl Iterator<Item = descriptors::Holder> + 'a {
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

    /// The finding about one of the leaks. `at` is when this was found out: later than the report for what is resolved.
    #[must_use]
    pub fn finding(&self, leak: &Leak, at: Nanos) -> Stuck {
        let owner = self.owner(leak);
        let process = match owner {
            Owner::Process(pid) => self.processes.get(&pid),
            Owner::Nobody { .. } => None,
        };
        let source = match leak.verdict {
            Verdict::NotAccepted => OwnerSource::Listen,
            Verdict::EofUnread | Verdict::EofRead | Verdict::StillSending => OwnerSource::Proc,
        };
        let socket = &leak.socket;
        let is_server = self
            .served
            .contains(&(socket.netns, socket.tuple.local_port));
        Stuck {
            at,
            conn: Conn {
                id: socket.id,
                netns: socket.netns,
                tuple: socket.tuple,
                role: if is_server {
                    Role::Server
                } else {
                    Role::Unknown
                },
                seen_from_start: false,
                opened: None,
                lifetime: None,
            },
            leak: *leak,
            end: (leak.event == LeakEvent::Resolved).then_some(LeakEnd::Unknown),
            owner: process.map(|process| {
                Arc::new(types::Owner {
                    pid: process.pid,
                    uid: process.uid,
                    cgroup: 0,
                    comm: process.comm.clone(),
                    source,
                })
            }),
            holders: self.processes_of(leak),
            leaker: process.map(|process| Leaker {
                process: process.clone(),
                stuck: self.stuck_of.get(&owner).copied().unwrap_or(0),
                forecast: self.forecasts.get(&owner).copied(),
            }),
        }
    }

    /// Every process that holds a leak, with its descriptors.
    fn processes_of(&self, leak: &Leak) -> Vec<Holder> {
        let mut holders: Vec<Holder> = Vec::new();
        for held in self.holders(leak) {
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
}
