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
use crate::usage::Tracer;
use tcpclose_core::summary::StuckNow;
use tcpclose_sys::kernel::program_stats::BpfRuns;

/// The content type of the text.
pub const CONTENT_TYPE: &str = prometheus::TEXT_FORMAT;

/// Turns snapshots into text. It remembers which process names it has exported, so that none goes as soon as it is at 0,
/// and never exports more of them than fit.
#[derive(Debug)]
pub struct Exporter {
    max_series: usize,
    processes: ProcessNames,
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
    families(&snapshot).series_without_processes() + series_of_process() + 1
}

/// The most series that each process name takes.
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
    /// An exporter of at most so many series.
    #[must_use]
    pub fn new(max_series: usize) -> Self {
        Self {
            max_series,
            processes: ProcessNames::default(),
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
