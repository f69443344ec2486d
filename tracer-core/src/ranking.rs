//! Counts the most frequent keys in bounded memory.
//!
//! The Misra-Gries algorithm with a table that is purged by halves: when the table is full, the
//! median rank is taken from all ranks and the keys left with none are forgotten, so each key that
//! makes up more than about 2/capacity of all stays in the table, whenever it comes. What was
//! counted of a key while it was there is reported, and all else as the rest: the numbers reported
//! are never too high and always add up to the exact total.

use std::collections::HashMap;
use std::hash::Hash;

/// Keys counted at one time.
const MAX_KEYS: usize = 4096;

/// Counts keys, and keeps a note of each, which is forgotten with it.
#[derive(Clone, Debug)]
pub struct HeavyHitters<K, N = ()> {
    counters: HashMap<K, Counter<N>>,
    capacity: usize,
    total: u64,
    /// No key was forgotten: all counts are exact.
    exact: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counter<N> {
    counted: u64,
    rank: u64,
    note: N,
}

/// The most frequent keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ranking<K> {
    /// Each with its count, the most frequent first.
    pub top: Vec<(K, u64)>,
    /// The count of all others together, so that the sum is the total.
    pub rest: u64,
    /// The number of different keys among the others; if the counts are not exact, there were more.
    pub rest_keys: usize,
    /// The counts are exact. If not, there were more different keys than the table holds, and some
    /// of a key's may be among the others.
    pub exact: bool,
}

impl<K> Ranking<K> {
    /// The count of all together.
    #[must_use]
    pub fn total(&self) -> u64 {
        let top = self.top.iter().map(|(_, count)| count);
        top.sum::<u64>() + self.rest
    }
}

impl<K: Ord> Ranking<K> {
    /// Returns the ranking of all counts, with at most `len` keys; of equals the lesser comes
    /// first.
    #[must_use]
    pub fn from_counts(counts: impl IntoIterator<Item = (K, u64)>, len: usize) -> Self {
        let mut top: Vec<(K, u64)> = counts.into_iter().collect();
        top.sort_unstable_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        let others = top.split_off(len.min(top.len()));
        top.shrink_to_fit();
        Self {
            top,
            rest: others.iter().map(|(_, count)| count).sum(),
            rest_keys: others.len(),
            exact: true,
        }
    }
}

impl<K> Default for Ranking<K> {
    fn default() -> Self {
        Self {
            top: Vec::new(),
            rest: 0,
            rest_keys: 0,
            exact: true,
        }
    }
}

impl<K, N> Default for HeavyHitters<K, N> {
    fn default() -> Self {
        Self::new(MAX_KEYS)
    }
}

impl<K, N> HeavyHitters<K, N> {
    /// Returns a table of at most `capacity` keys.
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            counters: HashMap::new(),
            capacity,
            total: 0,
            exact: true,
        }
    }

    /// Returns the count of all keys, forgotten ones included.
    pub(crate) const fn total(&self) -> u64 {
        self.total
    }

    /// Returns whether no key was forgotten.
    pub(crate) const fn is_exact(&self) -> bool {
        self.exact
    }

    /// Returns the keys that are not forgotten with their counts, in no order, and their notes.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, u64, &N)> {
        let counters = self.counters.iter();
        counters.map(|(key, counter)| (key, counter.counted, &counter.note))
    }
}

impl<K: Hash + Ord + Clone, N: Default> HeavyHitters<K, N> {
    /// Counts a key, and returns its note.
    pub fn add(&mut self, key: K) -> &mut N {
        self.total += 1;
        if self.counters.len() >= self.capacity && !self.counters.contains_key(&key) {
            self.purge();
        }
        let counter = self.counters.entry(key).or_default();
        counter.counted += 1;
        counter.rank += 1;
        &mut counter.note
    }

    /// Returns the note of a key that is not forgotten.
    #[must_use]
    pub fn note(&self, key: &K) -> Option<&N> {
        self.counters.get(key).map(|counter| &counter.note)
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

    /// Returns the most frequent keys, at most `len`.
    #[must_use]
    pub fn ranking(&self, len: usize) -> Ranking<K> {
        let counters = self.counters.iter();
        let counts = counters.map(|(key, counter)| (key, counter.counted));
        let Ranking { top, rest_keys, .. } = Ranking::from_counts(counts, len);
        let named: u64 = top.iter().map(|(_, count)| count).sum();
        let top = top.into_iter().map(|(key, count)| (key.clone(), count));
        Ranking {
            top: top.collect(),
            // What was forgotten counts, too.
            rest: self.total - named,
            rest_keys,
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
        let mut hitters = HeavyHitters::<_>::default();
        for key in ["b", "a", "c", "a", "b", "a", "d"] {
            hitters.add(key);
        }
        let ranking = hitters.ranking(2);
        assert_eq!(ranking.top, [("a", 3), ("b", 2)]);
        assert_eq!((ranking.rest, ranking.rest_keys), (2, 2));
        assert!(ranking.exact);
    }

    #[test]
    fn a_ranking_names_the_most_frequent_and_counts_the_rest() {
        let counts = HashMap::from([(80_u16, 5), (81, 7), (82, 5), (83, 1), (84, 3)]);
        let expected = Ranking {
            top: vec![(81, 7), (80, 5), (82, 5)],
            rest: 4,
            rest_keys: 2,
            exact: true,
        };
        assert_eq!(Ranking::from_counts(counts, 3), expected);
    }

    #[test]
    fn of_equals_the_lesser_key_comes_first() {
        let mut hitters = HeavyHitters::<_>::default();
        for key in [5, 3, 4] {
            hitters.add(key);
        }
        assert_eq!(hitters.ranking(2).top, [(3, 1), (4, 1)]);
    }

    #[test]
    fn each_key_has_a_note_of_its_own() {
        let mut hitters: HeavyHitters<&str, Vec<u8>> = HeavyHitters::default();
        hitters.add("a").push(1);
        hitters.add("b").push(2);
        hitters.add("a").push(3);
        assert_eq!(hitters.note(&"a"), Some(&vec![1, 3]));
        assert_eq!((hitters.note(&"c"), hitters.total()), (None, 3));
    }

    #[test]
    fn a_frequent_key_is_found_among_a_million_others_even_when_it_comes_last() {
        let mut hitters = HeavyHitters::<_>::default();
        for other in 1..=1_000_000_u32 {
            hitters.add(other);
        }
        for other in 0..10_000 {
            hitters.add(0);
            hitters.add(2_000_000 + other);
        }
        let ranking = hitters.ranking(1);
        assert_eq!(ranking.top, [(0, 10_000)]);
        assert_eq!((ranking.rest, ranking.exact), (1_010_000, false));
        assert!(hitters.counters.len() <= MAX_KEYS);
    }

    proptest! {
        #[test]
        fn no_count_is_too_high_and_all_add_up(keys in prop::collection::vec(0..200_u32, 0..2_000)) {
            let mut hitters = HeavyHitters::<u32>::new(16);
            let mut exact: HashMap<u32, u64> = HashMap::new();
            for &key in &keys {
                hitters.add(key);
                *exact.entry(key).or_default() += 1;
                prop_assert!(hitters.counters.len() <= 16);
            }
            let ranking = hitters.ranking(5);
            let named: u64 = ranking.top.iter().map(|(_, count)| count).sum();
            prop_assert_eq!(named + ranking.rest, keys.len() as u64);
            for (key, count) in ranking.top {
                prop_assert!(count <= exact[&key]);
                prop_assert!(!ranking.exact || count == exact[&key]);
            }
        }
    }
}
