//! The table of live connection ends: bounded, and when it is full the end that has been quiet longest makes room.

use std::hash::BuildHasher;
use std::ops::{Index, IndexMut};

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::connection::Connection;
use super::types::ConnId;

/// No slot.
const NONE: u32 = u32::MAX;

/// Slots that are made at a time. A vector of all would move them whenever it grows, and hold twice their room then.
const CHUNK: usize = 1024;

/// Live ends by what the kernel calls them.
#[derive(Debug)]
pub(super) struct Table {
    capacity: usize,
    hasher: RandomState,
    index: HashTable<u32>,
    slots: Slots,
    /// The first of the slots that are free; `older` leads to the next.
    free: u32,
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
            slots: Slots::default(),
            free: NONE,
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
        self.slots[slot].connection.as_mut()
    }

    /// The end, without any effect on its age.
    pub fn get(&self, key: ConnId) -> Option<&Connection> {
        self.slots[self.find(key)?].connection.as_ref()
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
        self.slots[slot].connection.as_mut()
    }

    /// Adds an end that is not in the table yet; returns the one that had to go.
    pub fn insert(&mut self, key: ConnId, connection: Connection) -> Option<Connection> {
        let evicted = if self.len() >= self.capacity {
            let key = self.slots[self.oldest].key;
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
        let at = match self.free {
            NONE => self.slots.push(slot),
            at => {
                self.free = self.slots[at].older;
                self.slots[at] = slot;
                at
            }
        };
        let (hasher, slots) = (&self.hasher, &self.slots);
        self.index.insert_unique(hasher.hash_one(key), at, |&at| {
            hasher.hash_one(slots[at].key)
        });
        self.link_newest(at);
        evicted
    }

    pub fn remove(&mut self, key: ConnId) -> Option<Connection> {
        let slots = &self.slots;
        let found = self
            .index
            .find_entry(self.hasher.hash_one(key), |&at| slots[at].key == key);
        let (at, _) = found.ok()?.remove();
        self.unlink(at);
        let slot = &mut self.slots[at];
        slot.older = self.free;
        self.free = at;
        slot.connection.take()
    }

    /// Shows every end.
    pub fn for_each(&self, mut each: impl FnMut(ConnId, &Connection)) {
        for slot in self.slots.iter() {
            if let Some(connection) = &slot.connection {
                each(slot.key, connection);
            }
        }
    }

    fn find(&self, key: ConnId) -> Option<u32> {
        self.index
            .find(self.hasher.hash_one(key), |&at| self.slots[at].key == key)
            .copied()
    }

    fn unlink(&mut self, at: u32) {
        let Slot { older, newer, .. } = self.slots[at];
        match newer {
            NONE => self.newest = older,
            newer => self.slots[newer].older = older,
        }
        match older {
            NONE => self.oldest = newer,
            older => self.slots[older].newer = newer,
        }
    }

    fn link_newest(&mut self, at: u32) {
        let older = self.newest;
        self.slots[at].older = older;
        self.slots[at].newer = NONE;
        match older {
            NONE => self.oldest = at,
            older => self.slots[older].newer = at,
        }
        self.newest = at;
    }
}

/// Slots that stay where they are, by number.
#[derive(Debug, Default)]
struct Slots {
    chunks: Vec<Vec<Slot>>,
}

impl Slots {
    /// Returns the new slot's number.
    fn push(&mut self, slot: Slot) -> u32 {
        if self.chunks.last().is_none_or(|last| last.len() == CHUNK) {
            self.chunks.push(Vec::with_capacity(CHUNK));
        }
        let full = self.chunks.len() - 1;
        let last = &mut self.chunks[full];
        last.push(slot);
        (full * CHUNK + last.len() - 1) as u32
    }

    fn iter(&self) -> impl Iterator<Item = &Slot> {
        self.chunks.iter().flatten()
    }
}

impl Index<u32> for Slots {
    type Output = Slot;

    fn index(&self, at: u32) -> &Slot {
        &self.chunks[at as usize / CHUNK][at as usize % CHUNK]
    }
}

impl IndexMut<u32> for Slots {
    fn index_mut(&mut self, at: u32) -> &mut Slot {
        &mut self.chunks[at as usize / CHUNK][at as usize % CHUNK]
    }
}
