//! All metrics. A scrape without room for all of them drops the last ones.

mod agent;
mod closes;
mod processes;
mod states;
mod stuck;

use std::net::IpAddr;

use tcpclose_core::summary::Ranking;

use super::{Consumer, Label, Measure, Merge, Metric, Number, Points, Snapshot};

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

/// The unit of counts of connection ends.
const CONNECTIONS: &str = "{connection}";

/// The unit of their growth.
const CONNECTIONS_PER_SECOND: &str = "{connection}/s";

/// Returns the only point of a count without labels.
fn count(count: u64) -> Points<Number> {
    vec![(Vec::new(), Number::Count(count))]
}

/// Returns the only point of a measurement without labels.
fn measured(number: Number) -> Points<Number> {
    vec![(Vec::new(), number)]
}

fn peers(ranking: &Ranking<IpAddr>) -> Points<Number> {
    let peers = ranking.most.iter();
    peers
        .map(|(peer, count)| (vec![Label::PeerAddress(*peer)], Number::Count(*count)))
        .collect()
}
