//! The Prometheus text format. docs/metrics.md says what each metric means.

mod family;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use prometheus::TextEncoder;
use prometheus::proto::MetricFamily;

use self::family::{Families, UNLABELLED};
use super::escape::push_for_terminal;
use crate::lifecycle::finding::{ClosePath, ResetReason};
use crate::lifecycle::leak::Verdict;
use crate::lifecycle::summary::{Output, Standing, StuckNow, StuckOwner, Totals, Tracer};
use crate::lifecycle::types::Nanos;

/// What Prometheus is told to read.
pub const CONTENT_TYPE: &str = prometheus::TEXT_FORMAT;

/// Series that each process name takes.
const SERIES_OF_PROCESS: usize = 2;

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
    pub now: Standing,
    /// What is stuck; `None` where nobody looks for that.
    pub stuck: Option<StuckNow>,
    /// What each output did since it was started.
    pub outputs: Vec<OutputState>,
    /// What the tracer has used since the start.
    pub tracer: Tracer,
}

/// One output.
#[derive(Clone, Debug, Default)]
pub struct OutputState {
    /// What it did.
    pub counts: Output,
    /// Records that wait for its receiver.
    pub queued: u64,
    /// Why it does not work; `None` when it does.
    pub outage: Option<String>,
}

/// Turns snapshots into text. It remembers which process names it has exported: never more than fit, so that the set of
/// labels stops growing.
#[derive(Debug)]
pub struct Exporter {
    max_series: usize,
    processes: BTreeSet<String>,
    dropped: u64,
}

impl Exporter {
    /// An exporter of at most so many series.
    #[must_use]
    pub fn new(max_series: usize) -> Self {
        Self {
            max_series,
            processes: BTreeSet::new(),
            dropped: 0,
        }
    }

    /// The text of a snapshot.
    ///
    /// # Errors
    /// None in practice: memory is written to, and every family has a name and a value.
    pub fn encode(&mut self, snapshot: &Snapshot) -> Result<String, prometheus::Error> {
        let mut families = Families::default();
        closes(&mut families, snapshot);
        states(&mut families, snapshot);
        losses(&mut families, snapshot);
        tracer(&mut families, snapshot);
        if let Some(stuck) = &snapshot.stuck {
            close_wait(&mut families, stuck, snapshot.at);
            // The counter itself is a series too.
            let room = self.max_series.saturating_sub(families.series() + 1);
            self.processes_of(&mut families, &stuck.owners, room / SERIES_OF_PROCESS);
        }
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

    /// Series with the names of processes: of those that had one first, whatever comes later.
    fn processes_of(&mut self, families: &mut Families, owners: &[StuckOwner], room: usize) {
        let mut stuck: BTreeMap<&str, (u64, Option<f64>)> = BTreeMap::new();
        let mut names = Vec::with_capacity(owners.len());
        for owner in owners {
            let mut name = String::new();
            push_for_terminal(&mut name, &owner.process.comm);
            if self.processes.contains(&name) || self.processes.len() < room {
                self.processes.insert(name.clone());
                names.push((name, owner));
            } else {
                self.dropped += SERIES_OF_PROCESS as u64;
            }
        }
        for name in &self.processes {
            stuck.insert(name, (0, None));
        }
        for (name, owner) in &names {
            let exhausted = owner.forecast.and_then(|forecast| forecast.exhausted_in);
            let seconds = exhausted.map(seconds);
            let (count, soonest) = stuck.entry(name).or_default();
            *count += owner.stuck;
            *soonest = [*soonest, seconds].into_iter().flatten().reduce(f64::min);
        }
        let labels: Vec<[(&str, &str); 1]> =
            stuck.keys().map(|name| [("process", *name)]).collect();
        let each = || labels.iter().map(<[_; 1]>::as_slice).zip(stuck.values());
        families.gauge(
            "tcpclose_process_close_wait_stuck",
            "Sockets stuck in CLOSE_WAIT, by the name of the process, of the ten processes with most.",
            each().map(|(labels, (count, _))| (labels, *count as f64)),
        );
        families.gauge(
            "tcpclose_process_descriptors_exhausted_seconds",
            "Time until stuck sockets take the last descriptor of a process of this name, at the rate of the last intervals.",
            each().filter_map(|(labels, (_, soonest))| Some((labels, (*soonest)?))),
        );
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
    let Standing {
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
            &totals.fin_wait2,
        ),
        (
            "tcpclose_close_wait_seconds",
            "Time in CLOSE_WAIT of the ends that closed.",
            &totals.close_wait,
        ),
        (
            "tcpclose_last_ack_seconds",
            "Time in LAST_ACK of the ends that closed.",
            &totals.last_ack,
        ),
        (
            "tcpclose_time_wait_seconds",
            "Time in TIME_WAIT, of the TIME_WAITs whose end is known.",
            &totals.time_wait,
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
    let leaks = verdicts.filter(|(verdict, _): &(Verdict, u64)| verdict.is_leak());
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
    let lost = snapshot.totals.lost.iter();
    families.counter(
        "tcpclose_events_lost_total",
        "What was lost, by place. Records that outputs dropped are in tcpclose_output_records_total.",
        lost.map(|(place, count)| ([("where", place.name())], count as f64)),
    );
    let outputs = &snapshot.outputs;
    let records = outputs.iter().flat_map(|output| {
        let Output {
            name,
            written,
            filtered,
            cut,
            dropped,
            failed,
        } = &output.counts;
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
    let of_each = |number: fn(&OutputState) -> f64| {
        outputs
            .iter()
            .map(move |output| ([("output", &*output.counts.name)], number(output)))
    };
    families.gauge(
        "tcpclose_output_queued_records",
        "Records that wait for the receiver of an output.",
        of_each(|output| output.queued as f64),
    );
    families.gauge(
        "tcpclose_output_up",
        "Whether an output works.",
        of_each(|output| f64::from(u8::from(output.outage.is_none()))),
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
