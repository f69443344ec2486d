//! Summaries of intervals: what the core has counted, with what the outputs did and what the tracer itself used.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use tcpclose_core::finding::{Finding, LossLocation};
use tcpclose_core::summary::{self, IntervalContext, Pressure, StuckCounts, StuckNow, Totals};
use tcpclose_core::types::Nanos;
use tcpclose_sys::kernel::program_stats::BpfRuns;

/// What an interval was like, and how things stand at its end.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// The connections of the interval. Losses include what outputs lost.
    pub connections: summary::Summary,
    /// What each output did in the interval.
    pub outputs: Vec<Output>,
    /// What the tracer itself used in the interval; `None` where nobody measures that.
    pub tracer: Option<Tracer>,
}

/// Where one interval ends and the next begins, and what only the host could tell then. Counts are from the start.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct IntervalEnd {
    /// When the interval ended.
    pub at: Nanos,
    /// Where most ephemeral ports are in use.
    pub pressure: Vec<Pressure>,
    /// What each output did.
    pub outputs: Vec<Output>,
    /// What the tracer used.
    pub tracer: Option<Tracer>,
}

/// Takes findings, gives summaries.
#[derive(Debug)]
pub struct Summaries {
    connections: summary::Summaries,
    /// What the outputs had done when the interval began.
    outputs: Vec<Output>,
    /// What the tracer had used when the interval began.
    tracer: Tracer,
}

impl Summaries {
    /// Begins the first interval.
    #[must_use]
    pub fn new(at: Nanos) -> Self {
        Self {
            connections: summary::Summaries::new(at),
            outputs: Vec::new(),
            tracer: Tracer::default(),
        }
    }

    /// Counts a finding.
    pub fn take(&mut self, finding: &Finding) {
        self.connections.take(finding);
    }

    /// Returns what has been counted since the start.
    #[must_use]
    pub fn totals(&self) -> &Totals {
        self.connections.totals()
    }

    /// Returns what is stuck, with the growth over the intervals that are over.
    #[must_use]
    pub fn stuck_now(&self, counts: StuckCounts) -> StuckNow {
        self.connections.stuck_now(counts)
    }

    /// Ends the interval, and begins the next.
    pub fn end_interval(&mut self, end: IntervalEnd, mut context: IntervalContext) -> Summary {
        let IntervalEnd {
            at,
            pressure,
            outputs,
            tracer,
        } = end;
        context.now.pressure = pressure;
        let mut connections = self.connections.end_interval(at, context);
        let before_outputs = std::mem::replace(&mut self.outputs, outputs.clone());
        let before = |output: &Output| {
            let mut earlier = before_outputs.iter();
            earlier
                .find(|earlier| earlier.name == output.name)
                .cloned()
                .unwrap_or_default()
        };
        let outputs: Vec<Output> = outputs
            .iter()
            .map(|output| output.since(&before(output)))
            .filter(|output| output.state != OutputState::Removed || output.did_something())
            .collect();
        let lost = outputs.iter().map(Output::lost).sum();
        connections.lost.add(LossLocation::Output, lost);
        let before = std::mem::replace(&mut self.tracer, tracer.unwrap_or_default());
        Summary {
            connections,
            outputs,
            tracer: tracer.map(|tracer| tracer.since(&before)),
        }
    }
}

/// What an output did with the findings that were offered to it, and how it does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// Its name.
    pub name: Arc<str>,
    /// Offered to it, and losses that it told of itself: from the start on the sum of the following, and of `queued`.
    pub offered: u64,
    /// Written.
    pub written: u64,
    /// Not wanted by its filter.
    pub filtered: u64,
    /// Cut by its rate limit.
    pub cut: u64,
    /// Dropped, as its queue was full, or as it was given up with them.
    pub dropped: u64,
    /// Given up after errors.
    pub failed: u64,
    /// Waiting for its receiver, now.
    pub queued: u64,
    /// How it does, now.
    pub state: OutputState,
}

/// How an output does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum OutputState {
    /// It works.
    #[default]
    Up,
    /// It does not.
    Down {
        /// Since when.
        since: Nanos,
        /// Why.
        reason: String,
    },
    /// The configuration has it no more.
    Removed,
}

impl Output {
    /// What has come since `earlier`. Its counts only ever grow, whatever becomes of its configuration.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            offered: self.offered.saturating_sub(earlier.offered),
            written: self.written.saturating_sub(earlier.written),
            filtered: self.filtered.saturating_sub(earlier.filtered),
            cut: self.cut.saturating_sub(earlier.cut),
            dropped: self.dropped.saturating_sub(earlier.dropped),
            failed: self.failed.saturating_sub(earlier.failed),
            ..self.clone()
        }
    }

    /// Whether anything became of any record.
    #[must_use]
    pub fn did_something(&self) -> bool {
        self.offered + self.written + self.filtered + self.cut + self.lost() > 0
    }

    /// What of it is lost.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.dropped + self.failed
    }
}

/// What the tracer costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tracer {
    /// Processor time of the process, its own and the kernel's for it.
    pub cpu: Nanos,
    /// Resident memory in bytes, now.
    pub memory: u64,
    /// Runs of the eBPF programs; `None` where the kernel does not count them.
    pub bpf: Option<BpfRuns>,
}

impl Tracer {
    /// What has been used since `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            cpu: self.cpu - earlier.cpu,
            memory: self.memory,
            bpf: self.bpf.map(|bpf| {
                let before = earlier.bpf.unwrap_or_default();
                BpfRuns {
                    count: bpf.count.saturating_sub(before.count),
                    time: bpf.time - before.time,
                }
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let tracer = |cpu, runs| Tracer {
            cpu: Nanos::from_secs(cpu),
            memory: 1_000 * cpu,
            bpf: Some(BpfRuns {
                count: runs,
                time: Nanos(runs * 300),
            }),
        };
        let first = IntervalEnd {
            outputs: vec![output(3)],
            tracer: Some(tracer(2, 100)),
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
            tracer: Some(tracer(5, 150)),
            ..end_of(120)
        };
        let second = summaries.end_interval(second, IntervalContext::default());
        let written: Vec<u64> = second.outputs.iter().map(|output| output.written).collect();
        assert_eq!(written, [4, 2]);
        let used = Tracer {
            cpu: Nanos::from_secs(3),
            memory: 5_000,
            bpf: Some(BpfRuns {
                count: 50,
                time: Nanos(15_000),
            }),
        };
        assert_eq!(second.tracer, Some(used));
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
}
