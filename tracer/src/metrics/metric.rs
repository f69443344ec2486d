//! What a metric is.

use tcpclose_core::summary::Histogram;

use super::label::{Label, PROCESS};
use super::number::{Merge, Number};
use super::snapshot::Snapshot;

/// What tells the series of a metric apart.
pub type Labels = Vec<Label>;

/// The series of a metric, each with its value.
pub type Points<V> = Vec<(Labels, V)>;

/// What a metric is called, what it means and where its values come from.
#[derive(Debug)]
pub struct Metric {
    /// The name in OpenTelemetry.
    pub name: &'static str,
    /// The unit in UCUM, as OpenTelemetry has it, with counted things in braces.
    pub unit: &'static str,
    /// The help text: one or two sentences.
    pub help: &'static str,
    /// The names of its labels, which OpenTelemetry calls attributes.
    pub labels: &'static [&'static str],
    /// Its kind, and where its values come from.
    pub measure: Measure,
    /// How points with the same labels become one.
    merge: Merge,
    /// The only consumer that gets it; `None` if all do.
    only: Option<Consumer>,
}

/// A metric's kind, with the function that reads its values.
#[derive(Clone, Copy, Debug)]
pub enum Measure {
    /// Counts that only grow while the agent runs.
    Counter(fn(&Snapshot) -> Points<Number>),
    /// Values at one moment.
    Gauge(fn(&Snapshot) -> Points<Number>),
    /// Durations by length, counted from the agent's start.
    Histogram(fn(&Snapshot) -> Points<Histogram>),
    /// A counter that is not in the snapshot: the consumer counts itself.
    CountedByConsumer,
}

/// Who reads metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consumer {
    /// Prometheus, which keeps every series that it has ever seen: it gets no labels with an
    /// unbounded number of values.
    Prometheus,
    /// A receiver of OpenTelemetry's protocol.
    Otlp,
}

impl Metric {
    pub(super) const fn new(
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

    pub(super) const fn merged_by(self, merge: Merge) -> Self {
        Self { merge, ..self }
    }

    pub(super) const fn only_for(self, consumer: Consumer) -> Self {
        let only = Some(consumer);
        Self { only, ..self }
    }

    /// Returns whether a consumer gets the metric.
    #[must_use]
    pub fn is_for(&self, consumer: Consumer) -> bool {
        self.only.is_none_or(|only| only == consumer)
    }

    /// Returns whether the metric is a counter, which OpenTelemetry calls a monotonic sum.
    #[must_use]
    pub fn is_counter(&self) -> bool {
        matches!(
            self.measure,
            Measure::Counter(_) | Measure::CountedByConsumer
        )
    }

    /// Returns whether the metric's series have names of processes.
    #[must_use]
    pub fn names_processes(&self) -> bool {
        self.labels.contains(&PROCESS)
    }

    /// Drops the labels that the consumer does not get, and merges the points that are then alike.
    pub(super) fn merged(&self, points: Points<Number>, consumer: Consumer) -> Points<Number> {
        let mut merged = Points::new();
        for (mut labels, value) in points {
            labels.retain(|label| consumer == Consumer::Otlp || label.is_bounded());
            self.merge_into(&mut merged, labels, value);
        }
        merged
    }

    /// Adds a point, or merges it into the one with the same labels.
    pub(crate) fn merge_into(&self, points: &mut Points<Number>, labels: Labels, value: Number) {
        match points.iter_mut().find(|(known, _)| *known == labels) {
            Some((_, merged)) => *merged = merged.merge(value, self.merge),
            None => points.push((labels, value)),
        }
    }
}
