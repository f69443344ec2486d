//! What one look at the host found, by owner.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::holders::SocketHolders;
use super::scanner::Resolved;
use tcpclose_core::finding::{Endpoint, Stuck};
use tcpclose_core::process::Process;
use tcpclose_core::stuck::{
    Forecast, Leak, OwnerGroup, OwnerProcess, OwnerUnknown, Sample, Trends, Verdict, group,
};
use tcpclose_core::types::{CgroupId, Nanos, NetNs, Role, StartTime};

/// Whose leaks are counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Owner {
    /// The process that holds them; of several the one that started first. Where a connection was not accepted, the one
    /// that holds the listening socket.
    Process(u32),
    /// No process is known to hold them. All are of the same origin.
    Nobody {
        /// Id of their cgroup (v2), where that is known.
        cgroup: Option<CgroupId>,
        /// The network namespace they live in, where that is known.
        netns: Option<NetNs>,
        /// Of whoever accepted or created them; `None` where they were not accepted.
        uid: Option<u32>,
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
    pub groups: Vec<OwnerGroup<Owner>>,
    /// How many stuck sockets each owner has.
    pub stuck_of: HashMap<Owner, usize>,
    /// Who holds them.
    pub held: SocketHolders,
    /// The network namespace of whoever looks: what lives in another one is said to. `None` where unknown.
    pub own: Option<NetNs>,
    /// Ports that are listened on, by namespace.
    pub served: HashSet<(Option<NetNs>, u16)>,
    /// How the number of leaks grows, of owners that were looked at often enough.
    pub forecasts: HashMap<Owner, Forecast>,
    /// Sockets that are as old, and still send: in `leaks` too, where every socket is told of.
    pub sending: usize,
    /// Sockets in CLOSE_WAIT for a shorter time.
    pub younger: usize,
    /// Of those, sockets that may be older: keepalive hides it.
    pub hidden: Vec<Leak>,
    /// Some processes could not be looked into.
    pub unseen_processes: bool,
    /// It tells of a recording: of sockets that were told of as stuck, as they were when they were looked at.
    pub recorded: bool,
}

impl Report {
    /// Of sockets that were told of as stuck, as of `at`.
    #[must_use]
    pub fn told<'a>(
        ends: impl Iterator<Item = &'a Stuck> + Clone,
        at: Nanos,
        min_age: Nanos,
    ) -> Self {
        let mut report = Self {
            at,
            min_age,
            leaks: ends.clone().map(|end| end.leak).collect(),
            held: SocketHolders::told(ends),
            recorded: true,
            ..Self::default()
        };
        report.group();
        report
    }

    /// Takes its numbers into `growths`, and tells how they grow. By owner and when that started, as a process's number may
    /// be another's later.
    pub fn grow(&mut self, growths: &mut Trends<(Owner, Option<StartTime>)>) {
        let started = |owner| self.process(owner).and_then(|process| process.started);
        let counts = self.groups.iter().map(|group| {
            let stuck = group.stuck() as u64;
            let waiting = group.verdicts[Verdict::NotAccepted as usize] as u64;
            let stock = Sample {
                stuck,
                held: stuck - waiting,
            };
            ((group.owner, started(group.owner)), stock)
        });
        growths.look(self.at, counts);
        let forecast = |owner| {
            let room = self.process(owner).and_then(|process| process.room());
            let forecast = growths.forecast(&(owner, started(owner)), room);
            Some((owner, forecast?))
        };
        let owners = self.groups.iter().map(|group| group.owner);
        self.forecasts = owners.filter_map(forecast).collect();
    }

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
        match self.held.owner(&leak.socket) {
            Some(pid) => Owner::Process(pid),
            None => Owner::Nobody {
                cgroup: leak.socket.cgroup,
                netns: leak.socket.netns,
                uid: leak.socket.inode.map(|_| leak.socket.uid),
            },
        }
    }

    /// What is known of an owner.
    #[must_use]
    pub fn process(&self, owner: Owner) -> Option<&Arc<Process>> {
        match owner {
            Owner::Process(pid) => self.held.processes.get(&pid),
            Owner::Nobody { .. } => None,
        }
    }

    /// The descriptors of a leak in one process.
    #[must_use]
    pub fn fds(&self, leak: &Leak, pid: u32) -> Vec<u32> {
        let held = self.held.descriptors(&leak.socket);
        held.filter(|held| held.pid == pid)
            .map(|held| held.fd)
            .collect()
    }

    /// How many leaks are some application's fault.
    #[must_use]
    pub fn stuck(&self) -> usize {
        self.groups.iter().map(OwnerGroup::stuck).sum()
    }

    /// The finding about one of the leaks, found out at `at`.
    #[must_use]
    pub fn finding(&self, leak: &Leak, at: Nanos) -> Stuck {
        let owner = self.owner(leak);
        let process = self.process(owner);
        let source = leak.verdict.owner_source();
        let socket = &leak.socket;
        let is_server = self
            .served
            .contains(&(socket.netns, socket.tuple.local().port()));
        Stuck {
            at,
            endpoint: Endpoint {
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
            end: None,
            owner: process.map(|process| process.as_owner(source)),
            owner_unknown: match process {
                Some(_) => None,
                None if self.recorded => Some(OwnerUnknown::NotTold),
                None if self.unseen_processes => Some(OwnerUnknown::NotInspectable),
                None => Some(OwnerUnknown::NoHolder),
            },
            holders: self.held.holders(&leak.socket),
            leaker: process.map(|process| OwnerProcess {
                as_of: at,
                process: process.clone(),
                stuck: self.stuck_of.get(&owner).copied().unwrap_or(0),
                forecast: self.forecasts.get(&owner).copied(),
            }),
        }
    }

    /// The finding that one of the leaks is no more.
    #[must_use]
    pub fn resolved(&self, resolved: &Resolved) -> Stuck {
        let Resolved {
            leak,
            at,
            end,
            process,
        } = resolved;
        let mut stuck = self.finding(leak, *at);
        if let (None, Some(process)) = (&stuck.owner, process) {
            stuck.owner = Some(process.as_owner(leak.verdict.owner_source()));
            stuck.owner_unknown = None;
            stuck.leaker = Some(OwnerProcess {
                as_of: *at,
                process: process.clone(),
                stuck: 0,
                forecast: None,
            });
        }
        stuck.resolve(*at, *end);
        stuck
    }
}
