//! Units and points that several topics have.

use std::net::IpAddr;

use tcpclose_core::summary::{CountKey, Counts, Ranking};

use crate::metrics::label::Label;
use crate::metrics::metric::{Labels, Points};
use crate::metrics::number::Number;

/// The unit of counts of endpoints.
pub(super) const CONNECTIONS: &str = "{connection}";

/// The unit of their growth.
pub(super) const CONNECTIONS_PER_SECOND: &str = "{connection}/s";

/// Returns the only point of a count without labels.
pub(super) fn count(count: u64) -> Points<Number> {
    vec![(Vec::new(), Number::Count(count))]
}

/// Returns a point for each kind of what is counted.
pub(super) fn counts<K: CountKey>(
    counts: &Counts<K>,
    labels: impl Fn(K) -> Labels,
) -> Points<Number> {
    let counts = counts.iter();
    counts
        .map(|(kind, count)| (labels(kind), Number::Count(count)))
        .collect()
}

/// Returns the only point of a measurement without labels.
pub(super) fn measured(number: Number) -> Points<Number> {
    vec![(Vec::new(), number)]
}

/// Returns a point for each peer of a ranking.
pub(super) fn peers(ranking: &Ranking<IpAddr>) -> Points<Number> {
    let peers = ranking.top.iter();
    peers
        .map(|(peer, count)| (vec![Label::PeerAddress(*peer)], Number::Count(*count)))
        .collect()
}
