//! A summary. All numbers count endpoints, as the findings do: a connection within the host
//! has two.

use std::hash::{Hash, Hasher};
use std::net::IpAddr;

use super::durations::{DurationStats, Histogram};
use super::enum_counts::Counts;
use super::idle_timeouts::FoundTimeouts;
use super::local_ports::LocalPortStates;
use super::port_pressure::PortPressure;
use super::stuck::StuckSummary;
use crate::finding::{Cause, ClosePath, Initiator, LossLocation, ResetReason, Side, TimeWaitEnd};
use crate::ranking::Ranking;
use crate::types::{CgroupId, Nanos, SharedOwner};

/// The summary of an interval, and the present counts at its end.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// When the interval began: the end of the one before, or the start.
    pub from: Nanos,
    /// When the interval ended.
    pub to: Nanos,
    /// Endpoints that became established.
    pub opened: u64,
    /// Endpoints that closed, by path and who began.
    pub closes: Counts<(ClosePath, Initiator)>,
    /// The abnormal closes among them, by their cause, where that is known.
    pub causes: Counts<Option<Cause>>,
    /// Resets among them, by who sent the RST and why.
    pub resets: Counts<(Side, Option<ResetReason>)>,
    /// Time in closing states, of the endpoints that closed and whose time is known.
    pub states: PerState<DurationStats>,
    /// The same by length.
    pub durations: PerState<Histogram>,
    /// How TIME_WAITs ended.
    pub time_wait_ends: Counts<TimeWaitEnd>,
    /// The processes with the most closes. Endpoints without a known owner count as `None`.
    pub closes_of_processes: Ranking<Option<NameAndCgroup>>,
    /// The processes with the most resets, by either side.
    pub resets_of_processes: Ranking<Option<NameAndCgroup>>,
    /// The peers with the most closes.
    pub closes_of_peers: Ranking<IpAddr>,
    /// The peers with the most resets, by either side.
    pub resets_of_peers: Ranking<IpAddr>,
    /// The idle timeouts with the most closes.
    pub idle_timeouts: FoundTimeouts,
    /// The losses, by location.
    pub lost: Counts<LossLocation>,
    /// The present counts.
    pub now: Gauges,
    /// The sockets that are stuck in CLOSE_WAIT; `None` without detection of stuck sockets.
    pub stuck: Option<StuckSummary>,
}

/// Time in the states of a close.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub struct PerState<T> {
    pub fin_wait2: T,
    pub close_wait: T,
    pub last_ack: T,
    /// For each TIME_WAIT that is over, except those whose end was not seen and those that never
    /// existed.
    pub time_wait: T,
}

impl<T> PerState<T> {
    /// Converts the value of each state.
    pub fn map<U>(&self, make: impl Fn(&T) -> U) -> PerState<U> {
        PerState {
            fin_wait2: make(&self.fin_wait2),
            close_wait: make(&self.close_wait),
            last_ack: make(&self.last_ack),
            time_wait: make(&self.time_wait),
        }
    }
}

impl PerState<Histogram> {
    /// Returns what was added since `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            fin_wait2: self.fin_wait2.since(&earlier.fin_wait2),
            close_wait: self.close_wait.since(&earlier.close_wait),
            last_ack: self.last_ack.since(&earlier.last_ack),
            time_wait: self.time_wait.since(&earlier.time_wait),
        }
    }
}

/// The processes that summaries count as one: those with the same name and cgroup, such as the
/// workers of one service.
#[derive(Clone, Debug)]
pub struct NameAndCgroup(SharedOwner);

impl NameAndCgroup {
    /// Returns the key of a process.
    #[must_use]
    pub const fn new(owner: SharedOwner) -> Self {
        Self(owner)
    }

    /// Returns one of the processes.
    #[must_use]
    pub const fn owner(&self) -> &SharedOwner {
        &self.0
    }

    fn key(&self) -> (&[u8], Option<CgroupId>) {
        (&self.0.comm, self.0.cgroup)
    }
}

impl PartialEq for NameAndCgroup {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for NameAndCgroup {}

impl PartialOrd for NameAndCgroup {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for NameAndCgroup {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

impl Hash for NameAndCgroup {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key().hash(state);
    }
}

/// Counts of the present state.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Gauges {
    /// Live endpoints, without those in TIME_WAIT and orphans.
    pub live: u64,
    /// Endpoints that their process has closed and that wait for the peer's FIN.
    pub waiting_for_fin: u64,
    /// Endpoints in TIME_WAIT.
    pub time_wait: u64,
    /// The routes with the most ephemeral ports in use, the greatest share first.
    pub pressure: Vec<PortPressure>,
    /// The endpoints of the local ports that are asked for, in the order of the ports.
    pub local_ports: Vec<LocalPortStates>,
}
