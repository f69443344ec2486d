//! The definition of a metric.

use tcpclose_core::summary::Histogram;

use super::label::{Label, PROCESS_LABEL};
use super::number::{Merge, Number};
use super::snapshot::MetricsSnapshot;

/// The labels that distinguish the series of a metric.
pub type Labels = Vec<Label>;

/// The series of a metric, each with its value.
pub type Points<V> = Vec<(Labels, V)>;

/// A metric: its name, its meaning, and the source of its values.
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
    pub instrument: Instrument,
    /// How points with the same labels become one.
    merge: Merge,
    /// The only consumer that gets it; `None` if all do.
    only: Option<ExportFormat>,
}

/// A metric's kind, with the function that reads its values.
#[derive(Clone, Copy, Debug)]
pub enum Instrument {
    /// Counts that only grow while the agent runs.
    Counter(fn(&MetricsSnapshot) -> Points<Number>),
    /// Values at one moment.
    Gauge(fn(&MetricsSnapshot) -> Points<Number>),
    /// Durations by length, counted from the agent's start.
    Histogram(fn(&MetricsSnapshot) -> Points<Histogram>),
    /// A counter that is not in the snapshot: the consumer counts itself.
    CountedByExporter,
}

/// The format in which metrics are exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExportFormat {
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
        instrument: Instrument,
    ) -> Self {
        Self {
            name,
            unit,
            help,
            labels,
            instrument,
            merge: Merge::Sum,
            only: None,
        }
    }

    pub(super) const fn merged_by(self, merge: Merge) -> Self {
        Self { merge, ..self }
    }

    pub(super) const fn only_for(self, consumer: ExportFormat) -> Self {
        let only = Some(consumer);
        Self { only, ..self }
    }

    /// Returns whether a consumer gets the metric.
    #[must_use]
    pub fn is_for(&self, consumer: ExportFormat) -> bool {
        self.only.is_none_or(|only| only == consumer)
    }

    /// Returns whether the metric is a counter, which OpenTelemetry calls a monotonic sum.
    #[must_use]
    pub fn is_counter(&self) -> bool {
        matches!(
            self.instrument,
            Instrument::Counter(_) | Instrument::CountedByExporter
        )
    }

    /// Returns whether the metric's series have names of processes.
    #[must_use]
    pub fn names_processes(&self) -> bool {
        self.labels.contains(&PROCESS_LABEL)
    }

    /// Drops the labels that the consumer does not get, and merges the points that are then alike.
    pub(super) fn merged(&self, points: Points<Number>, consumer: ExportFormat) -> Points<Number> {
        let mut merged = Points::new();
        for (mut labels, value) in points {
            if consumer == ExportFormat::Prometheus {
                labels.retain(Label::is_bounded);
            }
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
