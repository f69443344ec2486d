//! The table of live connection ends: bounded, and when it is full the end that has been quiet longest makes room.

use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::connection::Connection;
use super::types::ConnId;

/// No slot.
const NONE: u32 = u32::MAX;

/// Live ends by what the kernel calls them.
#[derive(Debug)]
pub(super) struct Table {
    capacity: usize,
    hasher: RandomState,
    index: HashTable<u32>,
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// The end that changed its state last, and the one that has been quiet longest.
    newest: u32,
    oldest: u32,
}

#[derive(Debug)]
struct Slot {
    key: ConnId,
    older: u32,
    newer: u32,
    connection: Option<Connection>,
}

impl Table {
    /// A table for at most `capacity` ends (at least 1). Memory grows with the ends, not with the capacity.
    pub fn new(capacity: usize) -> Self {
        Self {
            capacity: capacity.clamp(1, NONE as usize),
            hasher: RandomState::default(),
            index: HashTable::new(),
            slots: Vec::new(),
            free: Vec::new(),
            newest: NONE,
            oldest: NONE,
        }
    }

    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// The end, which becomes the newest.
    pub fn touch(&mut self, key: ConnId) -> Option<&mut Connection> {
        let slot = self.find(key)?;
        self.unlink(slot);
        self.link_newest(slot);
        self.slots[slot as usize].connection.as_mut()
    }

    /// The end, without any effect on its age.
    pub fn get(&self, key: ConnId) -> Option<&Connection> {
        self.slots[self.find(key)? as usize].connection.as_ref()
    }

    /// All ends, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Connection> {
        self.slots
            .iter()
            .filter_map(|slot| slot.connection.as_ref())
    }

    /// As [`Table::get`], to be changed.
    pub fn get_mut(&mut self, key: ConnId) -> Option<&mut Connection> {
        let slot = self.find(key)?;
        self.slots[slot as usize].connection.as_mut()
    }

    /// Adds an end that is not in the table yet; returns the one that had to go.
    pub fn insert(&mut self, key: ConnId, connection: Connection) -> Option<Connection> {
        let evicted = if self.len() >= self.capacity {
            let key = self.slots[self.oldest as usize].key;
            self.remove(key)
        } else {
            None
        };
        let slot = Slot {
            key,
            older: NONE,
            newer: NONE,
            connection: Some(connection),
        };
        let at = match self.free.pop() {
            Some(at) => {
                self.slots[at as usize] = slot;
                at
            }
            None => {
                self.slots.push(slot);
                (self.slots.len() - 1) as u32
            }
        };
        let (hasher, slots) = (&self.hasher, &self.slots);
        self.index.insert_unique(hasher.hash_one(key), at, |&at| {
            hasher.hash_one(slots[at as usize].key)
        });
        self.link_newest(at);
        evicted
    }

    pub fn remove(&mut self, key: ConnId) -> Option<Connection> {
        let slots = &self.slots;
        let found = self.index.find_entry(self.hasher.hash_one(key), |&at| {
            slots[at as usize].key == key
        });
        let (at, _) = found.ok()?.remove();
        self.unlink(at);
        self.free.push(at);
        self.slots[at as usize].connection.take()
    }

    /// Removes the ends that `keep` does not want.
    pub fn retain(&mut self, mut keep: impl FnMut(ConnId, &Connection) -> bool) {
        let unwanted = |slot: &Slot| {
            let connection = slot.connection.as_ref()?;
            (!keep(slot.key, connection)).then_some(slot.key)
        };
        for key in self.slots.iter().filter_map(unwanted).collect::<Vec<_>>() {
            self.remove(key);
        }
    }

    fn find(&self, key: ConnId) -> Option<u32> {
        self.index
            .find(self.hasher.hash_one(key), |&at| {
                self.slots[at as usize].key == key
            })
            .copied()
    }

    fn unlink(&mut self, at: u32) {
        let Slot { older, newer, .. } = self.slots[at as usize];
        match newer {
            NONE => self.newest = older,
            newer => self.slots[newer as usize].older = older,
        }
        match older {
            NONE => self.oldest = newer,
            older => self.slots[older as usize].newer = newer,
        }
    }

    fn link_newest(&mut self, at: u32) {
        let older = self.newest;
        self.slots[at as usize].older = older;
        self.slots[at as usize].newer = NONE;
        match older {
            NONE => self.oldest = at,
            older => self.slots[older as usize].newer = at,
        }
        self.newest = at;
    }
}
