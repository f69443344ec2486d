//! A summary as metrics. docs/outputs.md lists them.

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use opentelemetry_proto::tonic::metrics::v1::{Metric, ResourceMetrics, ScopeMetrics};
use opentelemetry_proto::tonic::resource::v1::Resource;

use crate::output::clock::WallClock;
use crate::summary::{Output, Summary};
use tcpclose_core::summary::{Route, States};
use tcpclose_core::types::NetNs;

use super::SCHEMA_URL;
use super::points::{MetricDesc, Metrics, Sums, whole};

/// The metrics of a summary, which is added to `sums`.
pub(super) fn of(summary: &Summary, sums: &mut Sums, clock: &WallClock) -> Vec<Metric> {
    let mut metrics = Metrics::new(summary, sums, clock);
    metrics.of_connections(summary);
    metrics.of_most(summary);
    if let Some(stuck) = &summary.connections.stuck {
        metrics.of_stuck(stuck, summary.connections.to);
    }
    metrics.of_states(summary);
    metrics.of_the_tracer(summary);
    metrics.all
}

impl Metrics<'_> {
    fn of_connections(&mut self, summary: &Summary) {
        let tcpclose_core::summary::Summary {
            closes,
            resets,
            time_wait_ends,
            now,
            ..
        } = &summary.connections;
        self.counter(
            &MetricDesc(
                "tcpclose.connections.opened",
                "{connection}",
                "Ends of connections that became established",
            ),
            [(Vec::new(), summary.connections.opened)],
        );
        self.counter(
            &MetricDesc(
                "tcpclose.closes",
                "{connection}",
                "Ends of connections that closed",
            ),
            closes.iter().map(|((path, initiator), count)| {
                let path = ("tcpclose.close.path", path.to_string());
                let initiator = ("tcpclose.close.initiator", initiator.to_string());
                (vec![path, initiator], count)
            }),
        );
        self.counter(
            &MetricDesc(
                "tcpclose.resets",
                "{connection}",
                "Closes by reset, by who sent the RST and why",
            ),
            resets.iter().map(|((by, reason), count)| {
                let reason = reason.map_or("unknown", Into::into);
                let by = ("tcpclose.reset.by", by.to_string());
                (
                    vec![by, ("tcpclose.reset.reason", reason.to_owned())],
                    count,
                )
            }),
        );
        self.counter(
            &MetricDesc(
                "tcpclose.time_wait.ends",
                "{connection}",
                "TIME_WAITs that are over",
            ),
            time_wait_ends
                .iter()
                .map(|(end, count)| (vec![("tcpclose.time_wait.end", end.to_string())], count)),
        );
        for (name, description, count) in [
            (
                "tcpclose.connections.live",
                "Ends that are alive, without TIME_WAIT",
                now.live,
            ),
            (
                "tcpclose.connections.waiting_for_fin",
                "Ends that their process has closed and that wait for the peer's FIN",
                now.waiting_for_fin,
            ),
            (
                "tcpclose.connections.time_wait",
                "Ends in TIME_WAIT",
                now.time_wait,
            ),
        ] {
            let about = MetricDesc(name, "{connection}", description);
            self.gauge(&about, [(Vec::new(), whole(count))]);
        }
        self.gauge(
            &MetricDesc(
                "tcpclose.ephemeral_ports.utilization",
                "1",
                "Share of the ephemeral ports in use from a local address to a peer, where it is greatest",
            ),
            now.pressure.iter().map(|pressure| {
                let Route { netns, local, peer } = pressure.route;
                let route = vec![
                    ("tcpclose.netns", netns.map_or(0, NetNs::get).to_string()),
                    ("network.local.address", local.to_string()),
                    ("network.peer.address", peer.ip().to_string()),
                    ("network.peer.port", peer.port().to_string()),
                ];
                (route, Value::AsDouble(pressure.share()))
            }),
        );
    }

    fn of_states(&mut self, summary: &Summary) {
        let States {
            fin_wait2,
            close_wait,
            last_ack,
            time_wait,
        } = summary.connections.durations;
        let points = [
            ("fin_wait_2", fin_wait2),
            ("close_wait", close_wait),
            ("last_ack", last_ack),
            ("time_wait", time_wait),
        ];
        self.histogram(
            &MetricDesc("tcpclose.state.duration", "s", "Time in a state of a close"),
            points.map(|(state, histogram)| {
                let state = ("network.connection.state", state.to_owned());
                (vec![state], histogram)
            }),
        );
    }

    fn of_the_tracer(&mut self, summary: &Summary) {
        self.counter(
            &MetricDesc(
                "tcpclose.records.lost",
                "{record}",
                "What should have been seen and was not",
            ),
            summary
                .connections
                .lost
                .iter()
                .map(|(location, count)| (vec![("tcpclose.where", location.to_string())], count)),
        );
        let outcomes = summary.outputs.iter().flat_map(|output| {
            let Output {
                name,
                written,
                filtered,
                cut,
                dropped,
                failed,
                offered: _,
                queued: _,
                state: _,
            } = output;
            let outcomes = [
                ("written", *written),
                ("filtered", *filtered),
                ("cut", *cut),
                ("dropped", *dropped),
                ("failed", *failed),
            ];
            outcomes.map(|(outcome, count)| {
                let output = ("tcpclose.output.name", name.to_string());
                (
                    vec![output, ("tcpclose.output.outcome", outcome.to_owned())],
                    count,
                )
            })
        });
        self.counter(
            &MetricDesc(
                "tcpclose.output.records",
                "{record}",
                "What became of the records that an output was offered",
            ),
            outcomes,
        );
        let Some(tracer) = &summary.tracer else {
            return;
        };
        self.seconds(
            &MetricDesc(
                "tcpclose.cpu.time",
                "s",
                "Processor time of tcpclose itself",
            ),
            tracer.cpu,
        );
        self.gauge(
            &MetricDesc(
                "tcpclose.memory.usage",
                "By",
                "Resident memory of tcpclose itself",
            ),
            [(Vec::new(), whole(tracer.memory))],
        );
        if let Some(bpf) = tracer.bpf {
            self.counter(
                &MetricDesc("tcpclose.bpf.runs", "{run}", "Runs of the eBPF programs"),
                [(Vec::new(), bpf.count)],
            );
            self.seconds(
                &MetricDesc("tcpclose.bpf.time", "s", "Run time of the eBPF programs"),
                bpf.time,
            );
        }
    }
}

pub(super) fn request(
    metrics: Vec<Metric>,
    resource: &Resource,
    scope: &InstrumentationScope,
) -> ExportMetricsServiceRequest {
    ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            resource: Some(resource.clone()),
            scope_metrics: vec![ScopeMetrics {
                scope: Some(scope.clone()),
                metrics,
                schema_url: SCHEMA_URL.to_owned(),
            }],
            schema_url: SCHEMA_URL.to_owned(),
        }],
    }
}
