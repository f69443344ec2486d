//! The processes and peers with most closes and resets.

use tcpclose_core::finding::{Initiator, Side};
use tcpclose_core::summary::{NameAndCgroup, Ranking, ServiceAddress, ServiceSide};
use tcpclose_core::types::Port;

use super::points::{CONNECTIONS, peers};
use crate::metrics::label::{Label, PROCESS_LABEL, ProcessName};
use crate::metrics::metric::{ExportFormat, Instrument, Metric, Points};
use crate::metrics::number::{Merge, Number};
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
        "tcpclose.process.idle_timeout",
        "s",
        "Silence after which one side closes the connections of a process, where most closes of the \
         last interval show one. The initiator is that side.",
        &[
            PROCESS_LABEL,
            "initiator",
            "netns",
            "network.peer.address",
            "network.peer.port",
        ],
        Instrument::Gauge(idle_timeouts),
    )
    .merged_by(Merge::Min),
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

/// Returns no peer for connections that were accepted.
fn idle_timeouts(snapshot: &MetricsSnapshot) -> Points<Number> {
    let timeouts = snapshot.rankings.idle_timeouts.iter();
    let points = timeouts.map(|timeout| {
        let ServiceSide {
            netns,
            service,
            closed_by,
        } = timeout.of;
        let owner = timeout.owner.as_deref();
        let name = owner.map_or(ProcessName::Other, |owner| snapshot.process_name(owner));
        let initiator = match closed_by {
            Side::Local => Initiator::Local,
            Side::Peer => Initiator::Peer,
        };
        let peer = match service {
            ServiceAddress::Listening(_) => None,
            ServiceAddress::Peer(peer) => Some(peer),
        };
        let mut labels = vec![Label::Process(name), Label::Initiator(initiator)];
        labels.extend(netns.map(Label::Netns));
        labels.extend(peer.map(|peer| Label::PeerAddress(peer.ip())));
        labels.extend(peer.and_then(|peer| Port::new(peer.port()).map(Label::PeerPort)));
        (labels, Number::seconds(timeout.silence))
    });
    points.collect()
}

/// The values add up to the number of all. Services with one name in several cgroups become one
/// point, unless those are of different units or containers.
fn processes(
    snapshot: &MetricsSnapshot,
    ranking: &Ranking<Option<NameAndCgroup>>,
) -> Points<Number> {
    let named = ranking.top.iter().map(|(service, count)| {
        let name = service
            .as_ref()
            .map(|service| snapshot.process_name(service.owner()));
        (name.unwrap_or(ProcessName::Other), *count)
    });
    let all = named.chain([(ProcessName::Other, ranking.rest)]);
    all.map(|(name, count)| (vec![Label::Process(name)], Number::Count(count)))
        .collect()
}
