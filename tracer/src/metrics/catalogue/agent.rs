//! The agent itself: lost events, its outputs, and the resources that it uses.

use crate::output_status::{OutputCounts, OutputState, OutputStatus};
use tcpclose_core::finding::LossLocation;
use tcpclose_core::types::Nanos;
use tcpclose_sys::kernel::program_stats::ProgramRunStats;

use super::points::{count, measured};
use crate::metrics::label::Label;
use crate::metrics::metric::{ExportFormat, Instrument, Metric, Points};
use crate::metrics::number::Number;
use crate::metrics::record_outcome::RecordOutcome;
use crate::metrics::snapshot::{FlightCounts, MetricsSnapshot};

/// Series that scrapes dropped.
pub(crate) const SERIES_DROPPED: Metric = Metric::new(
    "tcpclose.series.dropped",
    "{series}",
    "Series that scrapes dropped because there were more than max_series. Each scrape counts them \
     anew.",
    &[],
    Instrument::CountedByExporter,
)
.only_for(ExportFormat::Prometheus);

pub(super) const METRICS: &[Metric] = &[
    Metric::new(
        "tcpclose.events.lost",
        "{event}",
        "Events that should have been seen and were not, by where they were lost.",
        &["where"],
        Instrument::Counter(lost),
    ),
    Metric::new(
        "tcpclose.peers.unrecognized",
        "{connection}",
        "Connections whose other end may be on this host and was not recognized, because too many \
         were opened at the time.",
        &[],
        Instrument::Counter(|snapshot| count(snapshot.unjoined)),
    ),
    Metric::new(
        "tcpclose.output.records",
        "{record}",
        "Records that an output was offered, by what became of them.",
        &["output", "outcome"],
        Instrument::Counter(output_records),
    ),
    Metric::new(
        "tcpclose.output.queued_records",
        "{record}",
        "Records that wait for the receiver of an output.",
        &["output"],
        Instrument::Gauge(|snapshot| points_by_output(snapshot, |output| output.counts.queued)),
    ),
    Metric::new(
        "tcpclose.output.uncertain_records",
        "{record}",
        "Records that were sent and whose answer was lost: the receiver may have them once more.",
        &["output"],
        Instrument::Counter(|snapshot| {
            let outputs = snapshot.outputs.iter();
            let points = outputs.map(|output| {
                let labels = vec![Label::Output(output.name.clone())];
                (labels, Number::Count(output.counts.uncertain))
            });
            points.collect()
        }),
    ),
    Metric::new(
        "tcpclose.output.up",
        "{output}",
        "Whether an output works: 1 or 0.",
        &["output"],
        Instrument::Gauge(|snapshot| {
            points_by_output(snapshot, |output| {
                u64::from(output.state == OutputState::Up)
            })
        }),
    ),
    Metric::new(
        "tcpclose.state.writes",
        "{write}",
        "Writes of the state file, by what became of them; nothing without such a file.",
        &["outcome"],
        Instrument::Counter(state_writes),
    ),
    Metric::new(
        "tcpclose.state.left_out",
        "{connection}",
        "Connections that the last state file had no room for; nothing without such a file.",
        &[],
        Instrument::Gauge(|snapshot| {
            let state = snapshot.state.iter();
            state
                .map(|state| (Vec::new(), Number::Count(state.left_out)))
                .collect()
        }),
    ),
    Metric::new(
        "tcpclose.flight_recorder.entries",
        "{entry}",
        "Entries of the flight recorder, by what became of them; nothing without one.",
        &["outcome"],
        Instrument::Counter(flight_entries),
    ),
    Metric::new(
        "tcpclose.flight_recorder.size",
        "By",
        "What the flight recorder has on disk; nothing without one.",
        &[],
        Instrument::Gauge(|snapshot| flight_point(snapshot, |flight| flight.bytes)),
    ),
    Metric::new(
        "tcpclose.flight_recorder.overwritten",
        "{segment}",
        "Segments of the flight recorder that made room for later ones; nothing without one.",
        &[],
        Instrument::Counter(|snapshot| flight_point(snapshot, |flight| flight.overwritten)),
    ),
    Metric::new(
        "tcpclose.flight_recorder.left_out",
        "{connection}",
        "Connections that the last segment of the flight recorder had no room for at its \
         beginning; nothing without one.",
        &[],
        Instrument::Gauge(|snapshot| flight_point(snapshot, |flight| flight.left_out)),
    ),
    Metric::new(
        "process.start_time",
        "s",
        "When the agent started, since 1970: all counters were 0 then.",
        &[],
        Instrument::Gauge(|snapshot| measured(start_time(snapshot))),
    )
    .only_for(ExportFormat::Prometheus),
    Metric::new(
        "process.cpu",
        "s",
        "Processor time of the agent in user space and in the kernel, without its eBPF programs.",
        &[],
        Instrument::Counter(|snapshot| measured(Number::seconds(snapshot.usage.cpu))),
    ),
    Metric::new(
        "process.resident_memory",
        "By",
        "Resident memory of the agent.",
        &[],
        Instrument::Gauge(|snapshot| count(snapshot.usage.memory)),
    ),
    Metric::new(
        "tcpclose.bpf.run",
        "s",
        "Run time of the agent's eBPF programs, estimated from every 64th run.",
        &[],
        Instrument::Counter(|snapshot| bpf_points(snapshot, |bpf| Number::seconds(bpf.time))),
    ),
    Metric::new(
        "tcpclose.bpf.runs",
        "{run}",
        "Runs of the agent's eBPF programs.",
        &[],
        Instrument::Counter(|snapshot| bpf_points(snapshot, |bpf| Number::Count(bpf.count))),
    ),
    SERIES_DROPPED,
    Metric::new(
        "tcpclose.build_info",
        "{build}",
        "Always 1; the label is the agent's version.",
        &["version"],
        Instrument::Gauge(|_| vec![(vec![Label::Version], Number::Count(1))]),
    ),
];

/// What outputs lost is counted with their records.
fn lost(snapshot: &MetricsSnapshot) -> Points<Number> {
    let lost = snapshot.totals.lost.iter();
    let lost = lost.filter(|(location, _)| *location != LossLocation::Output);
    lost.map(|(location, count)| (vec![Label::Where(location)], Number::Count(count)))
        .collect()
}

fn output_records(snapshot: &MetricsSnapshot) -> Points<Number> {
    let points = snapshot.outputs.iter().flat_map(|output| {
        let OutputCounts {
            offered: _,
            written,
            filtered,
            rate_limited,
            dropped,
            failed,
            queued: _,
            uncertain: _,
        } = output.counts;
        let outcomes = [
            (RecordOutcome::Written, written),
            (RecordOutcome::Filtered, filtered),
            (RecordOutcome::RateLimited, rate_limited),
            (RecordOutcome::Dropped, dropped),
            (RecordOutcome::Failed, failed),
        ];
        outcomes.map(|(outcome, count)| {
            let labels = vec![Label::Output(output.name.clone()), Label::Outcome(outcome)];
            (labels, Number::Count(count))
        })
    });
    points.collect()
}

/// Returns one point for each output that has not been removed.
fn points_by_output(snapshot: &MetricsSnapshot, value: fn(&OutputStatus) -> u64) -> Points<Number> {
    let outputs = snapshot.outputs.iter();
    let present = outputs.filter(|output| output.state != OutputState::Removed);
    present
        .map(|output| {
            let labels = vec![Label::Output(output.name.clone())];
            (labels, Number::Count(value(output)))
        })
        .collect()
}

fn state_writes(snapshot: &MetricsSnapshot) -> Points<Number> {
    let writes = snapshot.state.iter().flat_map(|state| {
        [
            (RecordOutcome::Written, state.written),
            (RecordOutcome::Failed, state.failed),
        ]
    });
    writes
        .map(|(outcome, count)| (vec![Label::Outcome(outcome)], Number::Count(count)))
        .collect()
}

fn flight_entries(snapshot: &MetricsSnapshot) -> Points<Number> {
    let entries = snapshot.flight.iter().flat_map(|flight| {
        [
            (RecordOutcome::Written, flight.written),
            (RecordOutcome::Dropped, flight.dropped),
            (RecordOutcome::Failed, flight.failed),
        ]
    });
    entries
        .map(|(outcome, count)| (vec![Label::Outcome(outcome)], Number::Count(count)))
        .collect()
}

fn flight_point(snapshot: &MetricsSnapshot, value: fn(&FlightCounts) -> u64) -> Points<Number> {
    let flight = snapshot.flight.iter();
    flight
        .map(|flight| (Vec::new(), Number::Count(value(flight))))
        .collect()
}

fn start_time(snapshot: &MetricsSnapshot) -> Number {
    let since_1970 = snapshot.start.as_nanosecond().try_into();
    Number::seconds(Nanos(since_1970.unwrap_or(0)))
}

/// Returns no point where the runs cannot be read.
fn bpf_points(snapshot: &MetricsSnapshot, value: fn(&ProgramRunStats) -> Number) -> Points<Number> {
    let bpf = snapshot.usage.bpf.iter();
    bpf.map(|bpf| (Vec::new(), value(bpf))).collect()
}
