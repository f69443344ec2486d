//! What is measured: everything that metrics are made from, at one moment.

use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;

use crate::output::state::Output;
use crate::usage::Tracer;
use tcpclose_core::summary::{Gauges, Ranking, Service, StuckNow, Summary, Totals};
use tcpclose_core::types::Nanos;

/// The state of the agent at one moment. All counts are from its start.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// When all counts were 0. Stays the same however often the wall clock is set.
    pub start: Timestamp,
    /// When the snapshot was made.
    pub at: Nanos,
    /// What was counted.
    pub totals: Totals,
    /// Connection ends that became established.
    pub opened: u64,
    /// How many ends there are.
    pub gauges: Gauges,
    /// What is stuck; `None` as long as that is not known.
    pub stuck: Option<StuckNow>,
    /// Who closed and was reset most in the last interval.
    pub rankings: Rankings,
    /// What each output did.
    pub outputs: Vec<Output>,
    /// What the agent itself has used.
    pub tracer: Tracer,
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
    /// The same with counts since `earlier`.
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
            tracer: self.tracer.since(&earlier.tracer),
            ..self.clone()
        }
    }
}

/// Who closed and was reset most in an interval.
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

/// What an output did with a record that it was offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "docs/outputs.md has them")]
pub enum Outcome {
    Written,
    Filtered,
    Cut,
    Dropped,
    Failed,
}

impl Outcome {
    /// The word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Written => "written",
            Self::Filtered => "filtered",
            Self::Cut => "cut",
            Self::Dropped => "dropped",
            Self::Failed => "failed",
        }
    }
}
