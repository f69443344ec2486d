//! All metrics. A scrape without room for all of them drops the last ones.

mod agent;
mod closes;
mod points;
mod processes;
mod states;
mod stuck;

use super::metric::Metric;

pub(crate) use agent::SERIES_DROPPED;

/// All metrics, by topic.
pub const CATALOGUE: &[Section] = &[
    Section {
        name: "closes",
        metrics: closes::METRICS,
    },
    Section {
        name: "agent",
        metrics: agent::METRICS,
    },
    Section {
        name: "stuck",
        metrics: stuck::METRICS,
    },
    Section {
        name: "states",
        metrics: states::METRICS,
    },
    Section {
        name: "processes",
        metrics: processes::METRICS,
    },
];

/// Metrics of one topic.
#[derive(Debug)]
pub struct Section {
    /// The name by which docs/metrics.md marks the table.
    pub name: &'static str,
    /// Its metrics.
    pub metrics: &'static [Metric],
}
