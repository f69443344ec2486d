//! Stores many values of one kind in slots. A value never moves, and the slot of a removed value is
//! reused.

/// Stands for "no node" in a link.
const NO_NODE: u32 = u32::MAX;

/// The number of slots that are allocated at a time. One vector of all slots would move them
/// whenever it grows, and take twice their memory meanwhile.
const CHUNK_LEN: usize = 1024;

/// The most values.
pub(super) const MAX_VALUES: usize = NO_NODE as usize;

/// A handle to a value. It stays invalid once the value is removed, even if another takes its
/// place: each removal begins a new generation of the place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    index: u32,
    generation: u32,
}

impl Slot {
    /// Returns the number of the place, which [`Arena::slot_at`] turns into a slot again.
    pub const fn index(self) -> u32 {
        self.index
    }
}

/// Values by their slots.
#[derive(Debug)]
pub(super) struct Arena<T> {
    chunks: Vec<Vec<Node<T>>>,
    /// The first of the nodes that are free; `older` leads to the next.
    free: u32,
}

#[derive(Debug)]
struct Node<T> {
    older: u32,
    newer: u32,
    generation: u32,
    value: Option<T>,
}

/// Some of the values in an order of their own, by age. Each value is in one order.
#[derive(Debug)]
pub(super) struct Order {
    newest: u32,
    oldest: u32,
}

impl Default for Order {
    fn default() -> Self {
        Self {
            newest: NO_NODE,
            oldest: NO_NODE,
        }
    }
}

impl<T> Default for Arena<T> {
    fn default() -> Self {
        Self {
            chunks: Vec::new(),
            free: NO_NODE,
        }
    }
}

impl<T> Arena<T> {
    /// Adds a value, as the newest of its order.
    pub fn insert(&mut self, order: &mut Order, value: T) -> Slot {
        let index = match self.free {
            NO_NODE => self.grow(),
            free => {
                self.free = self.node_mut(free).older;
                free
            }
        };
        let node = self.node_mut(index);
        node.value = Some(value);
        let generation = node.generation;
        self.link(order, index);
        Slot { index, generation }
    }

    /// Removes and returns a value; `order` is the one it is in.
    pub fn remove(&mut self, order: &mut Order, slot: Slot) -> Option<T> {
        self.get(slot)?;
        self.unlink(order, slot.index);
        let free = self.free;
        let node = self.node_mut(slot.index);
        node.older = free;
        node.generation = node.generation.wrapping_add(1);
        let value = node.value.take();
        self.free = slot.index;
        value
    }

    /// Makes a value the newest of its order.
    pub fn renew(&mut self, order: &mut Order, slot: Slot) {
        if order.newest != slot.index && self.get(slot).is_some() {
            self.unlink(order, slot.index);
            self.link(order, slot.index);
        }
    }

    /// Returns the value in a slot, if it is still there.
    pub fn get(&self, slot: Slot) -> Option<&T> {
        let node = self.node(slot.index)?;
        node.value
            .as_ref()
            .filter(|_| node.generation == slot.generation)
    }

    /// Returns the value in a slot to be changed, if it is still there.
    pub fn get_mut(&mut self, slot: Slot) -> Option<&mut T> {
        let chunk = self.chunks.get_mut(slot.index as usize / CHUNK_LEN)?;
        let node = chunk.get_mut(slot.index as usize % CHUNK_LEN)?;
        node.value
            .as_mut()
            .filter(|_| node.generation == slot.generation)
    }

    /// Returns the slot with this number and its value, if there is one.
    pub fn slot_at(&self, index: u32) -> Option<(Slot, &T)> {
        let node = self.node(index)?;
        let generation = node.generation;
        Some((Slot { index, generation }, node.value.as_ref()?))
    }

    /// Returns the slot of an order's oldest value.
    pub fn oldest(&self, order: &Order) -> Option<Slot> {
        Some(self.slot_at(order.oldest)?.0)
    }

    /// Returns all values, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        let nodes = self.chunks.iter().flatten();
        nodes.filter_map(|node| node.value.as_ref())
    }

    /// Returns the values of an order, the oldest first.
    pub fn in_order(&self, order: &Order) -> impl Iterator<Item = &T> {
        let mut next = order.oldest;
        std::iter::from_fn(move || {
            let node = self.node(next)?;
            next = node.newer;
            node.value.as_ref()
        })
    }

    fn node(&self, index: u32) -> Option<&Node<T>> {
        let chunk = self.chunks.get(index as usize / CHUNK_LEN)?;
        chunk.get(index as usize % CHUNK_LEN)
    }

    /// Returns an existing node: `index` comes from the free list, from a neighbour, or from a slot
    /// that was found valid.
    fn node_mut(&mut self, index: u32) -> &mut Node<T> {
        &mut self.chunks[index as usize / CHUNK_LEN][index as usize % CHUNK_LEN]
    }

    /// Makes one more node; returns its number.
    fn grow(&mut self) -> u32 {
        if self
            .chunks
            .last()
            .is_none_or(|last| last.len() == CHUNK_LEN)
        {
            // The first grows with its values: most hosts have few.
            let capacity = if self.chunks.is_empty() { 0 } else { CHUNK_LEN };
            self.chunks.push(Vec::with_capacity(capacity));
        }
        let full = self.chunks.len() - 1;
        let last = &mut self.chunks[full];
        last.push(Node {
            older: NO_NODE,
            newer: NO_NODE,
            generation: 0,
            value: None,
        });
        (full * CHUNK_LEN + last.len() - 1) as u32
    }

    fn unlink(&mut self, order: &mut Order, index: u32) {
        let Node { older, newer, .. } = *self.node_mut(index);
        match newer {
            NO_NODE => order.newest = older,
            newer => self.node_mut(newer).older = older,
        }
        match older {
            NO_NODE => order.oldest = newer,
            older => self.node_mut(older).newer = newer,
        }
    }

    fn link(&mut self, order: &mut Order, index: u32) {
        let older = order.newest;
        let node = self.node_mut(index);
        node.older = older;
        node.newer = NO_NODE;
        match older {
            NO_NODE => order.oldest = index,
            older => self.node_mut(older).newer = index,
        }
        order.newest = index;
    }
}

#[cfg(test)]
mod tests {
    use super::{Arena, CHUNK_LEN, Order, Slot};

    fn by_age(arena: &Arena<u32>, order: &Order) -> Vec<u32> {
        arena.in_order(order).copied().collect()
    }

    #[test]
    fn values_keep_their_slots_and_their_order() {
        let (mut arena, mut order) = (Arena::default(), Order::default());
        let slots: Vec<Slot> = (0..2 * CHUNK_LEN as u32 + 3)
            .map(|value| arena.insert(&mut order, value))
            .collect();
        assert!(
            (0..)
                .zip(&slots)
                .all(|(value, slot)| arena.get(*slot) == Some(&value))
        );
        assert_eq!(arena.remove(&mut order, slots[1]), Some(1));
        assert_eq!(arena.get(slots[1]), None);
        arena.renew(&mut order, slots[0]);
        let last = 2 * CHUNK_LEN as u32 + 2;
        let expected: Vec<u32> = (2..=last).chain([0]).collect();
        assert_eq!(by_age(&arena, &order), expected);
        let reused = arena.insert(&mut order, 7);
        assert_eq!(reused.index(), slots[1].index(), "the free place");
    }

    #[test]
    fn a_slot_without_its_value_is_none_and_changes_nothing() {
        let (mut arena, mut order) = (Arena::default(), Order::default());
        let slots: Vec<Slot> = (0..4)
            .map(|value| arena.insert(&mut order, value))
            .collect();
        arena.remove(&mut order, slots[2]);
        let invalid = [4, CHUNK_LEN as u32, u32::MAX].map(|index| Slot {
            index,
            generation: 0,
        });
        for slot in invalid.into_iter().chain([slots[2]]) {
            assert_eq!(arena.get(slot), None);
            assert_eq!(arena.get_mut(slot), None);
            assert_eq!(arena.slot_at(slot.index()), None);
            assert_eq!(arena.remove(&mut order, slot), None);
            arena.renew(&mut order, slot);
        }
        assert_eq!(by_age(&arena, &order), [0, 1, 3]);
        let reused = arena.insert(&mut order, 7);
        assert_eq!(reused.index(), slots[2].index(), "it is free once");
        let next = arena.insert(&mut order, 8);
        assert_ne!(next.index(), slots[2].index());
    }

    #[test]
    fn a_stale_slot_does_not_reach_the_value_that_took_its_place() {
        let (mut arena, mut order) = (Arena::default(), Order::default());
        let stale = arena.insert(&mut order, 1);
        arena.remove(&mut order, stale);
        let current = arena.insert(&mut order, 2);
        arena.insert(&mut order, 3);
        assert_eq!(stale.index(), current.index(), "the same place");
        assert_eq!(arena.get(stale), None);
        assert_eq!(arena.get_mut(stale), None);
        arena.renew(&mut order, stale);
        assert_eq!(arena.remove(&mut order, stale), None);
        assert_eq!(by_age(&arena, &order), [2, 3]);
        assert_eq!(arena.slot_at(stale.index()), Some((current, &2)));
    }

    #[test]
    fn each_order_has_its_own_values() {
        let (mut arena, mut odd, mut even) = (Arena::default(), Order::default(), Order::default());
        let slots: Vec<Slot> = (0..6)
            .map(|value| {
                let order = if value % 2 == 0 { &mut even } else { &mut odd };
                arena.insert(order, value)
            })
            .collect();
        arena.remove(&mut odd, slots[3]);
        assert_eq!(
            (by_age(&arena, &odd), by_age(&arena, &even)),
            (vec![1, 5], vec![0, 2, 4])
        );
        let oldest = arena.oldest(&even).and_then(|slot| arena.get(slot));
        assert_eq!(oldest, Some(&0));
        assert_eq!(arena.iter().count(), 5);
    }
}
