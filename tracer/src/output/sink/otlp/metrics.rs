//! The [metrics] of a snapshot as OTLP's messages.
//!
//! [metrics]: crate::metrics

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Histogram as HistogramPoints, HistogramDataPoint,
    Metric as Message, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum,
};
use opentelemetry_proto::tonic::resource::v1::Resource;

use crate::metrics::{
    self, ExportFormat, Label, LabelValue, Labels, Metric, MetricsSnapshot, Number, Points, Visitor,
};
use tcpclose_core::summary::{DURATION_BUCKETS, Histogram};

use super::attributes::{attribute, text};
use super::request::SCHEMA_URL;

/// The time that counts cover, in nanoseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Period {
    /// When all counts were 0.
    pub(super) start: u64,
    /// When they had the values that are sent.
    pub(super) end: u64,
}

/// Converts the metrics of a snapshot.
pub(super) fn messages(
    snapshot: &MetricsSnapshot,
    period: Period,
    temporality: AggregationTemporality,
) -> Vec<Message> {
    let mut messages = Messages {
        period,
        temporality: temporality.into(),
        all: Vec::new(),
    };
    metrics::visit(snapshot, &mut messages);
    messages.all
}

struct Messages {
    period: Period,
    temporality: i32,
    all: Vec<Message>,
}

impl Visitor for Messages {
    const FORMAT: ExportFormat = ExportFormat::Otlp;

    fn numbers(&mut self, metric: &'static Metric, points: Points<Number>) {
        let Period { start, end } = self.period;
        let is_counter = metric.is_counter();
        let points = points.into_iter().map(|(labels, value)| NumberDataPoint {
            attributes: attributes(&labels),
            start_time_unix_nano: if is_counter { start } else { 0 },
            time_unix_nano: end,
            value: Some(match value {
                Number::Count(count) => Value::AsInt(i64::try_from(count).unwrap_or(i64::MAX)),
                Number::Measured(value) => Value::AsDouble(value),
            }),
            ..NumberDataPoint::default()
        });
        let data_points = points.collect();
        let data = match is_counter {
            true => Data::Sum(Sum {
                data_points,
                aggregation_temporality: self.temporality,
                is_monotonic: true,
            }),
            false => Data::Gauge(Gauge { data_points }),
        };
        self.push(metric, data);
    }

    fn histograms(&mut self, metric: &'static Metric, points: Points<Histogram>) {
        let Period { start, end } = self.period;
        let points = points.into_iter().map(|(labels, histogram)| {
            let Histogram { counts, sum } = histogram;
            HistogramDataPoint {
                attributes: attributes(&labels),
                start_time_unix_nano: start,
                time_unix_nano: end,
                count: counts.iter().sum(),
                sum: Some(sum.as_secs_f64()),
                bucket_counts: counts.to_vec(),
                explicit_bounds: DURATION_BUCKETS
                    .iter()
                    .map(|end| end.0 as f64 / 1e9)
                    .collect(),
                ..HistogramDataPoint::default()
            }
        });
        let histogram = HistogramPoints {
            data_points: points.collect(),
            aggregation_temporality: self.temporality,
        };
        self.push(metric, Data::Histogram(histogram));
    }
}

impl Messages {
    fn push(&mut self, metric: &Metric, data: Data) {
        self.all.push(Message {
            name: metric.name.to_owned(),
            description: metric.help.to_owned(),
            unit: metric.unit.to_owned(),
            data: Some(data),
            ..Message::default()
        });
    }
}

fn attributes(labels: &Labels) -> Vec<KeyValue> {
    let attributes = labels
        .iter()
        .flat_map(Label::pairs)
        .map(|(name, value)| match value {
            LabelValue::Text(value) => attribute(name, text(value)),
            LabelValue::Number(number) => {
                attribute(name, any_value::Value::IntValue(number.into()))
            }
        });
    attributes.collect()
}

/// Wraps metrics in a request.
pub(super) fn request(
    metrics: Vec<Message>,
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
