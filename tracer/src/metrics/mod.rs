//! The agent's metrics: one catalogue, and visitors that turn it into Prometheus' text and OTLP.
//!
//! Each [`Metric`] of the [`CATALOGUE`] has a name, unit, kind, help text and labels, and the
//! function that reads its values from a [`Snapshot`]. Prometheus' names are
//! [derived](Metric::prometheus_name) from OpenTelemetry's by OpenTelemetry's own rule. A test
//! makes the tables of docs/metrics.md from the catalogue. All counts start with the agent.

mod catalogue;
#[cfg(test)]
mod docs;
mod label;
mod metric;
mod name;
mod number;
mod snapshot;
#[cfg(test)]
mod tests;
mod visitor;

pub(crate) use catalogue::SERIES_DROPPED;
pub use catalogue::{CATALOGUE, Section};
pub use label::{Label, LabelValue, PROCESS, ProcessTitle, UNBOUNDED};
pub use metric::{Consumer, Labels, Measure, Metric, Points};
pub(crate) use name::prometheus_label;
pub use number::{Merge, Number};
pub use snapshot::{Interval, Rankings, Snapshot};
pub use visitor::{Visitor, visit};
