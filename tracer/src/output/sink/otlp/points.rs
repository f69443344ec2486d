//! Data points, and the sums that go on from one summary to the next.

use std::collections::HashMap;

use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Histogram as Points, HistogramDataPoint, Metric,
    NumberDataPoint, Sum,
};

use crate::output::clock::WallClock;
use crate::output::sink::config::Temporality;
use crate::summary::Summary;
use tcpclose_core::summary::{BUCKETS, Histogram};
use tcpclose_core::types::Nanos;

use super::attributes::{attribute, text};

/// Attributes of a data point.
pub(super) type Labels = Vec<(&'static str, String)>;

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
        let goes_on = self.until == Some(summary.connections.from);
        if !goes_on || self.temporality == Temporality::Delta {
            self.totals.clear();
            self.start = unix_nanos(summary.connections.from, clock);
        }
        self.until = Some(summary.connections.to);
    }

    fn temporality(&self) -> AggregationTemporality {
        match self.temporality {
            Temporality::Cumulative => AggregationTemporality::Cumulative,
            Temporality::Delta => AggregationTemporality::Delta,
        }
    }

    fn add(&mut self, name: &'static str, labels: &Labels, count: u64) -> u64 {
        let total = self.totals.entry((name, labels.clone())).or_default();
        *total += count;
        *total
    }
}

/// The metrics of one summary.
pub(super) struct Metrics<'a> {
    sums: &'a mut Sums,
    time: u64,
    pub(super) all: Vec<Metric>,
}

/// Name, unit and description of a metric.
pub(super) struct MetricDesc(
    pub(super) &'static str,
    pub(super) &'static str,
    pub(super) &'static str,
);

impl<'a> Metrics<'a> {
    pub(super) fn new(summary: &Summary, sums: &'a mut Sums, clock: &WallClock) -> Self {
        sums.take(summary, clock);
        Self {
            sums,
            time: unix_nanos(summary.connections.to, clock),
            all: Vec::new(),
        }
    }

    pub(super) fn push(&mut self, about: &MetricDesc, data: Data) {
        let MetricDesc(name, unit, description) = *about;
        self.all.push(Metric {
            name: name.to_owned(),
            description: description.to_owned(),
            unit: unit.to_owned(),
            data: Some(data),
            ..Metric::default()
        });
    }

    pub(super) fn counter(
        &mut self,
        about: &MetricDesc,
        points: impl IntoIterator<Item = (Labels, u64)>,
    ) {
        self.sum(about, points, whole);
    }

    pub(super) fn seconds(&mut self, about: &MetricDesc, span: Nanos) {
        self.sum(about, [(Vec::new(), span.0)], |ns| seconds(Nanos(ns)));
    }

    fn sum(
        &mut self,
        about: &MetricDesc,
        points: impl IntoIterator<Item = (Labels, u64)>,
        value: impl Fn(u64) -> Value,
    ) {
        let points = points.into_iter().map(|(labels, count)| {
            let total = self.sums.add(about.0, &labels, count);
            self.point(labels, value(total))
        });
        let data_points = points.collect();
        let sum = Sum {
            data_points,
            aggregation_temporality: self.sums.temporality().into(),
            is_monotonic: true,
        };
        self.push(about, Data::Sum(sum));
    }

    pub(super) fn gauge(
        &mut self,
        about: &MetricDesc,
        points: impl IntoIterator<Item = (Labels, Value)>,
    ) {
        let points = points.into_iter().map(|(labels, value)| NumberDataPoint {
            start_time_unix_nano: 0,
            ..self.point(labels, value)
        });
        let data_points: Vec<NumberDataPoint> = points.collect();
        if !data_points.is_empty() {
            self.push(about, Data::Gauge(Gauge { data_points }));
        }
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

    /// The buckets are those of Prometheus.
    pub(super) fn histogram(
        &mut self,
        about: &MetricDesc,
        points: impl IntoIterator<Item = (Labels, Histogram)>,
    ) {
        let points = points
            .into_iter()
            .map(|(labels, Histogram { counts, sum })| {
                let counts = counts.iter().enumerate().map(|(bucket, count)| {
                    let mut labels = labels.clone();
                    labels.push(("bucket", bucket.to_string()));
                    self.sums.add(about.0, &labels, *count)
                });
                let bucket_counts: Vec<u64> = counts.collect();
                // The longest spans of many connections fit microseconds, not nanoseconds.
                let micros = u64::try_from(sum.as_micros()).unwrap_or(u64::MAX);
                let micros = self.sums.add(about.0, &labels, micros);
                HistogramDataPoint {
                    attributes: attributes(labels),
                    start_time_unix_nano: self.sums.start,
                    time_unix_nano: self.time,
                    count: bucket_counts.iter().sum(),
                    sum: Some(micros as f64 / 1e6),
                    bucket_counts,
                    explicit_bounds: BUCKETS.iter().map(|end| end.0 as f64 / 1e9).collect(),
                    ..HistogramDataPoint::default()
                }
            });
        let histogram = Points {
            data_points: points.collect(),
            aggregation_temporality: self.sums.temporality().into(),
        };
        self.push(about, Data::Histogram(histogram));
    }
}

fn attributes(labels: Labels) -> Vec<KeyValue> {
    let labels = labels.into_iter();
    labels
        .map(|(name, value)| match (name, value.parse()) {
            ("process.pid" | "network.peer.port", Ok(number)) => {
                attribute(name, any_value::Value::IntValue(number))
            }
            _ => attribute(name, text(value)),
        })
        .collect()
}

pub(super) fn whole(count: u64) -> Value {
    Value::AsInt(i64::try_from(count).unwrap_or(i64::MAX))
}

pub(super) fn seconds(span: Nanos) -> Value {
    Value::AsDouble(span.0 as f64 / 1e9)
}

fn unix_nanos(at: Nanos, clock: &WallClock) -> u64 {
    u64::try_from(clock.timestamp(at).as_nanosecond()).unwrap_or_default()
}
