//! How many connections there are, and how long they stay in the states of a close.

use tcpclose_common::TcpState;
use tcpclose_core::summary::{Histogram, PerState, Route};
use tcpclose_core::types::Port;

use super::points::{CONNECTIONS, count, measured};
use crate::metrics::label::Label;
use crate::metrics::metric::{Instrument, Metric, Points};
use crate::metrics::number::{Merge, Number};
use crate::metrics::snapshot::MetricsSnapshot;

pub(super) const METRICS: &[Metric] = &[
    Metric::new(
        "tcpclose.live_connections",
        CONNECTIONS,
        "Live endpoints, without TIME_WAIT.",
        &[],
        Instrument::Gauge(|snapshot| count(snapshot.gauges.live)),
    ),
    Metric::new(
        "tcpclose.waiting_for_fin_connections",
        CONNECTIONS,
        "Endpoints that their process has closed and that wait for the peer's FIN.",
        &[],
        Instrument::Gauge(|snapshot| count(snapshot.gauges.waiting_for_fin)),
    ),
    Metric::new(
        "tcpclose.time_wait.connections",
        CONNECTIONS,
        "Endpoints in TIME_WAIT.",
        &[],
        Instrument::Gauge(|snapshot| count(snapshot.gauges.time_wait)),
    ),
    Metric::new(
        "tcpclose.local_port.connections",
        CONNECTIONS,
        "Endpoints of the local ports that local_ports under [prometheus] lists, by state.",
        &["network.local.port", "network.connection.state"],
        Instrument::Gauge(local_ports),
    ),
    Metric::new(
        "tcpclose.ephemeral_ports.used",
        "1",
        "Share of the ephemeral ports that connect() cannot use from a local address to a peer, as \
         connections have them, of the routes with the greatest share in the last interval. At 1, \
         connect() to that peer fails. Nothing for routes whose share is not known.",
        &[
            "netns",
            "network.local.address",
            "network.peer.address",
            "network.peer.port",
        ],
        Instrument::Gauge(ephemeral_ports),
    )
    .merged_by(Merge::Max),
    Metric::new(
        "tcpclose.state.duration",
        "s",
        "Time that endpoints spent in a state of their close.",
        &["network.connection.state"],
        Instrument::Histogram(durations),
    ),
];

fn local_ports(snapshot: &MetricsSnapshot) -> Points<Number> {
    let ports = snapshot.gauges.local_ports.iter();
    let points = ports.flat_map(|counts| {
        counts.by_state().map(|(state, count)| {
            let labels = vec![Label::LocalPort(counts.port), Label::State(state)];
            (labels, Number::Count(count))
        })
    });
    points.collect()
}

fn ephemeral_ports(snapshot: &MetricsSnapshot) -> Points<Number> {
    let pressure = &snapshot.gauges.pressure;
    if pressure.is_empty() {
        return measured(Number::Measured(0.0));
    }
    let points = pressure.iter().filter_map(|pressure| {
        let share = pressure.share()?;
        let Route { netns, local, peer } = pressure.route;
        let labels = [
            netns.map(Label::Netns),
            Some(Label::LocalAddress(local)),
            Some(Label::PeerAddress(peer.ip())),
            Port::new(peer.port()).map(Label::PeerPort),
        ];
        let known = labels.into_iter().flatten().collect();
        Some((known, Number::Measured(share)))
    });
    points.collect()
}

fn durations(snapshot: &MetricsSnapshot) -> Points<Histogram> {
    let PerState {
        fin_wait2,
        close_wait,
        last_ack,
        time_wait,
    } = snapshot.totals.durations;
    vec![
        (vec![Label::State(TcpState::FinWait2)], fin_wait2),
        (vec![Label::State(TcpState::CloseWait)], close_wait),
        (vec![Label::State(TcpState::LastAck)], last_ack),
        (vec![Label::State(TcpState::TimeWait)], time_wait),
    ]
}
