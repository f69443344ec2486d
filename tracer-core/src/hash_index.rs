//! Finds slots of an arena by their content. The index keeps the hash beside the slot's number, so
//! that growing it reads no slot.

use std::hash::{BuildHasher as _, Hash};

use foldhash::fast::RandomState;
use hashbrown::HashTable;

/// Numbers of slots by the hash of their key.
#[derive(Debug, Default)]
pub(super) struct HashIndex {
    hasher: RandomState,
    slots: HashTable<Slot>,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    hash: u32,
    slot: u32,
}

/// The hash of a key, for the one index that made it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hashed(u32);

impl Hashed {
    /// The table takes high bits and low bits for different purposes.
    const fn spread(self) -> u64 {
        (self.0 as u64) << 32 | self.0 as u64
    }
}

impl HashIndex {
    pub fn hash(&self, key: impl Hash) -> Hashed {
        Hashed((self.hasher.hash_one(key) >> 32) as u32)
    }

    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Adds a slot that is not in the index.
    pub fn insert(&mut self, Hashed(hash): Hashed, slot: u32) {
        let entry = Slot { hash, slot };
        let rehash = |entry: &Slot| Hashed(entry.hash).spread();
        self.slots.insert_unique(rehash(&entry), entry, rehash);
    }

    /// Returns the slot with this hash for which `is` returns `true`.
    pub fn find(&self, hash: Hashed, is: impl Fn(u32) -> bool) -> Option<u32> {
        let same = |entry: &Slot| entry.hash == hash.0 && is(entry.slot);
        Some(self.slots.find(hash.spread(), same)?.slot)
    }

    /// Removes a slot.
    pub fn remove(&mut self, hash: Hashed, is: impl Fn(u32) -> bool) -> Option<u32> {
        let same = |entry: &Slot| entry.hash == hash.0 && is(entry.slot);
        let found = self.slots.find_entry(hash.spread(), same).ok()?;
        Some(found.remove().0.slot)
    }
}

#[cfg(test)]
mod tests {
    use super::HashIndex;

    #[test]
    fn what_was_put_in_is_found_until_it_is_taken_out() {
        let mut index = HashIndex::default();
        let keys: Vec<u64> = (0..10_000).map(|number| number * 7).collect();
        for (slot, key) in (0..).zip(&keys) {
            index.insert(index.hash(key), slot);
        }
        let is = |key: u64| {
            let keys = &keys;
            move |slot: u32| keys[slot as usize] == key
        };
        assert_eq!(index.find(index.hash(70u64), is(70)), Some(10));
        assert_eq!(index.find(index.hash(71u64), is(71)), None);
        assert_eq!(index.remove(index.hash(70u64), is(70)), Some(10));
        assert_eq!(index.remove(index.hash(70u64), is(70)), None);
        assert_eq!(index.len(), 9_999);
    }
}
