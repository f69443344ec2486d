//! Visitors, which turn the metrics of a snapshot into a format.

use tcpclose_core::summary::Histogram;

use super::catalogue::CATALOGUE;
use super::metric::{ExportFormat, Instrument, Metric, Points};
use super::number::Number;
use super::snapshot::MetricsSnapshot;

/// Takes the metrics of a snapshot, one after the other. Each has at least one point, and no two
/// points of a metric have the same labels.
pub trait Visitor {
    /// The consumer that the metrics are for.
    const FORMAT: ExportFormat;

    /// Takes a counter or a gauge.
    fn numbers(&mut self, metric: &'static Metric, points: Points<Number>);

    /// Takes a histogram.
    fn histograms(&mut self, metric: &'static Metric, points: Points<Histogram>);
}

/// Shows a visitor the metrics that its consumer gets, in the order of the catalogue.
pub fn visit<V: Visitor>(snapshot: &MetricsSnapshot, visitor: &mut V) {
    for metric in CATALOGUE.iter().flat_map(|section| section.metrics) {
        if !metric.is_for(V::FORMAT) {
            continue;
        }
        match metric.instrument {
            Instrument::Counter(instrument) | Instrument::Gauge(instrument) => {
                let points = metric.merged(instrument(snapshot), V::FORMAT);
                if !points.is_empty() {
                    visitor.numbers(metric, points);
                }
            }
            Instrument::Histogram(instrument) => visitor.histograms(metric, instrument(snapshot)),
            Instrument::CountedByExporter => {}
        }
    }
}
