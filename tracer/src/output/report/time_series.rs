//! Counts over time, in buckets that widen as time goes on.

use std::collections::BTreeMap;

use tcpclose_core::types::Nanos;

/// The most buckets. A page has some pixels for each.
const MAX_BUCKETS: u64 = 120;
/// The width at first.
const MIN_WIDTH: Nanos = Nanos::from_secs(1);

/// Counts by kind over time. Bounded: where the times span too many buckets, pairs of neighbours
/// become one.
#[derive(Clone, Debug)]
pub(super) struct TimeSeries<K> {
    width: Nanos,
    buckets: BTreeMap<u64, BTreeMap<K, i64>>,
}

impl<K> Default for TimeSeries<K> {
    fn default() -> Self {
        Self {
            width: MIN_WIDTH,
            buckets: BTreeMap::new(),
        }
    }
}

/// The counts of one span of time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bucket<K> {
    pub start: Nanos,
    pub counts: BTreeMap<K, i64>,
}

impl<K: Ord + Copy> TimeSeries<K> {
    /// Adds to a count: -1 where one ends that was counted when it began.
    pub fn add(&mut self, at: Nanos, kind: K, count: i64) {
        let bucket = self.buckets.entry(at.0 / self.width.0).or_default();
        *bucket.entry(kind).or_default() += count;
        while self.span() > MAX_BUCKETS {
            self.widen();
        }
    }

    /// The time of a bucket.
    pub const fn width(&self) -> Nanos {
        self.width
    }

    /// Returns all buckets from the first to the last, those in which nothing happened included.
    pub fn buckets(&self) -> Vec<Bucket<K>> {
        let first = self.first().unwrap_or(0);
        let numbers = first..first + self.span();
        let bucket = |number| Bucket {
            start: Nanos(number * self.width.0),
            counts: self.buckets.get(&number).cloned().unwrap_or_default(),
        };
        numbers.map(bucket).collect()
    }

    /// As [`Self::buckets`], each with the sums up to its end.
    pub fn sums(&self) -> Vec<Bucket<K>> {
        let mut sums: BTreeMap<K, i64> = BTreeMap::new();
        let mut buckets = self.buckets();
        for bucket in &mut buckets {
            for (kind, count) in &bucket.counts {
                *sums.entry(*kind).or_default() += count;
            }
            bucket.counts.clone_from(&sums);
        }
        buckets
    }

    fn first(&self) -> Option<u64> {
        self.buckets.keys().next().copied()
    }

    fn span(&self) -> u64 {
        let last = self.buckets.keys().next_back();
        last.zip(self.first())
            .map_or(0, |(last, first)| last - first + 1)
    }

    fn widen(&mut self) {
        self.width = Nanos(self.width.0 * 2);
        for (number, counts) in std::mem::take(&mut self.buckets) {
            let bucket = self.buckets.entry(number / 2).or_default();
            for (kind, count) in counts {
                *bucket.entry(kind).or_default() += count;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Bucket, MAX_BUCKETS, TimeSeries};
    use std::collections::BTreeMap;
    use tcpclose_core::types::Nanos;

    #[test]
    fn quiet_times_are_buckets_too() {
        let mut counts = TimeSeries::default();
        counts.add(Nanos::from_millis(2_900), 'a', 1);
        counts.add(Nanos::from_millis(1_000), 'b', 1);
        counts.add(Nanos::from_millis(3_999), 'a', 1);
        let bucket = |start, counts: &[(char, i64)]| Bucket {
            start: Nanos::from_secs(start),
            counts: counts.iter().copied().collect::<BTreeMap<_, _>>(),
        };
        assert_eq!(
            counts.buckets(),
            [
                bucket(1, &[('b', 1)]),
                bucket(2, &[('a', 1)]),
                bucket(3, &[('a', 1)]),
            ]
        );
        assert_eq!(TimeSeries::<char>::default().buckets(), []);
    }

    #[test]
    fn sums_rise_and_fall() {
        let mut alive = TimeSeries::default();
        alive.add(Nanos::from_secs(1), (), 2);
        alive.add(Nanos::from_secs(3), (), -1);
        let sums: Vec<i64> = alive.sums().iter().map(|sum| sum.counts[&()]).collect();
        assert_eq!(sums, [2, 2, 1]);
    }

    #[test]
    fn however_long_it_lasts_the_buckets_are_few() {
        let mut counts = TimeSeries::default();
        for second in 0..10_000 {
            counts.add(Nanos::from_secs(second), (), 1);
        }
        // A clock that jumps.
        counts.add(Nanos(u64::MAX), (), 1);
        let buckets = counts.buckets();
        assert!(buckets.len() as u64 <= MAX_BUCKETS);
        let total: i64 = buckets
            .iter()
            .flat_map(|bucket| bucket.counts.values())
            .sum();
        assert_eq!(total, 10_001);
    }
}
