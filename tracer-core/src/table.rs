//! The table of live endpoints: bounded, and when it is full the endpoint that has been quiet
//! longest makes room.

use super::arena::{Arena, MAX_VALUES, Order, Slot};
use super::hash_index::HashIndex;
use super::live_endpoint::LiveEndpoint;
use super::types::EndpointId;

/// Live endpoints, by the cookie or address under which the kernel's records name them.
#[derive(Debug)]
pub(super) struct Table {
    capacity: usize,
    index: HashIndex,
    slots: Arena<TableEntry>,
    /// In the order of their last change of state.
    order: Order,
}

#[derive(Debug)]
struct TableEntry {
    key: EndpointId,
    endpoint: LiveEndpoint,
}

impl Table {
    /// Makes a table for at most `capacity` endpoints (at least 1). Memory grows with the
    /// endpoints, not with the capacity.
    pub fn new(capacity: usize) -> Self {
        Self {
            capacity: capacity.clamp(1, MAX_VALUES),
            index: HashIndex::default(),
            slots: Arena::default(),
            order: Order::default(),
        }
    }

    pub const fn capacity(&self) -> usize {
        self.capacity
    }

    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Finds an endpoint.
    pub fn find(&self, key: EndpointId) -> Option<Slot> {
        let slot_of = |index| {
            let (slot, live) = self.slots.slot_at(index)?;
            (live.key == key).then_some(slot)
        };
        self.index.find(self.index.hash(key), slot_of)
    }

    /// Returns the endpoint in a slot, which becomes the newest.
    pub fn renew(&mut self, slot: Slot) -> Option<&mut LiveEndpoint> {
        self.slots.renew(&mut self.order, slot);
        Some(&mut self.slots.get_mut(slot)?.endpoint)
    }

    /// Returns the endpoint in a slot, without any effect on its age.
    pub fn in_slot(&self, slot: Slot) -> Option<&LiveEndpoint> {
        Some(&self.slots.get(slot)?.endpoint)
    }

    /// Returns the endpoint in a slot to be changed, without any effect on its age.
    pub fn in_slot_mut(&mut self, slot: Slot) -> Option<&mut LiveEndpoint> {
        Some(&mut self.slots.get_mut(slot)?.endpoint)
    }

    /// Finds an endpoint and returns it.
    pub fn get(&self, key: EndpointId) -> Option<&LiveEndpoint> {
        self.in_slot(self.find(key)?)
    }

    /// Finds an endpoint and returns it to be changed.
    pub fn get_mut(&mut self, key: EndpointId) -> Option<&mut LiveEndpoint> {
        self.in_slot_mut(self.find(key)?)
    }

    /// Returns all endpoints with their keys, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = (EndpointId, &LiveEndpoint)> {
        let live = self.slots.iter();
        live.map(|live| (live.key, &live.endpoint))
    }

    /// Returns all endpoints with their keys, the longest in their state first.
    pub fn in_order(&self) -> impl Iterator<Item = (EndpointId, &LiveEndpoint)> {
        let live = self.slots.in_order(&self.order);
        live.map(|live| (live.key, &live.endpoint))
    }

    /// Adds an endpoint that is not in the table yet; returns its slot, and the endpoint that had
    /// to go.
    pub fn insert(
        &mut self,
        key: EndpointId,
        endpoint: LiveEndpoint,
    ) -> (Slot, Option<LiveEndpoint>) {
        let mut evicted = None;
        if self.len() >= self.capacity
            && let Some(oldest) = self.slots.oldest(&self.order)
        {
            evicted = self.take(oldest);
        }
        let hash = self.index.hash(key);
        let slot = self
            .slots
            .insert(&mut self.order, TableEntry { key, endpoint });
        self.index.insert(hash, slot.index());
        (slot, evicted)
    }

    /// Removes and returns the endpoint in a slot.
    pub fn take(&mut self, slot: Slot) -> Option<LiveEndpoint> {
        let live = self.slots.remove(&mut self.order, slot)?;
        let hash = self.index.hash(live.key);
        self.index.remove(hash, slot.index());
        Some(live.endpoint)
    }

    /// Finds an endpoint, removes it and returns it.
    pub fn remove(&mut self, key: EndpointId) -> Option<LiveEndpoint> {
        self.take(self.find(key)?)
    }
}

#[cfg(test)]
mod tests {
    use tcpclose_common::TcpState;

    use super::Table;
    use crate::event::Transition;
    use crate::live_endpoint::LiveEndpoint;
    use crate::types::{EndpointId, IpVersion, Nanos, Tuple};

    fn endpoint(id: u64) -> (EndpointId, LiveEndpoint) {
        let id = EndpointId(id);
        let transition = Transition {
            at: Nanos(0),
            id,
            skaddr: None,
            netns: None,
            tuple: Tuple::new(IpVersion::V4, ([0; 16], 1), ([0; 16], 2)),
            old: TcpState::SynSent,
            new: TcpState::Established,
            task: None,
            evidence: None,
        };
        (id, LiveEndpoint::new(id, &transition))
    }

    #[test]
    fn a_slot_finds_its_endpoint_only() {
        let mut table = Table::new(1);
        let (key, first) = endpoint(1);
        let (slot, _) = table.insert(key, first);
        let (key, second) = endpoint(2);
        let (other, evicted) = table.insert(key, second);
        assert_eq!(evicted.map(|endpoint| endpoint.id), Some(EndpointId(1)));
        assert!(table.in_slot(slot).is_none(), "another took its place");
        assert!(table.renew(slot).is_none());
        assert!(table.take(slot).is_none());
        assert_eq!(table.take(other).map(|endpoint| endpoint.id), Some(key));
        assert_eq!(table.len(), 0);
    }
}
