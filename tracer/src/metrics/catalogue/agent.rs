//! The agent itself: lost events, its outputs, and the resources that it uses.

use crate::output::state::{Output, OutputState};
use tcpclose_core::finding::LossLocation;
use tcpclose_sys::kernel::program_stats::BpfRuns;

use super::points::{count, measured};
use crate::metrics::label::Label;
use crate::metrics::metric::{Consumer, Measure, Metric, Points};
use crate::metrics::number::Number;
use crate::metrics::snapshot::{Outcome, Snapshot};

/// Series that scrapes dropped.
pub(crate) const SERIES_DROPPED: Metric = Metric::new(
    "tcpclose.series.dropped",
    "{series}",
    "Series that scrapes dropped because there were more than max_series. Each scrape counts them \
     anew.",
    &[],
    Measure::CountedByConsumer,
)
.only_for(Consumer::Prometheus);

pub(super) const METRICS: &[Metric] = &[
    Metric::new(
        "tcpclose.events.lost",
        "{event}",
        "Events that should have been seen and were not, by where they were lost.",
        &["where"],
        Measure::Counter(lost),
    ),
    Metric::new(
        "tcpclose.output.records",
        "{record}",
        "Records that an output was offered, by what became of them.",
        &["output", "outcome"],
        Measure::Counter(output_records),
    ),
    Metric::new(
        "tcpclose.output.queued_records",
        "{record}",
        "Records that wait for the receiver of an output.",
        &["output"],
        Measure::Gauge(|snapshot| of_outputs(snapshot, |output| output.queued)),
    ),
    Metric::new(
        "tcpclose.output.up",
        "{output}",
        "Whether an output works: 1 or 0.",
        &["output"],
        Measure::Gauge(|snapshot| {
            of_outputs(snapshot, |output| {
                u64::from(output.state == OutputState::Up)
            })
        }),
    ),
    Metric::new(
        "process.cpu",
        "s",
        "Processor time of the agent in user space and in the kernel, without its eBPF programs.",
        &[],
        Measure::Counter(|snapshot| measured(Number::seconds(snapshot.usage.cpu))),
    ),
    Metric::new(
        "process.resident_memory",
        "By",
        "Resident memory of the agent.",
        &[],
        Measure::Gauge(|snapshot| count(snapshot.usage.memory)),
    ),
    Metric::new(
        "tcpclose.bpf.run",
        "s",
        "Run time of the agent's eBPF programs, estimated from every 64th run.",
        &[],
        Measure::Counter(|snapshot| of_bpf(snapshot, |bpf| Number::seconds(bpf.time))),
    ),
    Metric::new(
        "tcpclose.bpf.runs",
        "{run}",
        "Runs of the agent's eBPF programs.",
        &[],
        Measure::Counter(|snapshot| of_bpf(snapshot, |bpf| Number::Count(bpf.count))),
    ),
    SERIES_DROPPED,
    Metric::new(
        "tcpclose.build_info",
        "{build}",
        "Always 1; the label is the agent's version.",
        &["version"],
        Measure::Gauge(|_| vec![(vec![Label::Version], Number::Count(1))]),
    ),
];

/// What outputs lost is counted with their records.
fn lost(snapshot: &Snapshot) -> Points<Number> {
    let lost = snapshot.totals.lost.iter();
    let lost = lost.filter(|(location, _)| *location != LossLocation::Output);
    lost.map(|(location, count)| (vec![Label::Where(location)], Number::Count(count)))
        .collect()
}

fn output_records(snapshot: &Snapshot) -> Points<Number> {
    let points = snapshot.outputs.iter().flat_map(|output| {
        let Output {
            name,
            offered: _,
            written,
            filtered,
            cut,
            dropped,
            failed,
            queued: _,
            state: _,
        } = output;
        let outcomes = [
            (Outcome::Written, written),
            (Outcome::Filtered, filtered),
            (Outcome::Cut, cut),
            (Outcome::Dropped, dropped),
            (Outcome::Failed, failed),
        ];
        outcomes.map(|(outcome, count)| {
            let labels = vec![Label::Output(name.clone()), Label::Outcome(outcome)];
            (labels, Number::Count(*count))
        })
    });
    points.collect()
}

/// Returns one point for each output that has not been removed.
fn of_outputs(snapshot: &Snapshot, value: fn(&Output) -> u64) -> Points<Number> {
    let outputs = snapshot.outputs.iter();
    let present = outputs.filter(|output| output.state != OutputState::Removed);
    present
        .map(|output| {
            let labels = vec![Label::Output(output.name.clone())];
            (labels, Number::Count(value(output)))
        })
        .collect()
}

/// Returns no point where the runs cannot be read.
fn of_bpf(snapshot: &Snapshot, value: fn(&BpfRuns) -> Number) -> Points<Number> {
    let bpf = snapshot.usage.bpf.iter();
    bpf.map(|bpf| (Vec::new(), value(bpf))).collect()
}
