//! Families of metrics, as they are built up for a scrape.

use prometheus::proto::{
    Bucket, Counter, Gauge, Histogram as HistogramValue, LabelPair, Metric, MetricFamily,
    MetricType,
};

use tcpclose_core::summary::{BUCKETS, Histogram};

/// A label's name and value.
pub(super) type Label<'a> = (&'a str, &'a str);

pub(super) const UNLABELLED: &[Label<'static>] = &[];

/// A list of families, without empty ones.
#[derive(Debug, Default)]
pub(super) struct Families(Vec<MetricFamily>);

impl From<Families> for Vec<MetricFamily> {
    fn from(families: Families) -> Self {
        families.0
    }
}

impl Families {
    pub fn counter<'a, L: AsRef<[Label<'a>]>>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (L, f64)>,
    ) {
        let metrics = values.into_iter().map(|(label, value)| {
            let mut counter = Counter::default();
            counter.set_value(value);
            let mut metric = labelled(label.as_ref());
            metric.set_counter(counter);
            metric
        });
        self.add(name, help, MetricType::COUNTER, metrics.collect());
    }

    pub fn gauge<'a, L: AsRef<[Label<'a>]>>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (L, f64)>,
    ) {
        let metrics = values.into_iter().map(|(label, value)| {
            let mut gauge = Gauge::default();
            gauge.set_value(value);
            let mut metric = labelled(label.as_ref());
            metric.set_gauge(gauge);
            metric
        });
        self.add(name, help, MetricType::GAUGE, metrics.collect());
    }

    pub fn histogram(&mut self, name: &str, help: &str, histogram: &Histogram) {
        let mut count = 0;
        let buckets = BUCKETS.iter().zip(histogram.counts).map(|(end, inside)| {
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
        let mut metric = Metric::default();
        metric.set_histogram(value);
        self.add(name, help, MetricType::HISTOGRAM, vec![metric]);
    }

    fn add(&mut self, name: &str, help: &str, kind: MetricType, metrics: Vec<Metric>) {
        if metrics.is_empty() {
            return;
        }
        let mut family = MetricFamily::default();
        family.set_name(name.to_owned());
        family.set_help(help.to_owned());
        family.set_field_type(kind);
        family.set_metric(metrics);
        self.0.push(family);
    }

    /// How many series there are.
    pub fn series(&self) -> usize {
        self.0.iter().map(series).sum()
    }

    /// Leaves out the last families until there are at most so many series; returns how many had to go.
    pub fn cut(&mut self, most: usize) -> u64 {
        let before = self.series();
        let mut left = before;
        while left > most
            && let Some(family) = self.0.pop()
        {
            left -= series(&family);
        }
        (before - left) as u64
    }
}

/// A histogram has a series for each bucket, one for all, and its count and sum.
fn series(family: &MetricFamily) -> usize {
    let each = match family.get_field_type() {
        MetricType::HISTOGRAM => BUCKETS.len() + 3,
        _ => 1,
    };
    family.get_metric().len() * each
}

fn labelled(labels: &[Label<'_>]) -> Metric {
    let pairs = labels.iter().map(|(name, value)| {
        let mut pair = LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value((*value).to_owned());
        pair
    });
    Metric::from_label(pairs.collect())
}
