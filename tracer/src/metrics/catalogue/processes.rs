//! The processes and peers with most closes and resets.

use tcpclose_core::summary::{Ranking, ServiceKey};

use super::points::{CONNECTIONS, peers};
use crate::metrics::label::{Label, PROCESS_LABEL, ProcessName};
use crate::metrics::metric::{ExportFormat, Instrument, Metric, Points};
use crate::metrics::number::Number;
use crate::metrics::snapshot::MetricsSnapshot;

pub(super) const METRICS: &[Metric] = &[
    Metric::new(
        "tcpclose.process.closes",
        CONNECTIONS,
        "Endpoints that closed in the last interval, of the ten processes with most of them. \
         All others are `other`.",
        &[PROCESS_LABEL],
        Instrument::Gauge(|snapshot| processes(snapshot, &snapshot.rankings.closes_of_processes)),
    ),
    Metric::new(
        "tcpclose.process.resets",
        CONNECTIONS,
        "Endpoints that were reset in the last interval, of the ten processes with most of \
         them. All others are `other`.",
        &[PROCESS_LABEL],
        Instrument::Gauge(|snapshot| processes(snapshot, &snapshot.rankings.resets_of_processes)),
    ),
    Metric::new(
        "tcpclose.peer.closes",
        CONNECTIONS,
        "Endpoints that closed in the last interval, of the ten peers with most of them.",
        &["network.peer.address"],
        Instrument::Gauge(|snapshot| peers(&snapshot.rankings.closes_of_peers)),
    )
    .only_for(ExportFormat::Otlp),
    Metric::new(
        "tcpclose.peer.resets",
        CONNECTIONS,
        "Endpoints that were reset in the last interval, of the ten peers with most of them.",
        &["network.peer.address"],
        Instrument::Gauge(|snapshot| peers(&snapshot.rankings.resets_of_peers)),
    )
    .only_for(ExportFormat::Otlp),
];

/// The values add up to the number of all. Services with one name in several cgroups become one
/// point, unless those are of different containers.
fn processes(snapshot: &MetricsSnapshot, ranking: &Ranking<Option<ServiceKey>>) -> Points<Number> {
    let named = ranking.top.iter().map(|(service, count)| {
        let name = service.as_ref().map(|service| {
            let owner = service.owner();
            let container = owner.cgroup.and_then(|id| snapshot.containers.get(&id));
            ProcessName::from_comm(&owner.comm).in_container(container)
        });
        (name.unwrap_or(ProcessName::Other), *count)
    });
    let all = named.chain([(ProcessName::Other, ranking.rest)]);
    all.map(|(name, count)| (vec![Label::Process(name)], Number::Count(count)))
        .collect()
}
