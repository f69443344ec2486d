//! A summary. All numbers count connection ends, as the findings do: a connection within the host
//! has two.

use std::hash::{Hash, Hasher};
use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use super::durations::{Histogram, Spread};
use super::enum_counts::Counts;
use super::heavy_hitters::Ranking;
use super::stuck::StuckNow;
use crate::finding::{ClosePath, Initiator, LossLocation, ResetReason, Side, TimeWaitEnd};
use crate::kernel_ids::zero_is_none;
use crate::types::{CgroupId, Nanos, NetNs, SharedOwner};

/// The summary of an interval, and the present counts at its end.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// When the interval began: the end of the one before, or the start.
    pub from: Nanos,
    /// When the interval ended.
    pub to: Nanos,
    /// Ends that became established.
    pub opened: u64,
    /// Ends that closed, by path and who began.
    pub closes: Counts<(ClosePath, Initiator)>,
    /// Resets among them, by who sent the RST and why.
    pub resets: Counts<(Side, Option<ResetReason>)>,
    /// Time in closing states, of the ends that closed and whose time is known.
    pub states: States<Spread>,
    /// The same by length.
    pub durations: States<Histogram>,
    /// How TIME_WAITs ended.
    pub time_wait_ends: Counts<TimeWaitEnd>,
    /// The processes with the most closes. Endpoints without a known owner count as `None`.
    pub closes_of_processes: Ranking<Option<Service>>,
    /// The processes with the most resets, by either side.
    pub resets_of_processes: Ranking<Option<Service>>,
    /// The peers with the most closes.
    pub closes_of_peers: Ranking<IpAddr>,
    /// The peers with the most resets, by either side.
    pub resets_of_peers: Ranking<IpAddr>,
    /// The losses, by location.
    pub lost: Counts<LossLocation>,
    /// The present counts.
    pub now: Gauges,
    /// The sockets that are stuck in CLOSE_WAIT; `None` without detection of stuck sockets.
    pub stuck: Option<StuckNow>,
}

/// Time in the states of a close.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "they are their names")]
pub struct States<T> {
    pub fin_wait2: T,
    pub close_wait: T,
    pub last_ack: T,
    /// Of all TIME_WAITs that are over, but those whose end was not seen and those that never
    /// existed.
    pub time_wait: T,
}

impl<T> States<T> {
    /// Converts the value of each state.
    pub fn map<U>(&self, make: impl Fn(&T) -> U) -> States<U> {
        States {
            fin_wait2: make(&self.fin_wait2),
            close_wait: make(&self.close_wait),
            last_ack: make(&self.last_ack),
            time_wait: make(&self.time_wait),
        }
    }
}

impl States<Histogram> {
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

/// Processes as summaries count them: by name and cgroup, so that the workers of one service count
/// as one.
#[derive(Clone, Debug)]
pub struct Service(pub SharedOwner);

impl Service {
    fn key(&self) -> (&[u8], Option<CgroupId>) {
        (&self.0.comm, self.0.cgroup)
    }
}

impl PartialEq for Service {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Service {}

impl PartialOrd for Service {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Service {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

impl Hash for Service {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key().hash(state);
    }
}

/// Counts of the present state.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Gauges {
    /// Live endpoints, without those in TIME_WAIT and orphans.
    pub live: u64,
    /// Ends that their process has closed and that wait for the peer's FIN.
    pub waiting_for_fin: u64,
    /// Ends in TIME_WAIT.
    pub time_wait: u64,
    /// The routes with the most ephemeral ports in use, the greatest share first.
    pub pressure: Vec<Pressure>,
}

/// Connections from one local address to one peer, which each need an ephemeral port of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Route {
    /// The network namespace it is in, where that is known.
    #[serde(with = "zero_is_none")]
    pub netns: Option<NetNs>,
    /// The local address.
    pub local: IpAddr,
    /// The peer's address and port.
    pub peer: SocketAddr,
}

/// The ephemeral ports that a route uses, live and in TIME_WAIT.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pressure {
    /// The route.
    pub route: Route,
    /// Ports in use.
    pub used: u32,
    /// Ports that `net.ipv4.ip_local_port_range` of its namespace allows.
    pub ports: u32,
}

impl Pressure {
    /// The share in use, from 0 to 1.
    #[must_use]
    pub fn share(&self) -> f64 {
        f64::from(self.used) / f64::from(self.ports.max(1))
    }
}
