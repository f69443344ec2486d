//! The agent's metrics: one catalogue, and visitors that turn it into Prometheus' text and OTLP.
//!
//! Each [`Metric`] of the [`CATALOGUE`] has a name, unit, kind, help text and labels, and the
//! function that reads its values from a [`MetricsSnapshot`]. Prometheus' names are
//! [derived](Metric::prometheus_name) from OpenTelemetry's by OpenTelemetry's own rule. A test
//! makes the tables of docs/metrics.md from the catalogue. All counts start with the agent.

mod catalogue;
#[cfg(test)]
mod docs;
mod label;
mod metric;
mod name;
mod number;
mod record_outcome;
mod snapshot;
#[cfg(test)]
mod tests;
mod visitor;

pub(crate) use catalogue::SERIES_DROPPED;
pub use catalogue::{CATALOGUE, CatalogueSection};
pub use label::{HIGH_CARDINALITY, Label, LabelValue, PLACE_LABELS, PROCESS_LABEL, ProcessName};
pub use metric::{ExportFormat, Instrument, Labels, Metric, Points};
pub(crate) use name::prometheus_label;
pub use number::{Merge, Number};
pub use snapshot::{FlightCounts, MetricsSnapshot, Rankings, SnapshotPair, StateWrites};
pub use visitor::{Visitor, visit};
