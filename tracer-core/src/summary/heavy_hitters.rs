//! Who comes most often, in bounded memory however many there are.
//!
//! The Misra-Gries algorithm with a table that is purged by halves: when the table is full, the
//! median rank is taken from all ranks and the keys left with none are forgotten, so each key that
//! makes up more than about 2/capacity of all stays in the table, whenever it comes. What was
//! counted of a key while it was there is reported, and all else as the rest: the numbers reported
//! are never too high and always add up to the exact total.

use std::collections::HashMap;
use std::hash::Hash;

/// Keys counted at one time.
const CAPACITY: usize = 4096;

/// Counts keys.
#[derive(Clone, Debug)]
pub struct Top<K> {
    counters: HashMap<K, Counter>,
    capacity: usize,
    total: u64,
    /// No key was forgotten: all counts are exact.
    exact: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counter {
    counted: u64,
    rank: u64,
}

/// The most frequent keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ranking<K> {
    /// Each with its count, the most frequent first.
    pub most: Vec<(K, u64)>,
    /// The count of all others together, so that the sum is the total.
    pub other: u64,
    /// The counts are exact. If not, there were more different keys than the table holds, and some
    /// of a key's may be among the others.
    pub exact: bool,
}

impl<K> Ranking<K> {
    /// The count of all together.
    #[must_use]
    pub fn total(&self) -> u64 {
        let most = self.most.iter().map(|(_, count)| count);
        most.sum::<u64>() + self.other
    }
}

impl<K> Default for Ranking<K> {
    fn default() -> Self {
        Self {
            most: Vec::new(),
            other: 0,
            exact: true,
        }
    }
}

impl<K> Default for Top<K> {
    fn default() -> Self {
        Self::new(CAPACITY)
    }
}

impl<K> Top<K> {
    fn new(capacity: usize) -> Self {
        Self {
            counters: HashMap::new(),
            capacity,
            total: 0,
            exact: true,
        }
    }
}

impl<K: Hash + Ord + Clone> Top<K> {
    /// Counts a key.
    pub fn add(&mut self, key: K) {
        self.total += 1;
        if self.counters.len() >= self.capacity && !self.counters.contains_key(&key) {
            self.purge();
        }
        let counter = self.counters.entry(key).or_default();
        counter.counted += 1;
        counter.rank += 1;
    }

    /// At least half of the keys go.
    fn purge(&mut self) {
        let mut ranks: Vec<u64> = self.counters.values().map(|counter| counter.rank).collect();
        let middle = ranks.len() / 2;
        let (_, median, _) = ranks.select_nth_unstable(middle);
        let median = *median;
        self.counters.retain(|_, counter| {
            counter.rank = counter.rank.saturating_sub(median);
            counter.rank > 0
        });
        self.exact = false;
    }

    /// The most frequent keys, at most so many.
    #[must_use]
    pub fn ranking(&self, most: usize) -> Ranking<K> {
        let mut all: Vec<(&K, u64)> = self
            .counters
            .iter()
            .map(|(key, counter)| (key, counter.counted))
            .collect();
        all.sort_unstable_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
        all.truncate(most);
        let named: u64 = all.iter().map(|(_, count)| count).sum();
        Ranking {
            most: all
                .into_iter()
                .map(|(key, count)| (key.clone(), count))
                .collect(),
            other: self.total - named,
            exact: self.exact,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn few_keys_are_counted_exactly() {
        let mut top = Top::default();
        for key in ["b", "a", "c", "a", "b", "a", "d"] {
            top.add(key);
        }
        let ranking = top.ranking(2);
        assert_eq!(ranking.most, [("a", 3), ("b", 2)]);
        assert_eq!((ranking.other, ranking.exact), (2, true));
    }

    #[test]
    fn of_equals_the_lesser_key_comes_first() {
        let mut top = Top::default();
        for key in [5, 3, 4] {
            top.add(key);
        }
        assert_eq!(top.ranking(2).most, [(3, 1), (4, 1)]);
    }

    #[test]
    fn a_frequent_key_is_found_among_a_million_others_even_when_it_comes_last() {
        let mut top = Top::default();
        for other in 1..=1_000_000_u32 {
            top.add(other);
        }
        for other in 0..10_000 {
            top.add(0);
            top.add(2_000_000 + other);
        }
        let ranking = top.ranking(1);
        assert_eq!(ranking.most, [(0, 10_000)]);
        assert_eq!((ranking.other, ranking.exact), (1_010_000, false));
        assert!(top.counters.len() <= CAPACITY);
    }

    proptest! {
        #[test]
        fn no_count_is_too_high_and_all_add_up(keys in prop::collection::vec(0..200_u32, 0..2_000)) {
            let mut top = Top::new(16);
            let mut exact: HashMap<u32, u64> = HashMap::new();
            for &key in &keys {
                top.add(key);
                *exact.entry(key).or_default() += 1;
                prop_assert!(top.counters.len() <= 16);
            }
            let ranking = top.ranking(5);
            let named: u64 = ranking.most.iter().map(|(_, count)| count).sum();
            prop_assert_eq!(named + ranking.other, keys.len() as u64);
            for (key, count) in ranking.most {
                prop_assert!(count <= exact[&key]);
                prop_assert!(!ranking.exact || count == exact[&key]);
            }
        }
    }
}
