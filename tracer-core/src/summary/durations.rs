//! How long endpoints stay in a state: a sketch for quantiles, and a histogram that only grows.

use std::fmt;
use std::time::Duration;

use sketches_ddsketch::{Config, DDSketch};

use crate::types::Nanos;

/// Quantiles are right to this share of their value, either way; counts, sums and the longest are
/// exact.
pub const RELATIVE_ERROR: f64 = 0.01;

/// Bins of a sketch at most, 8 bytes each. At 1 % they reach over 17 decades, from 1 ns to years:
/// nothing is merged.
const MAX_BINS: u32 = 2048;

/// Where the histogram's buckets end (inclusive). An ordinary close spends microseconds in its
/// states, as far as it does not wait for the network; TIME_WAIT lasts 60 to 62 s, FIN_WAIT2 of an
/// orphan 60 s by default.
pub const DURATION_BUCKETS: [Nanos; 18] = [
    Nanos(10_000),
    Nanos(30_000),
    Nanos(100_000),
    Nanos(300_000),
    Nanos::from_millis(1),
    Nanos::from_millis(5),
    Nanos::from_millis(25),
    Nanos::from_millis(100),
    Nanos::from_millis(500),
    Nanos::from_millis(2_500),
    Nanos::from_secs(10),
    Nanos::from_secs(30),
    Nanos::from_secs(59),
    Nanos::from_secs(63),
    Nanos::from_secs(120),
    Nanos::from_secs(600),
    Nanos::from_secs(3_600),
    Nanos::from_secs(7_200),
];

/// Durations of one interval.
#[derive(Clone)]
pub struct DurationSketch {
    sketch: DDSketch,
    sum: Duration,
    max: Nanos,
}

impl Default for DurationSketch {
    fn default() -> Self {
        Self {
            sketch: DDSketch::new(Config::new(RELATIVE_ERROR, MAX_BINS, 1.0)),
            sum: Duration::ZERO,
            max: Nanos(0),
        }
    }
}

impl fmt::Debug for DurationSketch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.stats().fmt(f)
    }
}

impl DurationSketch {
    /// Adds a duration.
    pub fn add(&mut self, span: Nanos) {
        self.sketch.add(span.0 as f64);
        self.sum += Duration::from_nanos(span.0);
        self.max = self.max.max(span);
    }

    /// Adds the durations of another one.
    pub fn merge(&mut self, other: &Self) {
        // Sketches of one configuration always merge.
        let _ = self.sketch.merge(&other.sketch);
        self.sum += other.sum;
        self.max = self.max.max(other.max);
    }

    /// Returns the statistics of the durations.
    #[must_use]
    pub fn stats(&self) -> DurationStats {
        let count = self.sketch.count() as f64;
        let quantile = |share: f64| {
            // The sketch counts from 0 and rounds down; half a step keeps that from going one too
            // far.
            let rank = (share * count).ceil() - 1.0;
            let share = ((rank + 0.5) / (count - 1.0).max(1.0)).min(1.0);
            let ns = self.sketch.quantile(share).ok().flatten()?;
            // The middle of the last bin may lie behind the longest.
            Some(Nanos(ns.round() as u64).min(self.max))
        };
        DurationStats {
            count: self.sketch.count() as u64,
            sum: self.sum,
            p50: quantile(0.5),
            p90: quantile(0.9),
            p99: quantile(0.99),
            max: (self.sketch.count() > 0).then_some(self.max),
        }
    }
}

/// Statistics of durations. Quantiles are accurate to [`RELATIVE_ERROR`]; they are `None` if there
/// are no durations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DurationStats {
    /// The number of durations.
    pub count: u64,
    /// The sum of the durations: 8 hours of 10,000 TIME_WAITs a second would not fit [`Nanos`].
    pub sum: Duration,
    /// The median; `None` where nothing was measured.
    pub p50: Option<Nanos>,
    /// The 90th percentile.
    pub p90: Option<Nanos>,
    /// The 99th percentile.
    pub p99: Option<Nanos>,
    /// The longest duration.
    pub max: Option<Nanos>,
}

/// All durations since the start, by length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    /// The number of durations in each of [`DURATION_BUCKETS`]; the last count is of those longer
    /// than all buckets.
    pub counts: [u64; DURATION_BUCKETS.len() + 1],
    /// The sum of the durations.
    pub sum: Duration,
}

impl Histogram {
    /// Adds a duration.
    pub fn add(&mut self, span: Nanos) {
        self.counts[DURATION_BUCKETS.partition_point(|end| *end < span)] += 1;
        self.sum += Duration::from_nanos(span.0);
    }

    /// Returns what was added since `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let pairs = std::array::from_fn(|bucket| {
            self.counts[bucket].saturating_sub(earlier.counts[bucket])
        });
        Self {
            counts: pairs,
            sum: self.sum.saturating_sub(earlier.sum),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sketch_of_us(spans: impl IntoIterator<Item = u64>) -> DurationSketch {
        let mut all = DurationSketch::default();
        for us in spans {
            all.add(Nanos(us * 1_000));
        }
        all
    }

    #[track_caller]
    fn assert_near(reported: Option<Nanos>, exact: Nanos) {
        let reported = reported.expect("there are durations");
        let error = reported.0.abs_diff(exact.0) as f64 / exact.0 as f64;
        assert!(error <= RELATIVE_ERROR, "{reported:?} instead of {exact:?}");
    }

    #[test]
    fn nothing_has_no_quantiles() {
        assert_eq!(DurationSketch::default().stats(), DurationStats::default());
    }

    #[test]
    fn quantiles_are_right_to_one_percent() {
        let stats = sketch_of_us(1..=100_000).stats();
        assert_eq!(stats.count, 100_000);
        assert_eq!(stats.sum, Duration::from_micros(5_000_050_000));
        assert_eq!(stats.max, Some(Nanos::from_millis(100)));
        assert_near(stats.p50, Nanos::from_millis(50));
        assert_near(stats.p90, Nanos::from_millis(90));
        assert_near(stats.p99, Nanos::from_millis(99));
    }

    /// A quantile is one of the durations: so many of them are no longer, however few there are.
    #[test]
    fn few_durations_have_quantiles_too() {
        let stats = sketch_of_us([500, 1_200]).stats();
        assert_near(stats.p50, Nanos(500_000));
        assert_near(stats.p90, Nanos(1_200_000));
        assert_near(stats.p99, Nanos(1_200_000));
        let stats = sketch_of_us(1..=10).stats();
        assert_near(stats.p50, Nanos(5_000));
        assert_near(stats.p90, Nanos(9_000));
        assert_near(stats.p99, Nanos(10_000));
    }

    #[test]
    fn from_a_microsecond_to_years() {
        let year = Nanos::from_secs(365 * 86_400);
        for span in [Nanos(1_000), Nanos::from_secs(60), year] {
            let mut sketch = sketch_of_us([]);
            sketch.add(Nanos(1));
            sketch.add(span);
            sketch.add(span);
            assert_near(sketch.stats().p90, span);
        }
    }

    #[test]
    fn no_quantile_lies_behind_the_longest() {
        for us in [1, 7, 33, 60_000_000] {
            let stats = sketch_of_us([us]).stats();
            assert!(stats.p99 <= stats.max, "{stats:?}");
        }
    }

    #[test]
    fn parts_merge_to_the_whole() {
        let mut parts = sketch_of_us(1..=500);
        parts.merge(&sketch_of_us(501..=1_000));
        assert_eq!(parts.stats(), sketch_of_us(1..=1_000).stats());
    }

    #[test]
    fn a_bucket_includes_its_end() {
        let mut histogram = Histogram::default();
        for span in [
            Nanos(0),
            DURATION_BUCKETS[0],
            DURATION_BUCKETS[0] + Nanos(1),
            DURATION_BUCKETS[DURATION_BUCKETS.len() - 1] + Nanos(1),
        ] {
            histogram.add(span);
        }
        assert_eq!(histogram.counts[..2], [2, 1]);
        assert_eq!(histogram.counts[DURATION_BUCKETS.len()], 1);
        assert_eq!(histogram.counts.iter().sum::<u64>(), 4);
    }
}
