//! Counts closes by the processes that they belong to, as they come: nothing is formatted here.

use std::cmp::Reverse;
use std::collections::{HashSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;

use foldhash::{HashMap, HashMapExt as _};

use super::causes::Causes;
use super::rate::RateWindow;
use super::service::Service;
use crate::output::close_tally::CloseTally;
use crate::output::symbols::Symbols;
use crate::output::triage::TracedCloses;
use tcpclose_common::COMM_LEN;
use tcpclose_core::finding::{Close, Finding};
use tcpclose_core::types::{CgroupId, Nanos, NetNs, Role, SharedOwner};

/// The most processes' names, each in one cgroup, that are counted on their own.
const MAX_ORIGINS: usize = 10_000;
/// The process ids that are kept of an origin: those that were seen last.
const MAX_PIDS: usize = 4;
/// The destinations that are kept of an origin: those that it connected to last.
const MAX_PEERS: usize = 4;
/// The most closes that are kept to be looked at, of abnormal ones and of the others.
const MAX_KEPT_CLOSES: usize = 512;

/// Where a close comes from: processes of one name in one cgroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct OriginKey {
    /// Their cgroup, where that is known.
    pub cgroup: Option<CgroupId>,
    /// Their name, with zeros behind it; `None` where the process is not known.
    comm: Option<[u8; COMM_LEN]>,
}

impl OriginKey {
    /// Returns the key of an owner.
    pub fn new(owner: Option<&SharedOwner>) -> Self {
        let comm = owner.map(|owner| {
            let mut comm = [0; COMM_LEN];
            for (to, from) in comm.iter_mut().zip(&*owner.comm) {
                *to = *from;
            }
            comm
        });
        Self {
            cgroup: owner.and_then(|owner| owner.cgroup),
            comm,
        }
    }

    /// Returns the name of the processes; `None` where these are not known.
    pub fn comm(&self) -> Option<&[u8]> {
        let comm = self.comm.as_ref()?;
        comm.split(|byte| *byte == 0).next()
    }
}

/// What was counted of an origin.
#[derive(Clone, Debug, Default)]
pub(super) struct Origin {
    /// The rate of all closes.
    pub closes: RateWindow,
    /// The abnormal ones.
    pub abnormal: RateWindow,
    /// All abnormal closes since the start.
    pub abnormal_total: u64,
    /// Why they were.
    pub causes: Causes,
    /// Processes that had some of the connections, the last one first.
    pub pids: Vec<u32>,
    /// Where it connected to, the last destination first: its routes, also those that a scan finds
    /// without a process, as TIME_WAIT has none.
    pub peers: Vec<(Option<NetNs>, SocketAddr)>,
    /// When the last connection closed.
    pub last: Nanos,
}

impl Origin {
    fn add(&mut self, close: &Close, is_abnormal: bool) {
        self.last = self.last.max(close.at);
        self.closes.add(close.at);
        if is_abnormal {
            self.abnormal.add(close.at);
            self.abnormal_total += 1;
            self.causes.add(close);
        }
        if let Some(owner) = &close.owner {
            put_first(&mut self.pids, owner.pid, MAX_PIDS);
        }
        let endpoint = &close.endpoint;
        if endpoint.role == Role::Client {
            let peer = (endpoint.netns, endpoint.tuple.peer());
            put_first(&mut self.peers, peer, MAX_PEERS);
        }
    }

    /// Adds what was counted of another one.
    pub fn merge(&mut self, other: &Self) {
        self.closes.merge(&other.closes);
        self.abnormal.merge(&other.abnormal);
        self.abnormal_total += other.abnormal_total;
        self.causes.merge(&other.causes);
        self.last = self.last.max(other.last);
    }
}

/// Puts a value before the others, of which at most so many stay.
fn put_first<T: PartialEq>(values: &mut Vec<T>, value: T, most: usize) {
    if values.first() != Some(&value) {
        values.retain(|other| *other != value);
        values.truncate(most - 1);
        values.insert(0, value);
    }
}

/// The closes since the start. Bounded: the origins that have been quiet for longest are forgotten
/// first, and what was counted of them belongs to the others.
#[derive(Debug)]
pub(crate) struct Tally {
    /// When counting began.
    pub(super) start: Nanos,
    pub(super) origins: HashMap<OriginKey, Origin>,
    pub(super) others: Origin,
    /// How many origins were forgotten.
    pub(super) forgotten: u64,
    pub(super) all: Origin,
    /// All that a triage needs.
    pub(super) traced: TracedCloses,
    /// The last abnormal closes and the last others, the newest last.
    kept: [VecDeque<Arc<Close>>; 2],
    capacity: usize,
}

impl Tally {
    /// Begins to count.
    pub fn new(start: Nanos, symbols: Symbols) -> Self {
        Self {
            start,
            origins: HashMap::new(),
            others: Origin::default(),
            forgotten: 0,
            all: Origin::default(),
            traced: TracedCloses {
                tally: CloseTally::new(symbols),
                ..TracedCloses::default()
            },
            kept: [VecDeque::new(), VecDeque::new()],
            capacity: MAX_ORIGINS,
        }
    }

    /// Sets when counting began, where that is known only now.
    pub fn begin(&mut self, start: Nanos) {
        self.start = start;
    }

    /// Counts a finding.
    pub fn add(&mut self, finding: Finding) {
        match finding {
            Finding::Close(close) if !close.endpoint.tuple.is_self_test() => self.add_close(*close),
            Finding::Loss(loss) => self.traced.lost += loss.lost,
            Finding::Close(_) | Finding::TimeWait(_) | Finding::Stuck(_) => {}
        }
    }

    fn add_close(&mut self, close: Close) {
        let is_abnormal = close.path.is_abnormal() == Some(true);
        self.traced.add(&close);
        let key = OriginKey::new(close.owner.as_ref());
        if self.origins.len() >= self.capacity && !self.origins.contains_key(&key) {
            self.forget_quiet();
        }
        self.origins
            .entry(key)
            .or_default()
            .add(&close, is_abnormal);
        self.all.add(&close, is_abnormal);
        let kept = &mut self.kept[usize::from(is_abnormal)];
        if kept.len() >= MAX_KEPT_CLOSES {
            kept.pop_front();
        }
        kept.push_back(Arc::new(close));
    }

    /// Forgets the tenth of the origins that has been quiet for longest.
    fn forget_quiet(&mut self) {
        let mut times: Vec<Nanos> = self.origins.values().map(|origin| origin.last).collect();
        let tenth = (times.len() / 10).min(times.len().saturating_sub(1));
        let (_, until, _) = times.select_nth_unstable(tenth);
        let until = *until;
        let (others, forgotten) = (&mut self.others, &mut self.forgotten);
        let mut left = tenth + 1;
        self.origins.retain(|_, origin| {
            if left == 0 || origin.last > until {
                return true;
            }
            left -= 1;
            others.merge(origin);
            *forgotten += 1;
            false
        });
    }

    /// Returns the last abnormal closes, the newest first.
    pub(super) fn abnormal_closes(&self) -> impl Iterator<Item = &Arc<Close>> {
        self.kept[1].iter().rev()
    }

    /// Returns the last closes of all kinds, the newest first.
    pub(super) fn kept_closes(&self) -> Vec<&Arc<Close>> {
        let mut closes: Vec<&Arc<Close>> = self.kept.iter().flatten().collect();
        closes.sort_by_key(|close| Reverse(close.at));
        closes
    }

    /// Returns the cgroups whose names are wanted, and processes whose descriptors are: those of
    /// the busiest origins first.
    pub fn wanted(&self, most_processes: usize) -> (Vec<CgroupId>, Vec<u32>) {
        let cgroups = self.origins.keys().filter_map(|key| key.cgroup);
        let mut busiest: Vec<&Origin> = self.origins.values().collect();
        busiest.sort_by_key(|origin| Reverse(origin.last));
        let pids = busiest.iter().flat_map(|origin| &origin.pids).copied();
        (cgroups.collect(), pids.take(most_processes).collect())
    }
}

/// The names of the services that cgroups belong to.
#[derive(Clone, Debug, Default)]
pub(crate) struct ServiceNames(HashMap<CgroupId, Option<Service>>);

impl ServiceNames {
    /// Remembers to which service a cgroup belongs; `None`: its processes are services by their
    /// names. Those of cgroups that are no longer wanted are forgotten with [`Self::retain`].
    pub fn insert(&mut self, cgroup: CgroupId, service: Option<Service>) {
        self.0.insert(cgroup, service);
    }

    /// Returns whether the name of a cgroup is known.
    pub fn contains(&self, cgroup: CgroupId) -> bool {
        self.0.contains_key(&cgroup)
    }

    /// Forgets the names of all cgroups but these.
    pub fn retain(&mut self, cgroups: &HashSet<CgroupId>) {
        self.0.retain(|cgroup, _| cgroups.contains(cgroup));
    }

    /// Returns the service of an origin.
    pub fn service(&self, key: &OriginKey) -> Service {
        let Some(comm) = key.comm() else {
            return Service::unknown();
        };
        let known = key.cgroup.and_then(|cgroup| self.0.get(&cgroup)?.clone());
        known.unwrap_or_else(|| Service::from_comm(comm))
    }
}
