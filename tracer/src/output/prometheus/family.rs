//! The metric families of a scrape.

use prometheus::proto::{
    Bucket, Counter, Gauge, Histogram as HistogramValue, LabelPair, MetricFamily, MetricType,
};

use crate::metrics::{
    ExportFormat, Label, LabelValue, Metric, Number, Points, ProcessName, Visitor, prometheus_label,
};
use tcpclose_core::summary::{DURATION_BUCKETS, Histogram};

/// Series that a histogram takes: one for each bucket and one for `+Inf`, the count and the sum.
const HISTOGRAM_SERIES: usize = DURATION_BUCKETS.len() + 3;

/// The families of a scrape.
#[derive(Debug, Default)]
pub(super) struct Families(Vec<Family>);

/// A metric with its series.
#[derive(Debug)]
pub(super) struct Family {
    pub(super) metric: &'static Metric,
    pub(super) values: Values,
}

#[derive(Debug)]
pub(super) enum Values {
    Numbers(Points<Number>),
    Histograms(Points<Histogram>),
}

impl Visitor for Families {
    const FORMAT: ExportFormat = ExportFormat::Prometheus;

    fn numbers(&mut self, metric: &'static Metric, points: Points<Number>) {
        let values = Values::Numbers(points);
        self.0.push(Family { metric, values });
    }

    fn histograms(&mut self, metric: &'static Metric, points: Points<Histogram>) {
        let values = Values::Histograms(points);
        self.0.push(Family { metric, values });
    }
}

impl Families {
    /// Returns the number of series, without those that have names of processes.
    pub(super) fn series_without_processes(&self) -> usize {
        let families = self.0.iter();
        let families = families.filter(|family| !family.metric.names_processes());
        families.map(Family::series).sum()
    }

    /// Returns the names of processes, each once.
    pub(super) fn process_names(&self) -> Vec<ProcessName> {
        let mut names = Vec::new();
        for (labels, _) in self.0.iter().flat_map(Family::numbers) {
            for label in labels {
                if let Label::Process(name) = label
                    && !names.contains(name)
                {
                    names.push(name.clone());
                }
            }
        }
        names
    }

    /// Returns each metric that has names of processes, with its points.
    pub(super) fn process_families(
        &mut self,
    ) -> impl Iterator<Item = (&'static Metric, &mut Points<Number>)> {
        self.0
            .iter_mut()
            .filter_map(|family| match &mut family.values {
                Values::Numbers(points) if family.metric.names_processes() => {
                    Some((family.metric, points))
                }
                _ => None,
            })
    }

    /// Drops the last families until at most `most` series are left; returns how many were dropped.
    pub(super) fn cut(&mut self, most: usize) -> u64 {
        let before: usize = self.0.iter().map(Family::series).sum();
        let mut left = before;
        while left > most
            && let Some(family) = self.0.pop()
        {
            left -= family.series();
        }
        (before - left) as u64
    }

    /// Converts the families for the text encoder.
    pub(super) fn encoded(&self) -> Vec<MetricFamily> {
        self.0.iter().map(Family::encoded).collect()
    }
}

impl Family {
    fn series(&self) -> usize {
        match &self.values {
            Values::Numbers(points) => points.len(),
            Values::Histograms(points) => points.len() * HISTOGRAM_SERIES,
        }
    }

    fn numbers(&self) -> &[(Vec<Label>, Number)] {
        match &self.values {
            Values::Numbers(points) => points,
            Values::Histograms(_) => &[],
        }
    }

    fn encoded(&self) -> MetricFamily {
        let Self { metric, values } = self;
        let (kind, metrics) = match values {
            Values::Numbers(points) => {
                let kind = match metric.is_counter() {
                    true => MetricType::COUNTER,
                    false => MetricType::GAUGE,
                };
                let points = points.iter();
                let metrics = points.map(|(labels, value)| number(labels, *value, kind));
                (kind, metrics.collect())
            }
            Values::Histograms(points) => {
                let points = points.iter();
                let metrics = points.map(|(labels, value)| histogram(labels, value));
                (MetricType::HISTOGRAM, metrics.collect())
            }
        };
        let mut family = MetricFamily::default();
        family.set_name(metric.prometheus_name());
        family.set_help(metric.help.to_owned());
        family.set_field_type(kind);
        family.set_metric(metrics);
        family
    }
}

fn number(labels: &[Label], value: Number, kind: MetricType) -> prometheus::proto::Metric {
    let mut metric = labelled(labels);
    if kind == MetricType::COUNTER {
        let mut counter = Counter::default();
        counter.set_value(value.as_f64());
        metric.set_counter(counter);
    } else {
        let mut gauge = Gauge::default();
        gauge.set_value(value.as_f64());
        metric.set_gauge(gauge);
    }
    metric
}

fn histogram(labels: &[Label], histogram: &Histogram) -> prometheus::proto::Metric {
    let mut count = 0;
    let buckets = DURATION_BUCKETS
        .iter()
        .zip(histogram.counts)
        .map(|(end, inside)| {
            count += inside;
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(end.0 as f64 / 1e9);
            bucket.set_cumulative_count(count);
            bucket
        });
    let mut value = HistogramValue::default();
    value.set_bucket(buckets.collect());
    value.set_sample_count(histogram.counts.iter().sum());
    value.set_sample_sum(histogram.sum.as_secs_f64());
    let mut metric = labelled(labels);
    metric.set_histogram(value);
    metric
}

fn labelled(labels: &[Label]) -> prometheus::proto::Metric {
    let pairs = labels.iter().flat_map(Label::pairs).map(|(name, value)| {
        let mut pair = LabelPair::default();
        pair.set_name(prometheus_label(name));
        pair.set_value(match value {
            LabelValue::Text(text) => text,
            LabelValue::Number(number) => number.to_string(),
        });
        pair
    });
    prometheus::proto::Metric::from_label(pairs.collect())
}
