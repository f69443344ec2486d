//! Everything that metrics are made from.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;

use crate::cgroup_names::CgroupNames;
use crate::output_status::OutputStatus;
use crate::usage::Usage;
use tcpclose_core::process::Container;
use tcpclose_core::summary::{Gauges, Ranking, ServiceKey, StuckSummary, Summary, Totals};
use tcpclose_core::types::{CgroupId, Nanos};

/// The state of the agent at one moment. All counts start with the agent.
#[derive(Clone, Debug, Default)]
pub struct MetricsSnapshot {
    /// When all counts were 0. It stays the same when the wall clock is set.
    pub start: Timestamp,
    /// When the snapshot was made.
    pub at: Nanos,
    /// What has been counted.
    pub totals: Totals,
    /// Endpoints that became established.
    pub opened: u64,
    /// Endpoints whose peer may be on this host and was not recognized.
    pub unjoined: u64,
    /// The current counts of endpoints.
    pub gauges: Gauges,
    /// The stuck sockets; `None` as long as they are not known.
    pub stuck: Option<StuckSummary>,
    /// The processes and peers with most closes and resets in the last interval.
    pub rankings: Rankings,
    /// The containers of those processes; empty before [`Self::look_up_containers`].
    pub containers: HashMap<CgroupId, Container>,
    /// What became of each output's records.
    pub outputs: Vec<OutputStatus>,
    /// The resources that the agent itself has used.
    pub usage: Usage,
    /// Threads that have panicked and do not work again yet.
    pub failed_threads: Vec<&'static str>,
}

/// The snapshots at the beginning and the end of an interval.
#[derive(Clone, Debug, Default)]
pub struct SnapshotPair {
    /// At its beginning.
    pub before: Arc<MetricsSnapshot>,
    /// At its end.
    pub now: Arc<MetricsSnapshot>,
}

impl MetricsSnapshot {
    /// Finds the containers of the processes that are named. Reads files, so the exporter of the
    /// metrics calls it, and not the event loop.
    pub fn look_up_containers(&mut self, cgroups: &mut dyn CgroupNames) {
        let Rankings {
            closes_of_processes,
            resets_of_processes,
            ..
        } = &self.rankings;
        let named = closes_of_processes
            .top
            .iter()
            .chain(&resets_of_processes.top);
        let owners = named.filter_map(|(service, _)| service.as_ref());
        for id in owners.filter_map(|service| service.owner().cgroup) {
            let container = cgroups
                .name(id.get())
                .and_then(|name| name.container.clone());
            self.containers
                .extend(container.map(|container| (id, container)));
        }
    }

    /// Returns the snapshot with counts since an earlier one.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            totals: self.totals.since(&earlier.totals),
            opened: self.opened.saturating_sub(earlier.opened),
            unjoined: self.unjoined.saturating_sub(earlier.unjoined),
            outputs: OutputStatus::all_since(&self.outputs, &earlier.outputs).collect(),
            usage: self.usage.since(&earlier.usage),
            ..self.clone()
        }
    }
}

/// The processes and peers with most closes and resets in an interval.
#[derive(Clone, Debug, Default)]
pub struct Rankings {
    /// The processes with most closes.
    pub closes_of_processes: Ranking<Option<ServiceKey>>,
    /// The processes with most resets, by either side.
    pub resets_of_processes: Ranking<Option<ServiceKey>>,
    /// The peers of most closes.
    pub closes_of_peers: Ranking<IpAddr>,
    /// The peers of most resets, by either side.
    pub resets_of_peers: Ranking<IpAddr>,
}

impl From<&Summary> for Rankings {
    fn from(summary: &Summary) -> Self {
        Self {
            closes_of_processes: summary.closes_of_processes.clone(),
            resets_of_processes: summary.resets_of_processes.clone(),
            closes_of_peers: summary.closes_of_peers.clone(),
            resets_of_peers: summary.resets_of_peers.clone(),
        }
    }
}

/// What became of a record that was offered to an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum RecordOutcome {
    Written,
    Filtered,
    #[strum(serialize = "cut")]
    RateLimited,
    Dropped,
    Failed,
}
