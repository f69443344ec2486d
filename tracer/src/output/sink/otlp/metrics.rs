//! A summary as metrics. docs/outputs.md lists them.

use std::collections::HashMap;

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use opentelemetry_proto::tonic::metrics::v1::summary_data_point::ValueAtQuantile;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum,
    Summary as Quantiles, SummaryDataPoint,
};
use opentelemetry_proto::tonic::resource::v1::Resource;

use crate::lifecycle::finding::ResetReason;
use crate::lifecycle::summary::{Output, Spread, Summary};
use crate::lifecycle::types::Nanos;
use crate::output::clock::WallClock;
use crate::output::sink::config::Temporality;

use super::SCHEMA_URL;
use super::attributes::{attribute, text};

/// Attributes of a data point.
type Labels = Vec<(&'static str, String)>;

/// What the sums of metrics have come to.
#[derive(Clone, Debug)]
pub(super) struct Sums {
    temporality: Temporality,
    /// When they were zero, in ns since 1970.
    start: u64,
    /// The end of the last interval that is in them.
    until: Option<Nanos>,
    totals: HashMap<(&'static str, Labels), u64>,
}

impl Sums {
    pub(super) fn new(temporality: Temporality) -> Self {
        Self {
            temporality,
            start: 0,
            until: None,
            totals: HashMap::new(),
        }
    }

    /// Begins at zero where nothing goes on: receivers take a new start for a reset, and so no gap for a lack of events.
    fn take(&mut self, summary: &Summary, clock: &WallClock) {
        let goes_on = self.until == Some(summary.from);
        if !goes_on || self.temporality == Temporality::Delta {
            self.totals.clear();
            self.start = unix_nanos(summary.from, clock);
        }
        self.until = Some(summary.to);
    }

    fn add(&mut self, name: &'static str, labels: &Labels, count: u64) -> u64 {
        let total = self.totals.entry((name, labels.clone())).or_default();
        *total += count;
        *total
    }
}

/// The metrics of a summary, which is added to `sums`.
pub(super) fn of(summary: &Summary, sums: &mut Sums, clock: &WallClock) -> Vec<Metric> {
    sums.take(summary, clock);
    let mut metrics = Metrics {
        sums,
        time: unix_nanos(summary.to, clock),
        all: Vec::new(),
    };
    metrics.of_connections(summary);
    metrics.of_states(summary);
    metrics.of_the_tracer(summary);
    metrics.all
}

struct Metrics<'a> {
    sums: &'a mut Sums,
    time: u64,
    all: Vec<Metric>,
}

/// Name, unit and description of a metric.
struct About(&'static str, &'static str, &'static str);

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
            let forecasts = stuck.owners.iter().filter_map(|owner| owner.forecast);
            let exhausted = forecasts.filter_map(|forecast| forecast.exhausted_in);
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

    fn push(&mut self, about: &About, data: Data) {
        let About(name, unit, description) = *about;
        self.all.push(Metric {
            name: name.to_owned(),
            description: description.to_owned(),
            unit: unit.to_owned(),
            data: Some(data),
            ..Metric::default()
        });
    }

    fn counter(&mut self, about: &About, points: impl IntoIterator<Item = (Labels, u64)>) {
        self.sum(about, points, whole);
    }

    fn seconds(&mut self, about: &About, span: Nanos) {
        self.sum(about, [(Vec::new(), span.0)], |ns| seconds(Nanos(ns)));
    }

    fn sum(
        &mut self,
        about: &About,
        points: impl IntoIterator<Item = (Labels, u64)>,
        value: impl Fn(u64) -> Value,
    ) {
        let points = points.into_iter().map(|(labels, count)| {
            let total = self.sums.add(about.0, &labels, count);
            self.point(labels, value(total))
        });
        let data_points = points.collect();
        let temporality = match self.sums.temporality {
            Temporality::Cumulative => AggregationTemporality::Cumulative,
            Temporality::Delta => AggregationTemporality::Delta,
        };
        let sum = Sum {
            data_points,
            aggregation_temporality: temporality.into(),
            is_monotonic: true,
        };
        self.push(about, Data::Sum(sum));
    }

    fn gauge(&mut self, about: &About, points: impl IntoIterator<Item = (Labels, Value)>) {
        let points = points.into_iter().map(|(labels, value)| NumberDataPoint {
            start_time_unix_nano: 0,
            ..self.point(labels, value)
        });
        let data_points = points.collect();
        self.push(about, Data::Gauge(Gauge { data_points }));
    }

    fn point(&self, labels: Labels, value: Value) -> NumberDataPoint {
        NumberDataPoint {
            attributes: attributes(labels),
            start_time_unix_nano: self.sums.start,
            time_unix_nano: self.time,
            value: Some(value),
            ..NumberDataPoint::default()
        }
    }

    /// Count and sum are those of all intervals, as of a sum; the quantiles are the last one's.
    fn quantiles(&mut self, about: &About, state: &str, spread: Spread) -> SummaryDataPoint {
        let labels = vec![("network.connection.state", state.to_owned())];
        let quantiles = [
            (0.5, spread.p50),
            (0.9, spread.p90),
            (0.99, spread.p99),
            (1.0, spread.max),
        ];
        let values = quantiles.into_iter().filter_map(|(quantile, span)| {
            Some(ValueAtQuantile {
                quantile,
                value: span?.0 as f64 / 1e9,
            })
        });
        let count = self.sums.add(about.0, &labels, spread.count);
        let micros = u64::try_from(spread.sum.as_micros()).unwrap_or(u64::MAX);
        let sum = self
            .sums
            .add("tcpclose.state.duration in µs", &labels, micros);
        SummaryDataPoint {
            attributes: attributes(labels),
            start_time_unix_nano: self.sums.start,
            time_unix_nano: self.time,
            count,
            sum: sum as f64 / 1e6,
            quantile_values: values.collect(),
            flags: 0,
        }
    }
}

fn attributes(labels: Labels) -> Vec<KeyValue> {
    let labels = labels.into_iter();
    labels
        .map(|(name, value)| attribute(name, text(value)))
        .collect()
}

fn whole(count: u64) -> Value {
    Value::AsInt(i64::try_from(count).unwrap_or(i64::MAX))
}

fn seconds(span: Nanos) -> Value {
    Value::AsDouble(span.0 as f64 / 1e9)
}

fn unix_nanos(at: Nanos, clock: &WallClock) -> u64 {
    u64::try_from(clock.timestamp(at).as_nanosecond()).unwrap_or_default()
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
