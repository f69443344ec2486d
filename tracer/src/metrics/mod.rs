//! The agent's metrics: one catalogue, and visitors that turn it into Prometheus' text and into OTLP.
//!
//! Each [`Metric`] of the [`CATALOGUE`] has its name, unit, kind, help text and labels, and the function that measures it
//! in a [`Snapshot`]. Prometheus' names are [derived](Metric::prometheus_name) from OpenTelemetry's by OpenTelemetry's own
//! rule, and the tables of docs/metrics.md are made from the catalogue by a test. All counts are from the agent's start.

mod catalogue;
#[cfg(test)]
mod docs;
mod label;
mod name;
mod number;
mod snapshot;
#[cfg(test)]
mod tests;

use tcpclose_core::summary::Histogram;

pub(crate) use catalogue::SERIES_DROPPED;
pub use catalogue::{CATALOGUE, Section};
pub use label::{Label, LabelValue, PROCESS, ProcessTitle};
pub(crate) use name::prometheus_label;
pub use number::{Merge, Number};
pub use snapshot::{Interval, Rankings, Snapshot};

/// What tells the series of a metric apart.
pub type Labels = Vec<Label>;

/// The series of a metric, each with its value.
pub type Points<V> = Vec<(Labels, V)>;

/// A metric: what it is called, what it means and how it is measured.
#[derive(Debug)]
pub struct Metric {
    /// The name in OpenTelemetry.
    pub name: &'static str,
    /// The unit as OpenTelemetry writes it: in UCUM, with what is counted in braces.
    pub unit: &'static str,
    /// The help text: one or two sentences.
    pub help: &'static str,
    /// The names of its labels, which OpenTelemetry calls attributes.
    pub labels: &'static [&'static str],
    /// How it is measured.
    pub measure: Measure,
    /// What becomes of points whose labels are the same.
    merge: Merge,
    /// The only consumer it is for; `None` where it is for all.
    only: Option<Consumer>,
}

/// A metric's kind, with the function that measures it.
#[derive(Clone, Copy, Debug)]
pub enum Measure {
    /// A count that only ever grows while the agent runs.
    Counter(fn(&Snapshot) -> Points<Number>),
    /// A value at one moment.
    Gauge(fn(&Snapshot) -> Points<Number>),
    /// Durations by length; they only ever grow in number.
    Histogram(fn(&Snapshot) -> Points<Histogram>),
    /// A count that the consumer keeps itself.
    Kept,
}

/// Who reads metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consumer {
    /// Keeps every series that it has ever seen. Labels whose values have no bound are left out.
    Prometheus,
    /// OpenTelemetry's protocol.
    Otlp,
}

/// Takes the metrics of a snapshot, one after the other. Labels are different from point to point, and each metric that
/// comes has at least one point.
pub trait Visitor {
    /// Whom the metrics are for.
    const CONSUMER: Consumer;

    /// Takes a counter or a gauge.
    fn numbers(&mut self, metric: &'static Metric, points: Points<Number>);

    /// Takes a histogram.
    fn histograms(&mut self, metric: &'static Metric, points: Points<Histogram>);
}

/// Shows a visitor all metrics of a snapshot that are for its consumer, in the catalogue's order.
pub fn visit<V: Visitor>(snapshot: &Snapshot, visitor: &mut V) {
    for metric in CATALOGUE.iter().flat_map(|section| section.metrics) {
        if !metric.is_for(V::CONSUMER) {
            continue;
        }
        match metric.measure {
            Measure::Counter(measure) | Measure::Gauge(measure) => {
                let points = metric.merged(measure(snapshot), V::CONSUMER);
                if !points.is_empty() {
                    visitor.numbers(metric, points);
                }
            }
            Measure::Histogram(measure) => visitor.histograms(metric, measure(snapshot)),
            Measure::Kept => {}
        }
    }
}

impl Metric {
    const fn new(
        name: &'static str,
        unit: &'static str,
        help: &'static str,
        labels: &'static [&'static str],
        measure: Measure,
    ) -> Self {
        Self {
            name,
            unit,
            help,
            labels,
            measure,
            merge: Merge::Sum,
            only: None,
        }
    }

    const fn merged_by(self, merge: Merge) -> Self {
        Self { merge, ..self }
    }

    const fn only_for(self, consumer: Consumer) -> Self {
        let only = Some(consumer);
        Self { only, ..self }
    }

    /// Whether a consumer gets it.
    #[must_use]
    pub fn is_for(&self, consumer: Consumer) -> bool {
        self.only.is_none_or(|only| only == consumer)
    }

    /// Whether it only ever grows, in OpenTelemetry's words: whether it is a monotonic sum.
    #[must_use]
    pub fn is_counter(&self) -> bool {
        matches!(self.measure, Measure::Counter(_) | Measure::Kept)
    }

    /// Whether it has the names of processes.
    #[must_use]
    pub fn names_processes(&self) -> bool {
        self.labels.contains(&PROCESS)
    }

    /// The points without the labels that the consumer does not get, each with labels of its own.
    fn merged(&self, points: Points<Number>, consumer: Consumer) -> Points<Number> {
        let mut merged = Points::new();
        for (mut labels, value) in points {
            labels.retain(|label| consumer == Consumer::Otlp || label.is_bounded());
            self.merge_into(&mut merged, labels, value);
        }
        merged
    }

    /// Adds a point, or merges it into the one that has the same labels.
    pub(crate) fn merge_into(&self, points: &mut Points<Number>, labels: Labels, value: Number) {
        match points.iter_mut().find(|(known, _)| *known == labels) {
            Some((_, merged)) => *merged = merged.merge(value, self.merge),
            None => points.push((labels, value)),
        }
    }
}
