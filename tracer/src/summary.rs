//! Summaries of intervals: the core's counts, with those of the outputs and the program's own usage.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::metrics::{Interval, Rankings, Snapshot};
use crate::output::state::{Output, OutputState};
use crate::usage::Usage;
use tcpclose_core::finding::{Finding, LossLocation};
use tcpclose_core::summary::{self, Gauges, IntervalContext, Pressure, StuckNow};
use tcpclose_core::types::Nanos;

/// The summary of an interval.
#[derive(Clone, Debug)]
pub struct Summary {
    /// What the core counted in the interval. Losses include those of outputs.
    pub connections: summary::Summary,
    /// What became of each output's records in the interval.
    pub outputs: Vec<Output>,
    /// What the tracer itself used in the interval; `None` where nobody measures that.
    pub usage: Option<Usage>,
    /// The snapshots that metrics are made from.
    pub snapshots: Interval,
}

/// The end of an interval, with what the core does not know about that moment. Counts start with the
/// program.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct IntervalEnd {
    /// When the interval ended.
    pub at: Nanos,
    /// Where most ephemeral ports are in use.
    pub pressure: Vec<Pressure>,
    /// What became of each output's records.
    pub outputs: Vec<Output>,
    /// What the tracer used.
    pub usage: Option<Usage>,
}

/// Counts findings, and returns summaries of intervals and snapshots for metrics.
#[derive(Debug)]
pub struct Summaries {
    connections: summary::Summaries,
    /// The snapshot at the end of the last interval.
    last: Arc<Snapshot>,
    /// From when on snapshots have stuck sockets.
    stuck_known_from: Nanos,
}

impl Summaries {
    /// Begins the first interval.
    #[must_use]
    pub fn new(at: Nanos) -> Self {
        let last = Snapshot {
            at,
            ..Snapshot::default()
        };
        Self {
            connections: summary::Summaries::new(at),
            last: Arc::new(last),
            stuck_known_from: Nanos(0),
        }
    }

    /// Sets what metrics need: the wall time of the start, and from when on all stuck sockets are
    /// known. Before that, those that were stuck when the agent started would look like a sudden
    /// growth.
    #[must_use]
    pub fn for_metrics(self, start: Timestamp, stuck_known_from: Nanos) -> Self {
        let last = Snapshot {
            start,
            ..Arc::unwrap_or_clone(self.last)
        };
        Self {
            last: Arc::new(last),
            stuck_known_from,
            ..self
        }
    }

    /// Counts a finding.
    pub fn take(&mut self, finding: &Finding) {
        self.connections.take(finding);
    }

    /// Returns a snapshot within an interval.
    #[must_use]
    pub fn snapshot(&self, now: IntervalEnd, context: IntervalContext) -> Snapshot {
        let stuck = context.stuck.map(|stuck| self.connections.stuck_now(stuck));
        let rankings = self.last.rankings.clone();
        self.measure(now, context.opened, context.now, stuck, rankings)
    }

    /// Ends the interval, and begins the next.
    pub fn end_interval(&mut self, end: IntervalEnd, context: IntervalContext) -> Summary {
        let opened = context.opened;
        let has_usage = end.usage.is_some();
        let mut connections = self.connections.end_interval(end.at, context);
        connections.now.pressure.clone_from(&end.pressure);
        let now = Arc::new(self.measure(
            end,
            opened,
            connections.now.clone(),
            connections.stuck.clone(),
            Rankings::from(&connections),
        ));
        let before = std::mem::replace(&mut self.last, now.clone());
        let outputs: Vec<Output> = Output::all_since(&now.outputs, &before.outputs)
            .filter(|output| output.state != OutputState::Removed || output.did_something())
            .collect();
        let lost = outputs.iter().map(Output::lost).sum();
        connections.lost.add(LossLocation::Output, lost);
        Summary {
            connections,
            outputs,
            usage: has_usage.then(|| now.usage.since(&before.usage)),
            snapshots: Interval { before, now },
        }
    }

    fn measure(
        &self,
        now: IntervalEnd,
        opened: u64,
        gauges: Gauges,
        stuck: Option<StuckNow>,
        rankings: Rankings,
    ) -> Snapshot {
        let IntervalEnd {
            at,
            pressure,
            outputs,
            usage,
        } = now;
        Snapshot {
            start: self.last.start,
            at,
            totals: self.connections.totals().clone(),
            opened,
            gauges: Gauges { pressure, ..gauges },
            stuck: stuck.filter(|_| at >= self.stuck_known_from),
            rankings,
            outputs,
            usage: usage.unwrap_or_default(),
            // The agent knows.
            failed_threads: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tcpclose_core::summary::StuckCounts;
    use tcpclose_sys::kernel::program_stats::BpfRuns;

    fn end_of(second: u64) -> IntervalEnd {
        IntervalEnd {
            at: Nanos::from_secs(second),
            ..IntervalEnd::default()
        }
    }

    #[test]
    fn an_interval_has_only_what_outputs_and_tracer_did_in_it() {
        let mut summaries = Summaries::new(Nanos(0));
        let output = |written| Output {
            name: "stdout".into(),
            written,
            ..Output::default()
        };
        let usage = |cpu, runs| Usage {
            cpu: Nanos::from_secs(cpu),
            memory: 1_000 * cpu,
            bpf: Some(BpfRuns {
                count: runs,
                time: Nanos(runs * 300),
            }),
        };
        let first = IntervalEnd {
            outputs: vec![output(3)],
            usage: Some(usage(2, 100)),
            ..end_of(60)
        };
        summaries.end_interval(first, IntervalContext::default());
        let second = IntervalEnd {
            // One that was added while running has no past.
            outputs: vec![
                output(7),
                Output {
                    name: "journald".into(),
                    written: 2,
                    ..Output::default()
                },
            ],
            usage: Some(usage(5, 150)),
            ..end_of(120)
        };
        let second = summaries.end_interval(second, IntervalContext::default());
        let written: Vec<u64> = second.outputs.iter().map(|output| output.written).collect();
        assert_eq!(written, [4, 2]);
        let used = Usage {
            cpu: Nanos::from_secs(3),
            memory: 5_000,
            bpf: Some(BpfRuns {
                count: 50,
                time: Nanos(15_000),
            }),
        };
        assert_eq!(second.usage, Some(used));
    }

    #[test]
    fn of_each_output_every_record_is_accounted_for_in_every_interval() {
        let mut summaries = Summaries::new(Nanos(0));
        let mut end = |second, outputs: Vec<Output>| {
            let end = IntervalEnd {
                outputs,
                ..end_of(second)
            };
            summaries.end_interval(end, IntervalContext::default())
        };
        let output = Output {
            name: "journald".into(),
            offered: 10,
            written: 3,
            filtered: 1,
            cut: 1,
            dropped: 0,
            failed: 0,
            queued: 5,
            state: OutputState::Up,
        };
        let first = end(60, vec![output.clone()]);
        assert_eq!(first.outputs, std::slice::from_ref(&output));
        assert_eq!(first.connections.lost.of(LossLocation::Output), 0);
        // It was removed with five, and two that were offered meanwhile; one was refused.
        let removed = Output {
            offered: 12,
            written: 5,
            dropped: 4,
            failed: 1,
            queued: 0,
            state: OutputState::Removed,
            ..output
        };
        let second = end(120, vec![removed.clone()]);
        let told = &second.outputs[0];
        let Output {
            offered,
            written,
            filtered,
            cut,
            dropped,
            failed,
            queued,
            ..
        } = *told;
        assert_eq!((offered, written, dropped, failed, queued), (2, 2, 4, 1, 0));
        let accounted = written + filtered + cut + dropped + failed + queued;
        assert_eq!(first.outputs[0].queued + offered, accounted);
        assert_eq!(second.connections.lost.of(LossLocation::Output), 5);
        // From then on it has nothing to say.
        assert_eq!(end(180, vec![removed]).outputs, []);
    }

    #[test]
    fn an_interval_has_the_snapshots_at_both_of_its_ends() {
        let mut summaries = Summaries::new(Nanos(0)).for_metrics(Timestamp::MAX, Nanos(0));
        let mut end = |second, opened| {
            let context = IntervalContext {
                opened,
                ..IntervalContext::default()
            };
            summaries.end_interval(end_of(second), context).snapshots
        };
        let (first, second) = (end(60, 3), end(120, 8));
        assert_eq!((first.before.at, first.before.opened), (Nanos(0), 0));
        assert!(Arc::ptr_eq(&first.now, &second.before));
        assert_eq!(
            (second.now.at, second.now.opened),
            (Nanos::from_secs(120), 8)
        );
        assert_eq!(second.now.start, first.before.start);
        let now = summaries.snapshot(end_of(130), IntervalContext::default());
        assert_eq!(now.start, Timestamp::MAX);
    }

    #[test]
    fn snapshots_have_stuck_sockets_once_all_of_them_can_be_known() {
        let known_from = Nanos::from_secs(65);
        let mut summaries = Summaries::new(Nanos(0)).for_metrics(Timestamp::MIN, known_from);
        let context = || IntervalContext {
            stuck: Some(StuckCounts::default()),
            ..IntervalContext::default()
        };
        let summary = summaries.end_interval(end_of(60), context());
        assert!(summary.connections.stuck.is_some(), "the summary has them");
        assert_eq!(summary.snapshots.now.stuck, None);
        assert_eq!(summaries.snapshot(end_of(64), context()).stuck, None);
        let known = summaries.snapshot(end_of(65), context()).stuck;
        assert_eq!(known, Some(StuckNow::default()));
        let summary = summaries.end_interval(end_of(120), context());
        assert_eq!(summary.snapshots.now.stuck, Some(StuckNow::default()));
    }
}
