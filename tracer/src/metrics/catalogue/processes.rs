//! The processes and peers with most closes and resets.

use tcpclose_core::summary::{Ranking, Service};

use super::points::{CONNECTIONS, peers};
use crate::metrics::label::{Label, PROCESS, ProcessTitle};
use crate::metrics::metric::{Consumer, Measure, Metric, Points};
use crate::metrics::number::Number;

pub(super) const METRICS: &[Metric] = &[
    Metric::new(
        "tcpclose.process.closes",
        CONNECTIONS,
        "Connection ends that closed in the last interval, of the ten processes with most of them. \
         All others are `other`.",
        &[PROCESS],
        Measure::Gauge(|snapshot| processes(&snapshot.rankings.closes_of_processes)),
    ),
    Metric::new(
        "tcpclose.process.resets",
        CONNECTIONS,
        "Connection ends that were reset in the last interval, of the ten processes with most of \
         them. All others are `other`.",
        &[PROCESS],
        Measure::Gauge(|snapshot| processes(&snapshot.rankings.resets_of_processes)),
    ),
    Metric::new(
        "tcpclose.peer.closes",
        CONNECTIONS,
        "Connection ends that closed in the last interval, of the ten peers with most of them.",
        &["network.peer.address"],
        Measure::Gauge(|snapshot| peers(&snapshot.rankings.closes_of_peers)),
    )
    .only_for(Consumer::Otlp),
    Metric::new(
        "tcpclose.peer.resets",
        CONNECTIONS,
        "Connection ends that were reset in the last interval, of the ten peers with most of them.",
        &["network.peer.address"],
        Measure::Gauge(|snapshot| peers(&snapshot.rankings.resets_of_peers)),
    )
    .only_for(Consumer::Otlp),
];

/// The values add up to the number of all. Services with one name in several cgroups become one
/// point.
fn processes(ranking: &Ranking<Option<Service>>) -> Points<Number> {
    let named = ranking.most.iter().map(|(service, count)| {
        let title = service
            .as_ref()
            .map(|Service(owner)| ProcessTitle::of(&owner.comm));
        (title.unwrap_or(ProcessTitle::Other), *count)
    });
    let all = named.chain([(ProcessTitle::Other, ranking.other)]);
    all.map(|(title, count)| (vec![Label::Process(title)], Number::Count(count)))
        .collect()
}
