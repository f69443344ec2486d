//! The table of live connection ends: bounded, and when it is full the end that has been quiet longest makes room.

use super::arena::{Arena, MOST, Order};
use super::hash_index::HashIndex;
use super::live_endpoint::LiveEndpoint;
use super::types::EndpointId;

/// Where an end is in the table, as long as that does not lose it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place(u32);

/// Live ends by what the kernel calls them.
#[derive(Debug)]
pub(super) struct Table {
    capacity: usize,
    index: HashIndex,
    slots: Arena<Live>,
    /// By their last change of state.
    order: Order,
}

#[derive(Debug)]
struct Live {
    key: EndpointId,
    endpoint: LiveEndpoint,
}

impl Table {
    /// A table for at most `capacity` ends (at least 1). Memory grows with the ends, not with the capacity.
    pub fn new(capacity: usize) -> Self {
        Self {
            capacity: capacity.clamp(1, MOST),
            index: HashIndex::default(),
            slots: Arena::default(),
            order: Order::default(),
        }
    }

    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Where the end is.
    pub fn find(&self, key: EndpointId) -> Option<Place> {
        let is = |at| self.slots.get(at).is_some_and(|live| live.key == key);
        self.index.find(self.index.hash(key), is).map(Place)
    }

    /// The end, which becomes the newest.
    pub fn touch(&mut self, Place(at): Place) -> Option<&mut LiveEndpoint> {
        self.slots.touch(&mut self.order, at);
        Some(&mut self.slots.get_mut(at)?.endpoint)
    }

    /// The end, without any effect on its age.
    pub fn at(&self, Place(at): Place) -> Option<&LiveEndpoint> {
        Some(&self.slots.get(at)?.endpoint)
    }

    /// As [`Table::at`], of an end that has yet to be found.
    pub fn get(&self, key: EndpointId) -> Option<&LiveEndpoint> {
        self.at(self.find(key)?)
    }

    /// As [`Table::get`], to be changed.
    pub fn get_mut(&mut self, key: EndpointId) -> Option<&mut LiveEndpoint> {
        let Place(at) = self.find(key)?;
        Some(&mut self.slots.get_mut(at)?.endpoint)
    }

    /// All ends, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (EndpointId, &LiveEndpoint)> {
        let live = self.slots.iter();
        live.map(|live| (live.key, &live.endpoint))
    }

    /// Adds an end that is not in the table yet; returns its place, and the one that had to go.
    pub fn insert(
        &mut self,
        key: EndpointId,
        endpoint: LiveEndpoint,
    ) -> (Place, Option<LiveEndpoint>) {
        let mut evicted = None;
        if self.len() >= self.capacity
            && let Some(oldest) = self.order.oldest()
        {
            evicted = self.take(Place(oldest));
        }
        let hash = self.index.hash(key);
        let at = self.slots.insert(&mut self.order, Live { key, endpoint });
        self.index.insert(hash, at);
        (Place(at), evicted)
    }

    /// Takes the end out.
    pub fn take(&mut self, Place(at): Place) -> Option<LiveEndpoint> {
        let live = self.slots.remove(&mut self.order, at)?;
        let hash = self.index.hash(live.key);
        self.index.remove(hash, |it| it == at);
        Some(live.endpoint)
    }

    /// Takes the end out, if it is there.
    pub fn remove(&mut self, key: EndpointId) -> Option<LiveEndpoint> {
        self.take(self.find(key)?)
    }
}
