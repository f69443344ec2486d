//! The table of live endpoints: bounded, and when it is full the endpoint that has been quiet
//! longest makes room.

use super::arena::{Arena, MOST, Order};
use super::hash_index::HashIndex;
use super::live_endpoint::LiveEndpoint;
use super::types::EndpointId;

/// Where an endpoint is in the table. One that has left the table is not found by it, even if
/// another has taken its slot.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    slot: u32,
    key: EndpointId,
}

/// Live endpoints, by the cookie or address under which the kernel's records name them.
#[derive(Debug)]
pub(super) struct Table {
    capacity: usize,
    index: HashIndex,
    slots: Arena<Live>,
    /// In the order of their last change of state.
    order: Order,
}

#[derive(Debug)]
struct Live {
    key: EndpointId,
    endpoint: LiveEndpoint,
}

impl Table {
    /// Makes a table for at most `capacity` endpoints (at least 1). Memory grows with the
    /// endpoints, not with the capacity.
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

    /// Finds an endpoint.
    pub fn find(&self, key: EndpointId) -> Option<Entry> {
        let is = |slot| self.slots.get(slot).is_some_and(|live| live.key == key);
        let slot = self.index.find(self.index.hash(key), is)?;
        Some(Entry { slot, key })
    }

    /// Returns the endpoint, which becomes the newest.
    pub fn touch(&mut self, entry: Entry) -> Option<&mut LiveEndpoint> {
        self.at(entry)?;
        self.slots.touch(&mut self.order, entry.slot);
        Some(&mut self.slots.get_mut(entry.slot)?.endpoint)
    }

    /// Returns the endpoint, without any effect on its age.
    pub fn at(&self, entry: Entry) -> Option<&LiveEndpoint> {
        let live = self.slots.get(entry.slot)?;
        (live.key == entry.key).then_some(&live.endpoint)
    }

    /// Finds an endpoint and returns it.
    pub fn get(&self, key: EndpointId) -> Option<&LiveEndpoint> {
        self.at(self.find(key)?)
    }

    /// Finds an endpoint and returns it to be changed.
    pub fn get_mut(&mut self, key: EndpointId) -> Option<&mut LiveEndpoint> {
        let Entry { slot, .. } = self.find(key)?;
        Some(&mut self.slots.get_mut(slot)?.endpoint)
    }

    /// Returns all endpoints with their keys, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = (EndpointId, &LiveEndpoint)> {
        let live = self.slots.iter();
        live.map(|live| (live.key, &live.endpoint))
    }

    /// Adds an endpoint that is not in the table yet; returns its entry, and the endpoint that had
    /// to go.
    pub fn insert(
        &mut self,
        key: EndpointId,
        endpoint: LiveEndpoint,
    ) -> (Entry, Option<LiveEndpoint>) {
        let mut evicted = None;
        if self.len() >= self.capacity
            && let Some(oldest) = self.order.oldest()
        {
            evicted = self.take_slot(oldest);
        }
        let hash = self.index.hash(key);
        let slot = self.slots.insert(&mut self.order, Live { key, endpoint });
        self.index.insert(hash, slot);
        (Entry { slot, key }, evicted)
    }

    /// Removes and returns an endpoint.
    pub fn take(&mut self, entry: Entry) -> Option<LiveEndpoint> {
        self.at(entry)?;
        self.take_slot(entry.slot)
    }

    fn take_slot(&mut self, slot: u32) -> Option<LiveEndpoint> {
        let live = self.slots.remove(&mut self.order, slot)?;
        let hash = self.index.hash(live.key);
        self.index.remove(hash, |it| it == slot);
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
    fn an_entry_finds_its_endpoint_only() {
        let mut table = Table::new(1);
        let (key, first) = endpoint(1);
        let (entry, _) = table.insert(key, first);
        let (key, second) = endpoint(2);
        let (other, evicted) = table.insert(key, second);
        assert_eq!(evicted.map(|endpoint| endpoint.id), Some(EndpointId(1)));
        assert!(table.at(entry).is_none(), "another is in its slot");
        assert!(table.touch(entry).is_none());
        assert!(table.take(entry).is_none());
        assert_eq!(table.take(other).map(|endpoint| endpoint.id), Some(key));
        assert_eq!(table.len(), 0);
    }
}
