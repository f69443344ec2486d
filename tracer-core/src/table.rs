//! The table of live connection ends: bounded, and when it is full the end that has been quiet longest makes room.

use super::connection::Connection;
use super::index::Index;
use super::slots::{MOST, Order, Slots};
use super::types::ConnId;

/// Where an end is in the table, as long as that does not lose it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place(u32);

/// Live ends by what the kernel calls them.
#[derive(Debug)]
pub(super) struct Table {
    capacity: usize,
    index: Index,
    slots: Slots<Live>,
    /// By their last change of state.
    order: Order,
}

#[derive(Debug)]
struct Live {
    key: ConnId,
    connection: Connection,
}

impl Table {
    /// A table for at most `capacity` ends (at least 1). Memory grows with the ends, not with the capacity.
    pub fn new(capacity: usize) -> Self {
        Self {
            capacity: capacity.clamp(1, MOST),
            index: Index::default(),
            slots: Slots::default(),
            order: Order::default(),
        }
    }

    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Where the end is.
    pub fn find(&self, key: ConnId) -> Option<Place> {
        let is = |at| self.slots.get(at).is_some_and(|live| live.key == key);
        self.index.find(self.index.hash(key), is).map(Place)
    }

    /// The end, which becomes the newest.
    pub fn touch(&mut self, Place(at): Place) -> Option<&mut Connection> {
        self.slots.touch(&mut self.order, at);
        Some(&mut self.slots.get_mut(at)?.connection)
    }

    /// The end, without any effect on its age.
    pub fn at(&self, Place(at): Place) -> Option<&Connection> {
        Some(&self.slots.get(at)?.connection)
    }

    /// As [`Table::at`], of an end that has yet to be found.
    pub fn get(&self, key: ConnId) -> Option<&Connection> {
        self.at(self.find(key)?)
    }

    /// As [`Table::get`], to be changed.
    pub fn get_mut(&mut self, key: ConnId) -> Option<&mut Connection> {
        let Place(at) = self.find(key)?;
        Some(&mut self.slots.get_mut(at)?.connection)
    }

    /// All ends, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (ConnId, &Connection)> {
        let live = self.slots.iter();
        live.map(|live| (live.key, &live.connection))
    }

    /// Adds an end that is not in the table yet; returns its place, and the one that had to go.
    pub fn insert(&mut self, key: ConnId, connection: Connection) -> (Place, Option<Connection>) {
        let mut evicted = None;
        if self.len() >= self.capacity
            && let Some(oldest) = self.order.oldest()
        {
            evicted = self.take(Place(oldest));
        }
        let hash = self.index.hash(key);
        let at = self.slots.insert(&mut self.order, Live { key, connection });
        self.index.insert(hash, at);
        (Place(at), evicted)
    }

    /// Takes the end out.
    pub fn take(&mut self, Place(at): Place) -> Option<Connection> {
        let live = self.slots.remove(&mut self.order, at)?;
        let hash = self.index.hash(live.key);
        self.index.remove(hash, |it| it == at);
        Some(live.connection)
    }

    /// Takes the end out, if it is there.
    pub fn remove(&mut self, key: ConnId) -> Option<Connection> {
        self.take(self.find(key)?)
    }
}
