//! Visitors, which turn the metrics of a snapshot into a format.

use tcpclose_core::summary::Histogram;

use super::catalogue::CATALOGUE;
use super::metric::{Consumer, Measure, Metric, Points};
use super::number::Number;
use super::snapshot::Snapshot;

/// Takes the metrics of a snapshot, one after the other. Each has at least one point, and no two
/// points of a metric have the same labels.
pub trait Visitor {
    /// The consumer that the metrics are for.
    const CONSUMER: Consumer;

    /// Takes a counter or a gauge.
    fn numbers(&mut self, metric: &'static Metric, points: Points<Number>);

    /// Takes a histogram.
    fn histograms(&mut self, metric: &'static Metric, points: Points<Histogram>);
}

/// Shows a visitor the metrics that its consumer gets, in the order of the catalogue.
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
            Measure::CountedByConsumer => {}
        }
    }
}
