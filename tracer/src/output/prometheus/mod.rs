//! The [metrics] in Prometheus' text format.
//!
//! [metrics]: crate::metrics

mod family;
mod processes;
#[cfg(test)]
mod tests;

use std::fmt;

use prometheus::TextEncoder;

use self::family::Families;
use self::processes::ProcessNames;
use crate::cgroup_names::CgroupNames;
use crate::metrics::{
    self, CATALOGUE, FlightCounts, MetricsSnapshot, Number, SERIES_DROPPED, StateWrites,
    Visitor as _,
};
use crate::output_status::OutputStatus;
use crate::usage::Usage;
use tcpclose_core::summary::{CONNECTION_STATES, StuckSummary};
use tcpclose_sys::kernel::program_stats::ProgramRunStats;

/// The content type of the text.
pub const CONTENT_TYPE: &str = prometheus::TEXT_FORMAT;

/// Turns snapshots into text. It remembers which names of processes it has exported, so that a
/// series does not vanish as soon as it is at 0, and never exports more series than are allowed.
pub struct Exporter {
    max_series: usize,
    cgroups: Box<dyn CgroupNames>,
    processes: ProcessNames,
    dropped: u64,
}

/// Returns how many series there are with so many outputs, and local ports whose connections are
/// counted by state, before any process has a name.
#[must_use]
pub fn fixed_series(outputs: usize, local_ports: usize) -> usize {
    let snapshot = MetricsSnapshot {
        stuck: Some(StuckSummary::default()),
        outputs: vec![OutputStatus::default(); outputs],
        state: Some(StateWrites::default()),
        flight: Some(FlightCounts::default()),
        usage: Usage {
            bpf: Some(ProgramRunStats::default()),
            ..Usage::default()
        },
        ..MetricsSnapshot::default()
    };
    // Those of all `other` processes, and the counter of dropped series.
    families(&snapshot).series_without_processes()
        + local_ports * CONNECTION_STATES.len()
        + series_of_process()
        + 1
}

/// Returns how many series each name of a process takes at most.
fn series_of_process() -> usize {
    let all = CATALOGUE.iter().flat_map(|section| section.metrics);
    let named = all.filter(|metric| metric.names_processes());
    // An idle timeout of this host, and one of its peers.
    named
        .map(|metric| 1 + usize::from(metric.labels.contains(&"initiator")))
        .sum()
}

fn families(snapshot: &MetricsSnapshot) -> Families {
    let mut families = Families::default();
    metrics::visit(snapshot, &mut families);
    families
}

impl fmt::Debug for Exporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exporter")
            .field("max_series", &self.max_series)
            .field("dropped", &self.dropped)
            .finish_non_exhaustive()
    }
}

impl Exporter {
    /// Makes an exporter of at most so many series. `cgroups` finds the units and containers of
    /// processes.
    #[must_use]
    pub fn new(max_series: usize, cgroups: Box<dyn CgroupNames>) -> Self {
        Self {
            max_series,
            cgroups,
            processes: ProcessNames::default(),
            dropped: 0,
        }
    }

    /// Returns the metrics of a snapshot as text. Reads files to find the names of units and
    /// containers.
    ///
    /// # Errors
    /// None in practice: the text goes to memory, and every family has a name and a value.
    pub fn encode(&mut self, snapshot: &MetricsSnapshot) -> Result<String, prometheus::Error> {
        let mut snapshot = snapshot.clone();
        snapshot.look_up_locations(self.cgroups.as_mut());
        let mut families = families(&snapshot);
        // The counter of dropped series takes one, and all other processes take those of a name.
        let room = self
            .max_series
            .saturating_sub(families.series_without_processes() + 1);
        let room = (room / series_of_process()).saturating_sub(1);
        let names = families.process_names();
        let unnamed = self.processes.update(&names, snapshot.at, room);
        self.dropped += (unnamed * series_of_process()) as u64;
        for (metric, points) in families.process_families() {
            self.processes.apply(metric, points);
        }
        self.dropped += families.cut(self.max_series.saturating_sub(1));
        families.numbers(
            &SERIES_DROPPED,
            vec![(Vec::new(), Number::Count(self.dropped))],
        );
        TextEncoder::new().encode_to_string(&families.encoded())
    }
}
