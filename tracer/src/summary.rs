//! Summaries of intervals: the core's counts, with those of the outputs and the program's own
//! usage.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::metrics::{FlightCounts, MetricsSnapshot, Rankings, SnapshotPair, StateWrites};
use crate::output_status::{OutputState, OutputStatus};
use crate::usage::Usage;
use tcpclose_core::finding::{Finding, LossLocation};
use tcpclose_core::summary::{self, Gauges, IntervalContext, PortPressure, StuckSummary};
use tcpclose_core::types::Nanos;

/// The summary of an interval.
#[derive(Clone, Debug)]
pub struct IntervalSummary {
    /// What the core counted in the interval. Losses include those of outputs.
    pub connections: summary::Summary,
    /// What became of each output's records in the interval.
    pub outputs: Vec<OutputStatus>,
    /// What the tracer itself used in the interval; `None` in a replay of a recording that lacks
    /// it.
    pub usage: Option<Usage>,
    /// The snapshots that metrics are made from.
    pub snapshots: SnapshotPair,
}

/// The end of an interval, with what the core does not know about that moment. Counts start with
/// the program.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct IntervalEnd {
    /// When the interval ended.
    pub at: Nanos,
    /// Where most ephemeral ports are in use.
    pub pressure: Vec<PortPressure>,
    /// What became of each output's records.
    pub outputs: Vec<OutputStatus>,
    /// What the tracer used.
    pub usage: Option<Usage>,
}

/// Counts findings, and returns summaries of intervals and snapshots for metrics.
#[derive(Debug)]
pub struct Summarizer {
    counts: summary::FindingCounts,
    /// The snapshot at the end of the last interval.
    last: Arc<MetricsSnapshot>,
    /// From when on snapshots have stuck sockets.
    stuck_known_from: Nanos,
    state: Option<StateWrites>,
    flight: Option<FlightCounts>,
}

impl Summarizer {
    /// Begins the first interval.
    #[must_use]
    pub fn new(at: Nanos) -> Self {
        let last = MetricsSnapshot {
            at,
            ..MetricsSnapshot::default()
        };
        Self {
            counts: summary::FindingCounts::new(at),
            last: Arc::new(last),
            stuck_known_from: Nanos(0),
            state: None,
            flight: None,
        }
    }

    /// Sets what metrics need: the wall time of the start, and from when on all stuck sockets are
    /// known. Before that, those that were stuck when the agent started would look like a sudden
    /// growth.
    #[must_use]
    pub fn for_metrics(self, start: Timestamp, stuck_known_from: Nanos) -> Self {
        let last = MetricsSnapshot {
            start,
            ..Arc::unwrap_or_clone(self.last)
        };
        Self {
            last: Arc::new(last),
            stuck_known_from,
            ..self
        }
    }

    /// Notes how often the agent's state file was written by now; `None` without one.
    pub fn note_state_writes(&mut self, state: Option<StateWrites>) {
        self.state = state;
    }

    /// Notes what the agent's flight recorder has done by now; `None` without one.
    pub fn note_flight(&mut self, flight: Option<FlightCounts>) {
        self.flight = flight;
    }

    /// Counts a finding.
    pub fn take(&mut self, finding: &Finding) {
        self.counts.record(finding);
    }

    /// Returns a snapshot within an interval.
    #[must_use]
    pub fn snapshot(&self, now: IntervalEnd, context: IntervalContext) -> MetricsSnapshot {
        let stuck = context
            .stuck
            .map(|stuck| self.counts.summarize_stuck(stuck));
        let rankings = self.last.rankings.clone();
        let counts = (context.opened, context.unjoined);
        self.measure(now, counts, context.now, stuck, rankings)
    }

    /// Ends the interval, and begins the next.
    pub fn end_interval(&mut self, end: IntervalEnd, context: IntervalContext) -> IntervalSummary {
        let counts = (context.opened, context.unjoined);
        let has_usage = end.usage.is_some();
        let mut connections = self.counts.end_interval(end.at, context);
        connections.now.pressure.clone_from(&end.pressure);
        let now = Arc::new(self.measure(
            end,
            counts,
            connections.now.clone(),
            connections.stuck.clone(),
            Rankings::from(&connections),
        ));
        let before = std::mem::replace(&mut self.last, now.clone());
        let outputs: Vec<OutputStatus> = OutputStatus::all_since(&now.outputs, &before.outputs)
            .filter(|output| output.state != OutputState::Removed || output.counts.did_something())
            .collect();
        let lost = outputs.iter().map(|output| output.counts.lost()).sum();
        connections.lost.add(LossLocation::Output, lost);
        IntervalSummary {
            connections,
            outputs,
            usage: has_usage.then(|| now.usage.since(&before.usage)),
            snapshots: SnapshotPair { before, now },
        }
    }

    fn measure(
        &self,
        now: IntervalEnd,
        (opened, unjoined): (u64, u64),
        gauges: Gauges,
        stuck: Option<StuckSummary>,
        rankings: Rankings,
    ) -> MetricsSnapshot {
        let IntervalEnd {
            at,
            pressure,
            outputs,
            usage,
        } = now;
        MetricsSnapshot {
            start: self.last.start,
            at,
            totals: self.counts.totals().clone(),
            opened,
            unjoined,
            gauges: Gauges { pressure, ..gauges },
            stuck: stuck.filter(|_| at >= self.stuck_known_from),
            rankings,
            // The exporter of the snapshot looks them up.
            places: HashMap::new(),
            outputs,
            usage: usage.unwrap_or_default(),
            state: self.state,
            flight: self.flight,
            // The agent knows.
            failed_threads: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output_status::OutputCounts;
    use tcpclose_core::summary::StuckCounts;
    use tcpclose_sys::kernel::program_stats::ProgramRunStats;

    fn end_of(second: u64) -> IntervalEnd {
        IntervalEnd {
            at: Nanos::from_secs(second),
            ..IntervalEnd::default()
        }
    }

    #[test]
    fn an_interval_has_only_what_outputs_and_tracer_did_in_it() {
        let mut summarizer = Summarizer::new(Nanos(0));
        let output = |written| OutputStatus {
            name: "stdout".into(),
            counts: OutputCounts {
                written,
                ..OutputCounts::default()
            },
            ..OutputStatus::default()
        };
        let usage = |cpu, runs| Usage {
            cpu: Nanos::from_secs(cpu),
            memory: 1_000 * cpu,
            bpf: Some(ProgramRunStats {
                count: runs,
                time: Nanos(runs * 300),
            }),
        };
        let first = IntervalEnd {
            outputs: vec![output(3)],
            usage: Some(usage(2, 100)),
            ..end_of(60)
        };
        summarizer.end_interval(first, IntervalContext::default());
        let second = IntervalEnd {
            // One that was added while running has no past.
            outputs: vec![
                output(7),
                OutputStatus {
                    name: "journald".into(),
                    counts: OutputCounts {
                        written: 2,
                        ..OutputCounts::default()
                    },
                    ..OutputStatus::default()
                },
            ],
            usage: Some(usage(5, 150)),
            ..end_of(120)
        };
        let second = summarizer.end_interval(second, IntervalContext::default());
        let written: Vec<u64> = second
            .outputs
            .iter()
            .map(|output| output.counts.written)
            .collect();
        assert_eq!(written, [4, 2]);
        let used = Usage {
            cpu: Nanos::from_secs(3),
            memory: 5_000,
            bpf: Some(ProgramRunStats {
                count: 50,
                time: Nanos(15_000),
            }),
        };
        assert_eq!(second.usage, Some(used));
    }

    #[test]
    fn every_record_of_every_output_is_accounted_for_in_every_interval() {
        let mut summarizer = Summarizer::new(Nanos(0));
        let mut end = |second, outputs: Vec<OutputStatus>| {
            let end = IntervalEnd {
                outputs,
                ..end_of(second)
            };
            summarizer.end_interval(end, IntervalContext::default())
        };
        let output = OutputStatus {
            name: "journald".into(),
            counts: OutputCounts {
                offered: 10,
                written: 3,
                filtered: 1,
                rate_limited: 1,
                dropped: 0,
                failed: 0,
                queued: 5,
                uncertain: 0,
            },
            state: OutputState::Up,
        };
        let first = end(60, vec![output.clone()]);
        assert_eq!(first.outputs, std::slice::from_ref(&output));
        assert_eq!(first.connections.lost.get(LossLocation::Output), 0);
        // It was removed with five, and two that were offered meanwhile; one was refused.
        let removed = OutputStatus {
            counts: OutputCounts {
                offered: 12,
                written: 5,
                dropped: 4,
                failed: 1,
                queued: 0,
                ..output.counts
            },
            state: OutputState::Removed,
            ..output
        };
        let second = end(120, vec![removed.clone()]);
        let expected = OutputCounts {
            offered: 2,
            written: 2,
            dropped: 4,
            failed: 1,
            ..OutputCounts::default()
        };
        assert_eq!(second.outputs[0].counts, expected);
        assert_eq!(first.outputs[0].counts.queued + 2, 2 + 4 + 1);
        assert_eq!(second.connections.lost.get(LossLocation::Output), 5);
        // From then on it has nothing to say.
        assert_eq!(end(180, vec![removed]).outputs, []);
    }

    #[test]
    fn an_interval_has_the_snapshots_at_both_of_its_ends() {
        let mut summarizer = Summarizer::new(Nanos(0)).for_metrics(Timestamp::MAX, Nanos(0));
        let mut end = |second, opened| {
            let context = IntervalContext {
                opened,
                ..IntervalContext::default()
            };
            summarizer.end_interval(end_of(second), context).snapshots
        };
        let (first, second) = (end(60, 3), end(120, 8));
        assert_eq!((first.before.at, first.before.opened), (Nanos(0), 0));
        assert!(Arc::ptr_eq(&first.now, &second.before));
        assert_eq!(
            (second.now.at, second.now.opened),
            (Nanos::from_secs(120), 8)
        );
        assert_eq!(second.now.start, first.before.start);
        let now = summarizer.snapshot(end_of(130), IntervalContext::default());
        assert_eq!(now.start, Timestamp::MAX);
    }

    #[test]
    fn snapshots_have_stuck_sockets_once_all_of_them_can_be_known() {
        let known_from = Nanos::from_secs(65);
        let mut summarizer = Summarizer::new(Nanos(0)).for_metrics(Timestamp::MIN, known_from);
        let context = || IntervalContext {
            stuck: Some(StuckCounts::default()),
            ..IntervalContext::default()
        };
        let summary = summarizer.end_interval(end_of(60), context());
        assert!(summary.connections.stuck.is_some(), "the summary has them");
        assert_eq!(summary.snapshots.now.stuck, None);
        assert_eq!(summarizer.snapshot(end_of(64), context()).stuck, None);
        let known = summarizer.snapshot(end_of(65), context()).stuck;
        assert_eq!(known, Some(StuckSummary::default()));
        let summary = summarizer.end_interval(end_of(120), context());
        assert_eq!(summary.snapshots.now.stuck, Some(StuckSummary::default()));
    }
}
