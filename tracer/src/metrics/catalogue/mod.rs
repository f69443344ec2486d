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
pub const CATALOGUE: &[CatalogueSection] = &[
    CatalogueSection {
        name: "closes",
        metrics: closes::METRICS,
    },
    CatalogueSection {
        name: "agent",
        metrics: agent::METRICS,
    },
    CatalogueSection {
        name: "stuck",
        metrics: stuck::METRICS,
    },
    CatalogueSection {
        name: "states",
        metrics: states::METRICS,
    },
    CatalogueSection {
        name: "processes",
        metrics: processes::METRICS,
    },
];

/// Metrics of one topic.
#[derive(Debug)]
pub struct CatalogueSection {
    /// The name by which docs/metrics.md marks the table.
    pub name: &'static str,
    /// The metrics of the family.
    pub metrics: &'static [Metric],
}
