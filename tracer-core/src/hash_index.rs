//! Finds values of an arena by their content. The index keeps the hash beside the number of the
//! value's place, so that growing it reads no value.

use std::hash::{BuildHasher as _, Hash};

use foldhash::fast::RandomState;
use hashbrown::HashTable;

/// Numbers of places in an arena, by the hash of their value's key.
#[derive(Debug, Default)]
pub(super) struct HashIndex {
    hasher: RandomState,
    entries: HashTable<IndexEntry>,
}

#[derive(Clone, Copy, Debug)]
struct IndexEntry {
    hash: u32,
    index: u32,
}

/// The hash of a key, for the one index that made it.
#[derive(Clone, Copy, Debug)]
pub(super) struct KeyHash(u32);

impl KeyHash {
    /// hashbrown uses both the high and the low bits.
    const fn to_u64(self) -> u64 {
        ((self.0 as u64) << 32) | self.0 as u64
    }
}

impl HashIndex {
    pub fn hash(&self, key: impl Hash) -> KeyHash {
        KeyHash((self.hasher.hash_one(key) >> 32) as u32)
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Adds a place that is not in the index.
    pub fn insert(&mut self, KeyHash(hash): KeyHash, index: u32) {
        let place = IndexEntry { hash, index };
        let rehash = |place: &IndexEntry| KeyHash(place.hash).to_u64();
        self.entries.insert_unique(rehash(&place), place, rehash);
    }

    /// Calls `find` with each place that has this hash, until it returns a value.
    pub fn find<T>(&self, hash: KeyHash, find: impl Fn(u32) -> Option<T>) -> Option<T> {
        let mut entries = self.entries.iter_hash(hash.to_u64());
        entries.find_map(|place| {
            if place.hash == hash.0 {
                find(place.index)
            } else {
                None
            }
        })
    }

    /// Removes a place; returns whether it was there.
    pub fn remove(&mut self, hash: KeyHash, index: u32) -> bool {
        let is = |place: &IndexEntry| place.index == index;
        let found = self.entries.find_entry(hash.to_u64(), is);
        found.map(|place| place.remove()).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::HashIndex;

    #[test]
    fn a_place_is_found_until_it_is_removed() {
        let mut index = HashIndex::default();
        let keys: Vec<u64> = (0..10_000).map(|number| number * 7).collect();
        for (place, key) in (0..).zip(&keys) {
            index.insert(index.hash(key), place);
        }
        let is = |key: u64| {
            let keys = &keys;
            move |place: u32| (keys[place as usize] == key).then_some(place)
        };
        assert_eq!(index.find(index.hash(70_u64), is(70)), Some(10));
        assert_eq!(index.find(index.hash(71_u64), is(71)), None);
        assert!(index.remove(index.hash(70_u64), 10));
        assert_eq!(index.find(index.hash(70_u64), is(70)), None);
        assert!(!index.remove(index.hash(70_u64), 10));
        assert_eq!(index.len(), 9_999);
    }
}
