//! Everything that metrics are made from.

use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;

use crate::output::state::Output;
use crate::usage::Usage;
use tcpclose_core::summary::{Gauges, Ranking, Service, StuckNow, Summary, Totals};
use tcpclose_core::types::Nanos;

/// The state of the agent at one moment. All counts start with the agent.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// When all counts were 0. It stays the same when the wall clock is set.
    pub start: Timestamp,
    /// When the snapshot was made.
    pub at: Nanos,
    /// What has been counted.
    pub totals: Totals,
    /// Connection ends that became established.
    pub opened: u64,
    /// The current counts of connection ends.
    pub gauges: Gauges,
    /// The stuck sockets; `None` as long as they are not known.
    pub stuck: Option<StuckNow>,
    /// The processes and peers with most closes and resets in the last interval.
    pub rankings: Rankings,
    /// What became of each output's records.
    pub outputs: Vec<Output>,
    /// The resources that the agent itself has used.
    pub usage: Usage,
    /// Threads that have panicked and do not work again yet.
    pub failed_threads: Vec<&'static str>,
}

/// The snapshots at both ends of an interval.
#[derive(Clone, Debug, Default)]
pub struct Interval {
    /// At its beginning.
    pub before: Arc<Snapshot>,
    /// At its end.
    pub now: Arc<Snapshot>,
}

impl Snapshot {
    /// Returns the snapshot with counts since an earlier one.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let Totals {
            closes,
            resets,
            time_wait_ends,
            lost,
            durations,
        } = &self.totals;
        Self {
            totals: Totals {
                closes: closes - &earlier.totals.closes,
                resets: resets - &earlier.totals.resets,
                time_wait_ends: time_wait_ends - &earlier.totals.time_wait_ends,
                lost: lost - &earlier.totals.lost,
                durations: durations.since(&earlier.totals.durations),
            },
            opened: self.opened.saturating_sub(earlier.opened),
            outputs: Output::all_since(&self.outputs, &earlier.outputs).collect(),
            usage: self.usage.since(&earlier.usage),
            ..self.clone()
        }
    }
}

/// The processes and peers with most closes and resets in an interval.
#[derive(Clone, Debug, Default)]
pub struct Rankings {
    /// The processes with most closes.
    pub closes_of_processes: Ranking<Option<Service>>,
    /// The processes with most resets, by either side.
    pub resets_of_processes: Ranking<Option<Service>>,
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
#[allow(missing_docs, reason = "docs/outputs.md has them")]
pub enum Outcome {
    Written,
    Filtered,
    Cut,
    Dropped,
    Failed,
}
