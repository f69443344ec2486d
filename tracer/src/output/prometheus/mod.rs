//! The [metrics] in Prometheus' text format.
//!
//! [metrics]: crate::metrics

mod family;
mod processes;
#[cfg(test)]
mod tests;

use prometheus::TextEncoder;

use self::family::Families;
use self::processes::ProcessNames;
use crate::metrics::{self, CATALOGUE, Number, SERIES_DROPPED, Snapshot, Visitor as _};
use crate::output::state::Output;
use crate::usage::Usage;
use tcpclose_core::summary::StuckNow;
use tcpclose_sys::kernel::program_stats::BpfRuns;

/// The content type of the text.
pub const CONTENT_TYPE: &str = prometheus::TEXT_FORMAT;

/// Turns snapshots into text. It remembers which names of processes it has exported, so that a
/// series does not vanish as soon as it is at 0, and never exports more series than are allowed.
#[derive(Debug)]
pub struct Exporter {
    max_series: usize,
    processes: ProcessNames,
    dropped: u64,
}

/// Returns how many series there are with so many outputs before any process has a name.
#[must_use]
pub fn fixed_series(outputs: usize) -> usize {
    let snapshot = Snapshot {
        stuck: Some(StuckNow::default()),
        outputs: vec![Output::default(); outputs],
        usage: Usage {
            bpf: Some(BpfRuns::default()),
            ..Usage::default()
        },
        ..Snapshot::default()
    };
    // Those of all `other` processes, and the counter of dropped series.
    families(&snapshot).series_without_processes() + series_of_process() + 1
}

/// Returns how many series each name of a process takes at most.
fn series_of_process() -> usize {
    let all = CATALOGUE.iter().flat_map(|section| section.metrics);
    all.filter(|metric| metric.names_processes()).count()
}

fn families(snapshot: &Snapshot) -> Families {
    let mut families = Families::default();
    metrics::visit(snapshot, &mut families);
    families
}

impl Exporter {
    /// Makes an exporter of at most so many series.
    #[must_use]
    pub fn new(max_series: usize) -> Self {
        Self {
            max_series,
            processes: ProcessNames::default(),
            dropped: 0,
        }
    }

    /// Returns the metrics of a snapshot as text.
    ///
    /// # Errors
    /// None in practice: the text goes to memory, and every family has a name and a value.
    pub fn encode(&mut self, snapshot: &Snapshot) -> Result<String, prometheus::Error> {
        let mut families = families(snapshot);
        // The counter of dropped series takes one, and all other processes take those of a name.
        let room = self
            .max_series
            .saturating_sub(families.series_without_processes() + 1);
        let room = (room / series_of_process()).saturating_sub(1);
        let titles = families.process_titles();
        let unnamed = self.processes.update(&titles, snapshot.at, room);
        self.dropped += (unnamed * series_of_process()) as u64;
        for (metric, points) in families.of_processes() {
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
