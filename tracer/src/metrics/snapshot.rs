//! Everything that metrics are made from.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;

use super::label::ProcessName;
use crate::cgroup_names::CgroupNames;
use crate::output_status::OutputStatus;
use crate::usage::Usage;
use tcpclose_core::process::{Container, Unit};
use tcpclose_core::summary::{
    Gauges, IdleTimeout, NameAndCgroup, Ranking, StuckSummary, Summary, Totals,
};
use tcpclose_core::types::{CgroupId, Nanos, Owner};
use tcpclose_sys::host::systemd_unit;

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
    /// Where those processes belong; empty before [`Self::look_up_locations`].
    pub places: HashMap<CgroupId, ProcessLocation>,
    /// What became of each output's records.
    pub outputs: Vec<OutputStatus>,
    /// The resources that the agent itself has used.
    pub usage: Usage,
    /// How often the state file was written; `None` without one.
    pub state: Option<StateWrites>,
    /// What the flight recorder has done; `None` without one.
    pub flight: Option<FlightCounts>,
    /// Threads that have panicked and do not work again yet.
    pub failed_threads: Vec<&'static str>,
}

/// How often the state file was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StateWrites {
    /// How often that succeeded.
    pub written: u64,
    /// How often it failed.
    pub failed: u64,
    /// How many connections the last one had no room for.
    pub left_out: u64,
}

impl StateWrites {
    /// Returns the counts since an earlier moment.
    const fn since(self, earlier: Self) -> Self {
        Self {
            written: self.written.saturating_sub(earlier.written),
            failed: self.failed.saturating_sub(earlier.failed),
            left_out: self.left_out,
        }
    }
}

/// What became of the flight recorder's entries, and what it has on disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlightCounts {
    /// Entries that were written.
    pub written: u64,
    /// Entries that could not be written.
    pub failed: u64,
    /// Entries that were dropped, because the disk was too slow.
    pub dropped: u64,
    /// The bytes of all segments.
    pub bytes: u64,
    /// Segments that made room.
    pub overwritten: u64,
    /// Connections that the last segment had no room for at its beginning.
    pub left_out: u64,
}

impl FlightCounts {
    /// Returns the counts since an earlier moment.
    const fn since(self, earlier: Self) -> Self {
        Self {
            written: self.written.saturating_sub(earlier.written),
            failed: self.failed.saturating_sub(earlier.failed),
            dropped: self.dropped.saturating_sub(earlier.dropped),
            bytes: self.bytes,
            overwritten: self.overwritten.saturating_sub(earlier.overwritten),
            left_out: self.left_out,
        }
    }
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
    /// Finds the units and containers of the processes that are named. Reads files, so the exporter
    /// of the metrics calls it, and not the event loop.
    pub fn look_up_locations(&mut self, cgroups: &mut dyn CgroupNames) {
        let Rankings {
            closes_of_processes,
            resets_of_processes,
            idle_timeouts,
            ..
        } = &self.rankings;
        let named = closes_of_processes
            .top
            .iter()
            .chain(&resets_of_processes.top);
        let named = named.filter_map(|(service, _)| service.as_ref());
        let timeouts = idle_timeouts.iter();
        let owners = named
            .map(|service| service.owner())
            .chain(timeouts.filter_map(|timeout| timeout.owner.as_ref()));
        for id in owners.filter_map(|owner| owner.cgroup) {
            let place = cgroups.name(id.get()).map(|name| ProcessLocation {
                unit: systemd_unit::from_cgroup_path(&name.path),
                container: name.container.clone(),
            });
            self.places.extend(place.map(|place| (id, place)));
        }
    }

    /// Returns the name of a process in labels.
    pub(super) fn process_name(&self, owner: &Owner) -> ProcessName {
        let place = owner.cgroup.and_then(|id| self.places.get(&id));
        let unit = place.and_then(|place| place.unit.as_ref());
        let container = place.and_then(|place| place.container.as_ref());
        ProcessName::from_comm(&owner.comm).placed(unit, container)
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
            state: self
                .state
                .map(|state| state.since(earlier.state.unwrap_or_default())),
            flight: self
                .flight
                .map(|flight| flight.since(earlier.flight.unwrap_or_default())),
            ..self.clone()
        }
    }
}

/// Where a process belongs.
#[derive(Clone, Debug, Default)]
pub struct ProcessLocation {
    /// Its systemd unit.
    pub unit: Option<Unit>,
    /// The container that the process runs in.
    pub container: Option<Container>,
}

/// The processes and peers with most closes and resets in an interval.
#[derive(Clone, Debug, Default)]
pub struct Rankings {
    /// The processes with most closes.
    pub closes_of_processes: Ranking<Option<NameAndCgroup>>,
    /// The processes with most resets, by either side.
    pub resets_of_processes: Ranking<Option<NameAndCgroup>>,
    /// The peers of most closes.
    pub closes_of_peers: Ranking<IpAddr>,
    /// The peers of most resets, by either side.
    pub resets_of_peers: Ranking<IpAddr>,
    /// The idle timeouts with most closes.
    pub idle_timeouts: Vec<IdleTimeout>,
}

impl From<&Summary> for Rankings {
    fn from(summary: &Summary) -> Self {
        Self {
            closes_of_processes: summary.closes_of_processes.clone(),
            resets_of_processes: summary.resets_of_processes.clone(),
            closes_of_peers: summary.closes_of_peers.clone(),
            resets_of_peers: summary.resets_of_peers.clone(),
            idle_timeouts: summary.idle_timeouts.most.clone(),
        }
    }
}
