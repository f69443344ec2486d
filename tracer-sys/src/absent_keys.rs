//! Remembers what a search did not find, so that it is not repeated for each request.

use std::collections::HashMap;
use std::hash::Hash;

use tcpclose_core::types::Nanos;

/// Keys that were not found, each until it is worth another search.
#[derive(Debug)]
pub(crate) struct AbsentKeys<K> {
    searched_at: HashMap<K, Nanos>,
    retry_interval: Nanos,
    max_keys: usize,
}

impl<K: Eq + Hash> AbsentKeys<K> {
    /// Starts with none. A key counts as absent for `retry_interval` after its search; beyond
    /// `max_keys`, all are forgotten.
    pub fn new(retry_interval: Nanos, max_keys: usize) -> Self {
        Self {
            searched_at: HashMap::new(),
            retry_interval,
            max_keys,
        }
    }

    /// Returns whether the key is known to be absent.
    pub fn contains(&self, key: &K, now: Nanos) -> bool {
        let searched_at = self.searched_at.get(key);
        searched_at.is_some_and(|at| now - *at < self.retry_interval)
    }

    /// Notes that a search at `now` did not find the key.
    pub fn insert(&mut self, key: K, now: Nanos) {
        let interval = self.retry_interval;
        self.searched_at.retain(|_, at| now - *at < interval);
        if self.searched_at.len() >= self.max_keys {
            self.searched_at.clear();
        }
        self.searched_at.insert(key, now);
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.searched_at.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_absent_for_the_retry_interval() {
        let mut absent = AbsentKeys::new(Nanos::from_secs(10), 2);
        assert!(!absent.contains(&1, Nanos(0)));
        absent.insert(1, Nanos::from_secs(5));
        assert!(absent.contains(&1, Nanos::from_secs(14)));
        assert!(!absent.contains(&1, Nanos::from_secs(15)));
    }

    #[test]
    fn the_number_of_keys_is_bounded() {
        let mut absent = AbsentKeys::new(Nanos::from_secs(10), 2);
        for key in 0..9 {
            absent.insert(key, Nanos(0));
            assert!(absent.contains(&key, Nanos(0)));
            assert!(absent.len() <= 2);
        }
    }
}
