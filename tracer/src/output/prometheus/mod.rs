//! The Prometheus text format. docs/metrics.md says what each metric means.

mod family;
mod processes;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use prometheus::TextEncoder;
use prometheus::proto::MetricFamily;

use self::family::{Families, UNLABELLED};
pub use self::processes::Busiest;
use tcpclose_core::finding::{ClosePath, LossLocation, ResetReason};
use tcpclose_core::stuck::Verdict;
use tcpclose_core::summary::{BpfRuns, Gauges, Output, OutputState, StuckNow, Totals, Tracer};
use tcpclose_core::types::Nanos;

/// What Prometheus is told to read.
pub const CONTENT_TYPE: &str = prometheus::TEXT_FORMAT;

/// Series that each process name takes.
const SERIES_OF_PROCESS: usize = 5;

/// Everything that is exported, at one moment.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// When.
    pub at: Nanos,
    /// What has been counted since the start.
    pub totals: Totals,
    /// Ends that became established since the start.
    pub opened: u64,
    /// How things stand.
    pub now: Gauges,
    /// What is stuck; `None` where nobody looks for that.
    pub stuck: Option<StuckNow>,
    /// Whose ends closed and were reset most in the last interval.
    pub busiest: Busiest,
    /// What each output did since the start.
    pub outputs: Vec<Output>,
    /// What the tracer has used since the start.
    pub tracer: Tracer,
}

/// Turns snapshots into text. It remembers which process names it has exported, so that none goes as soon as it is at 0,
/// and never exports more of them than fit.
#[derive(Debug)]
pub struct Exporter {
    max_series: usize,
    /// With when each had something last.
    processes: BTreeMap<String, Nanos>,
    dropped: u64,
}

/// The series that there are with so many outputs, without any names of processes.
#[must_use]
pub fn fixed_series(outputs: usize) -> usize {
    let snapshot = Snapshot {
        stuck: Some(StuckNow::default()),
        outputs: vec![Output::default(); outputs],
        tracer: Tracer {
            bpf: Some(BpfRuns::default()),
            ..Tracer::default()
        },
        ..Snapshot::default()
    };
    // Those of `other` processes, and the counter of what is left out.
    families(&snapshot).series() + SERIES_OF_PROCESS + 1
}

/// All but those with names of processes.
fn families(snapshot: &Snapshot) -> Families {
    let mut families = Families::default();
    closes(&mut families, snapshot);
    losses(&mut families, snapshot);
    tracer(&mut families, snapshot);
    if let Some(stuck) = &snapshot.stuck {
        close_wait(&mut families, stuck, snapshot.at);
    }
    states(&mut families, snapshot);
    families
}

impl Exporter {
    /// An exporter of at most so many series.
    #[must_use]
    pub fn new(max_series: usize) -> Self {
        Self {
            max_series,
            processes: BTreeMap::new(),
            dropped: 0,
        }
    }

    /// The text of a snapshot.
    ///
    /// # Errors
    /// None in practice: memory is written to, and every family has a name and a value.
    pub fn encode(&mut self, snapshot: &Snapshot) -> Result<String, prometheus::Error> {
        let mut families = families(snapshot);
        // The counter itself is a series too, and others than the named have their own.
        let room = self.max_series.saturating_sub(families.series() + 1);
        let room = (room / SERIES_OF_PROCESS).saturating_sub(1);
        self.processes_of(&mut families, snapshot, room);
        let left_out = families.cut(self.max_series.saturating_sub(1));
        self.dropped += left_out;
        families.counter(
            "tcpclose_series_dropped_total",
            "Series left out of scrapes, as there were more than max_series.",
            [(UNLABELLED, self.dropped as f64)],
        );
        let families: Vec<MetricFamily> = families.into();
        TextEncoder::new().encode_to_string(&families)
    }
}

fn closes(families: &mut Families, snapshot: &Snapshot) {
    let Snapshot { totals, opened, .. } = snapshot;
    families.counter(
        "tcpclose_opened_total",
        "Connection ends that became established.",
        [(UNLABELLED, *opened as f64)],
    );
    let labels = totals.closes.iter().map(|((path, initiator), count)| {
        let labels = [("path", path.name()), ("initiator", initiator.name())];
        (labels, count as f64)
    });
    families.counter(
        "tcpclose_closes_total",
        "Connection ends that closed, by the path they took and who sent the first FIN or RST.",
        labels,
    );
    let labels = totals.resets.iter().map(|((by, reason), count)| {
        let reason = reason.map_or(ClosePath::Unknown.name(), ResetReason::name);
        ([("by", by.name()), ("reason", reason)], count as f64)
    });
    families.counter(
        "tcpclose_resets_total",
        "Connection ends that were reset, by who sent the RST and why.",
        labels,
    );
    let ends = totals.time_wait_ends.iter();
    families.counter(
        "tcpclose_time_wait_ends_total",
        "TIME_WAITs that are over, by how they ended.",
        ends.map(|(end, count)| ([("end", end.name())], count as f64)),
    );
}

fn states(families: &mut Families, snapshot: &Snapshot) {
    let Snapshot { totals, now, .. } = snapshot;
    let Gauges {
        live,
        waiting_for_fin,
        time_wait,
        pressure,
    } = now;
    for (name, help, number) in [
        (
            "tcpclose_live_connections",
            "Live connection ends, without TIME_WAIT.",
            *live,
        ),
        (
            "tcpclose_waiting_for_fin_connections",
            "Connection ends that their process has closed and that wait for the peer's FIN.",
            *waiting_for_fin,
        ),
        (
            "tcpclose_time_wait_connections",
            "Connection ends in TIME_WAIT.",
            *time_wait,
        ),
    ] {
        families.gauge(name, help, [(UNLABELLED, number as f64)]);
    }
    let busiest = pressure.first().map_or(0.0, |pressure| pressure.share());
    families.gauge(
        "tcpclose_ephemeral_ports_used_ratio",
        "Share of the ephemeral ports that is in use to the peer with most, live and in TIME_WAIT, as of the last interval.",
        [(UNLABELLED, busiest)],
    );
    for (name, help, histogram) in [
        (
            "tcpclose_fin_wait2_seconds",
            "Time in FIN_WAIT2 of the ends that closed.",
            &totals.durations.fin_wait2,
        ),
        (
            "tcpclose_close_wait_seconds",
            "Time in CLOSE_WAIT of the ends that closed.",
            &totals.durations.close_wait,
        ),
        (
            "tcpclose_last_ack_seconds",
            "Time in LAST_ACK of the ends that closed.",
            &totals.durations.last_ack,
        ),
        (
            "tcpclose_time_wait_seconds",
            "Time in TIME_WAIT, of the TIME_WAITs whose end is known.",
            &totals.durations.time_wait,
        ),
    ] {
        families.histogram(name, help, histogram);
    }
}

fn close_wait(families: &mut Families, stuck: &StuckNow, at: Nanos) {
    families.gauge(
        "tcpclose_close_wait_stuck",
        "Sockets stuck in CLOSE_WAIT.",
        [(UNLABELLED, stuck.total() as f64)],
    );
    let verdicts = stuck.verdicts.iter();
    let leaks = verdicts.filter(|(verdict, _): &(Verdict, u64)| verdict.is_stuck());
    families.gauge(
        "tcpclose_close_wait_stuck_verdicts",
        "Sockets stuck in CLOSE_WAIT, by what their process has not done.",
        leaks.map(|(verdict, count)| ([("verdict", verdict.name())], count as f64)),
    );
    let oldest = stuck.oldest.map_or(0.0, |since| seconds(at - since));
    families.gauge(
        "tcpclose_close_wait_oldest_seconds",
        "Age of the socket that is stuck in CLOSE_WAIT for longest; 0 where none is.",
        [(UNLABELLED, oldest)],
    );
}

fn losses(families: &mut Families, snapshot: &Snapshot) {
    // What outputs lost has its own counter, by output.
    let lost = snapshot.totals.lost.iter();
    let lost = lost.filter(|(location, _)| *location != LossLocation::Output);
    families.counter(
        "tcpclose_events_lost_total",
        "What was lost, by place. Records that outputs dropped are in tcpclose_output_records_total.",
        lost.map(|(location, count)| ([("where", location.name())], count as f64)),
    );
    let outputs = &snapshot.outputs;
    let records = outputs.iter().flat_map(|output| {
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
        [
            ("written", written),
            ("filtered", filtered),
            ("cut", cut),
            ("dropped", dropped),
            ("failed", failed),
        ]
        .map(|(outcome, count)| ([("output", &**name), ("outcome", outcome)], *count as f64))
    });
    families.counter(
        "tcpclose_output_records_total",
        "Records that an output was offered, by what became of them.",
        records,
    );
    let of_each = |number: fn(&Output) -> f64| {
        let present = outputs.iter();
        let present = present.filter(|output| output.state != OutputState::Removed);
        present.map(move |output| ([("output", &*output.name)], number(output)))
    };
    families.gauge(
        "tcpclose_output_queued_records",
        "Records that wait for the receiver of an output.",
        of_each(|output| output.queued as f64),
    );
    families.gauge(
        "tcpclose_output_up",
        "Whether an output works.",
        of_each(|output| f64::from(u8::from(output.state == OutputState::Up))),
    );
}

fn tracer(families: &mut Families, snapshot: &Snapshot) {
    let Tracer { cpu, memory, bpf } = snapshot.tracer;
    families.counter(
        "process_cpu_seconds_total",
        "Processor time of the agent, in user space and in the kernel.",
        [(UNLABELLED, seconds(cpu))],
    );
    families.gauge(
        "process_resident_memory_bytes",
        "Resident memory of the agent.",
        [(UNLABELLED, memory as f64)],
    );
    if let Some(bpf) = bpf {
        families.counter(
            "tcpclose_bpf_run_seconds_total",
            "Time that the agent's eBPF programs ran in the kernel.",
            [(UNLABELLED, seconds(bpf.time))],
        );
        families.counter(
            "tcpclose_bpf_runs_total",
            "Runs of the agent's eBPF programs.",
            [(UNLABELLED, bpf.count as f64)],
        );
    }
    families.gauge(
        "tcpclose_build_info",
        "Always 1; the label is the agent's version.",
        [([("version", env!("CARGO_PKG_VERSION"))], 1.0)],
    );
}

fn seconds(span: Nanos) -> f64 {
    span.0 as f64 / 1e9
}
