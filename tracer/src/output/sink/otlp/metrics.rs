//! A summary as metrics. docs/outputs.md lists them.

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use opentelemetry_proto::tonic::metrics::v1::{
    Metric, ResourceMetrics, ScopeMetrics, Summary as Quantiles,
};
use opentelemetry_proto::tonic::resource::v1::Resource;

use crate::lifecycle::finding::ResetReason;
use crate::lifecycle::summary::{Output, Summary};
use crate::output::clock::WallClock;

use super::SCHEMA_URL;
use super::points::{About, Metrics, Sums, seconds, whole};

/// The metrics of a summary, which is added to `sums`.
pub(super) fn of(summary: &Summary, sums: &mut Sums, clock: &WallClock) -> Vec<Metric> {
    let mut metrics = Metrics::new(summary, sums, clock);
    metrics.of_connections(summary);
    metrics.of_states(summary);
    metrics.of_the_tracer(summary);
    metrics.all
}

impl Metrics<'_> {
    fn of_connections(&mut self, summary: &Summary) {
        let Summary {
            closes,
            resets,
            time_wait_ends,
            now,
            ..
        } = summary;
        self.counter(
            &About(
                "tcpclose.connections.opened",
                "{connection}",
                "Ends of connections that became established",
            ),
            [(Vec::new(), summary.opened)],
        );
        self.counter(
            &About(
                "tcpclose.closes",
                "{connection}",
                "Ends of connections that closed",
            ),
            closes.iter().map(|((path, initiator), count)| {
                let path = ("tcpclose.close.path", path.name().to_owned());
                let initiator = ("tcpclose.close.initiator", initiator.name().to_owned());
                (vec![path, initiator], count)
            }),
        );
        self.counter(
            &About(
                "tcpclose.resets",
                "{connection}",
                "Closes by reset, by who sent the RST and why",
            ),
            resets.iter().map(|((by, reason), count)| {
                let reason = reason.map_or("unknown", ResetReason::name);
                let by = ("tcpclose.reset.by", by.name().to_owned());
                (
                    vec![by, ("tcpclose.reset.reason", reason.to_owned())],
                    count,
                )
            }),
        );
        self.counter(
            &About(
                "tcpclose.time_wait.ends",
                "{connection}",
                "TIME_WAITs that are over",
            ),
            time_wait_ends.iter().map(|(end, count)| {
                (
                    vec![("tcpclose.time_wait.end", end.name().to_owned())],
                    count,
                )
            }),
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
            let about = About(name, "{connection}", description);
            self.gauge(&about, [(Vec::new(), whole(count))]);
        }
        if let Some(busiest) = now.pressure.first() {
            self.gauge(
                &About(
                    "tcpclose.ephemeral_ports.utilization",
                    "1",
                    "Share of the ephemeral ports in use between the busiest pair of a local address and a peer",
                ),
                [(Vec::new(), Value::AsDouble(busiest.share()))],
            );
        }
        if let Some(stuck) = &summary.stuck {
            let verdicts = stuck
                .verdicts
                .iter()
                .filter(|(verdict, _)| verdict.is_leak());
            self.gauge(
                &About(
                    "tcpclose.close_wait.stuck",
                    "{connection}",
                    "Ends that are stuck in CLOSE_WAIT",
                ),
                verdicts.map(|(verdict, count)| {
                    (
                        vec![("tcpclose.leak.verdict", verdict.name().to_owned())],
                        whole(count),
                    )
                }),
            );
            if let Some(oldest) = stuck.oldest {
                self.gauge(
                    &About(
                        "tcpclose.close_wait.oldest",
                        "s",
                        "How long the oldest of them is in CLOSE_WAIT",
                    ),
                    [(Vec::new(), seconds(summary.to - oldest))],
                );
            }
            let exhausted = stuck
                .owners
                .iter()
                .filter_map(|owner| owner.forecast?.exhausted_in);
            if let Some(first) = exhausted.min() {
                self.gauge(
                    &About(
                        "tcpclose.close_wait.descriptors_exhausted_in",
                        "s",
                        "When the first process has no descriptor left, if its stuck sockets go on to grow",
                    ),
                    [(Vec::new(), seconds(first))],
                );
            }
        }
    }

    fn of_states(&mut self, summary: &Summary) {
        let states = &summary.states;
        let about = About("tcpclose.state.duration", "s", "Time in a state of a close");
        let points = [
            ("fin_wait_2", states.fin_wait2),
            ("close_wait", states.close_wait),
            ("last_ack", states.last_ack),
            ("time_wait", states.time_wait),
        ];
        let points = points.map(|(state, spread)| self.quantiles(&about, state, spread));
        let data_points = points.into();
        self.push(&about, Data::Summary(Quantiles { data_points }));
    }

    fn of_the_tracer(&mut self, summary: &Summary) {
        self.counter(
            &About(
                "tcpclose.records.lost",
                "{record}",
                "What should have been seen and was not",
            ),
            summary
                .lost
                .iter()
                .map(|(place, count)| (vec![("tcpclose.where", place.name().to_owned())], count)),
        );
        let outcomes = summary.outputs.iter().flat_map(|output| {
            let Output {
                name,
                written,
                filtered,
                cut,
                dropped,
                failed,
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
            &About(
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
            &About(
                "tcpclose.cpu.time",
                "s",
                "Processor time of tcpclose itself",
            ),
            tracer.cpu,
        );
        self.gauge(
            &About(
                "tcpclose.memory.usage",
                "By",
                "Resident memory of tcpclose itself",
            ),
            [(Vec::new(), whole(tracer.memory))],
        );
        if let Some(bpf) = tracer.bpf {
            self.counter(
                &About("tcpclose.bpf.runs", "{run}", "Runs of the eBPF programs"),
                [(Vec::new(), bpf.count)],
            );
            self.seconds(
                &About("tcpclose.bpf.time", "s", "Run time of the eBPF programs"),
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
