//! Data points, and the sums that go on from one summary to the next.

use std::collections::HashMap;

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use opentelemetry_proto::tonic::metrics::v1::summary_data_point::ValueAtQuantile;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Metric, NumberDataPoint, Sum, SummaryDataPoint,
};

use crate::lifecycle::summary::{Spread, Summary};
use crate::lifecycle::types::Nanos;
use crate::output::clock::WallClock;
use crate::output::sink::config::Temporality;

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

/// The metrics of one summary.
pub(super) struct Metrics<'a> {
    sums: &'a mut Sums,
    time: u64,
    pub(super) all: Vec<Metric>,
}

/// Name, unit and description of a metric.
pub(super) struct About(
    pub(super) &'static str,
    pub(super) &'static str,
    pub(super) &'static str,
);

impl<'a> Metrics<'a> {
    pub(super) fn new(summary: &Summary, sums: &'a mut Sums, clock: &WallClock) -> Self {
        sums.take(summary, clock);
        Self {
            sums,
            time: unix_nanos(summary.to, clock),
            all: Vec::new(),
        }
    }

    pub(super) fn push(&mut self, about: &About, data: Data) {
        let About(name, unit, description) = *about;
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
        about: &About,
        points: impl IntoIterator<Item = (Labels, u64)>,
    ) {
        self.sum(about, points, whole);
    }

    pub(super) fn seconds(&mut self, about: &About, span: Nanos) {
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

    pub(super) fn gauge(
        &mut self,
        about: &About,
        points: impl IntoIterator<Item = (Labels, Value)>,
    ) {
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
    pub(super) fn quantiles(
        &mut self,
        about: &About,
        state: &str,
        spread: Spread,
    ) -> SummaryDataPoint {
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

pub(super) fn whole(count: u64) -> Value {
    Value::AsInt(i64::try_from(count).unwrap_or(i64::MAX))
}

pub(super) fn seconds(span: Nanos) -> Value {
    Value::AsDouble(span.0 as f64 / 1e9)
}

fn unix_nanos(at: Nanos, clock: &WallClock) -> u64 {
    u64::try_from(clock.timestamp(at).as_nanosecond()).unwrap_or_default()
}
