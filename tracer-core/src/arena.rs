//! Stores many values of one kind by number. A value never moves, and the slot of a removed value
//! is reused.

/// No slot.
const NONE: u32 = u32::MAX;

/// The number of slots that are allocated at a time. One vector of all slots would move them
/// whenever it grows, and take twice their memory meanwhile.
const CHUNK: usize = 1024;

/// The most slots.
pub(super) const MOST: usize = NONE as usize;

/// Values by the number of their slot. A number stays valid until its value is removed; then it may
/// become that of another value.
#[derive(Debug)]
pub(super) struct Arena<T> {
    chunks: Vec<Vec<Slot<T>>>,
    /// The first of the slots that are free; `older` leads to the next.
    free: u32,
}

#[derive(Debug)]
struct Slot<T> {
    older: u32,
    newer: u32,
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
            newest: NONE,
            oldest: NONE,
        }
    }
}

impl Order {
    /// Returns the number of the oldest value.
    pub fn oldest(&self) -> Option<u32> {
        (self.oldest != NONE).then_some(self.oldest)
    }
}

impl<T> Default for Arena<T> {
    fn default() -> Self {
        Self {
            chunks: Vec::new(),
            free: NONE,
        }
    }
}

impl<T> Arena<T> {
    /// Adds a value, as the newest of its order; returns its number.
    pub fn insert(&mut self, order: &mut Order, value: T) -> u32 {
        let at = match self.free {
            NONE => self.grow(),
            free => {
                self.free = self.slot(free).older;
                free
            }
        };
        self.slot(at).value = Some(value);
        self.link(order, at);
        at
    }

    /// Removes and returns a value; `order` is the one it is in.
    pub fn remove(&mut self, order: &mut Order, at: u32) -> Option<T> {
        self.get(at)?;
        self.unlink(order, at);
        let free = self.free;
        let slot = self.slot(at);
        slot.older = free;
        let value = slot.value.take();
        self.free = at;
        value
    }

    /// Makes a value the newest of its order.
    pub fn touch(&mut self, order: &mut Order, at: u32) {
        if order.newest != at && self.get(at).is_some() {
            self.unlink(order, at);
            self.link(order, at);
        }
    }

    /// Returns the value with this number, if there is one.
    pub fn get(&self, at: u32) -> Option<&T> {
        let chunk = self.chunks.get(at as usize / CHUNK)?;
        chunk.get(at as usize % CHUNK)?.value.as_ref()
    }

    /// Returns the value with this number to be changed, if there is one.
    pub fn get_mut(&mut self, at: u32) -> Option<&mut T> {
        let chunk = self.chunks.get_mut(at as usize / CHUNK)?;
        chunk.get_mut(at as usize % CHUNK)?.value.as_mut()
    }

    /// Returns all values, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        let slots = self.chunks.iter().flatten();
        slots.filter_map(|slot| slot.value.as_ref())
    }

    /// Returns the values of an order with their numbers, the oldest first.
    pub fn in_order(&self, order: &Order) -> impl Iterator<Item = (u32, &T)> {
        let mut next = order.oldest;
        std::iter::from_fn(move || {
            if next == NONE {
                return None;
            }
            let at = next;
            let slot = &self.chunks[at as usize / CHUNK][at as usize % CHUNK];
            next = slot.newer;
            Some((at, slot.value.as_ref()?))
        })
    }

    /// Returns an existing slot: `at` comes from the free list, from a neighbour, or from an
    /// earlier lookup.
    fn slot(&mut self, at: u32) -> &mut Slot<T> {
        &mut self.chunks[at as usize / CHUNK][at as usize % CHUNK]
    }

    /// Makes one more slot; returns its number.
    fn grow(&mut self) -> u32 {
        if self.chunks.last().is_none_or(|last| last.len() == CHUNK) {
            // The first grows with its values: most hosts have few.
            let room = if self.chunks.is_empty() { 0 } else { CHUNK };
            self.chunks.push(Vec::with_capacity(room));
        }
        let full = self.chunks.len() - 1;
        let last = &mut self.chunks[full];
        last.push(Slot {
            older: NONE,
            newer: NONE,
            value: None,
        });
        (full * CHUNK + last.len() - 1) as u32
    }

    fn unlink(&mut self, order: &mut Order, at: u32) {
        let Slot { older, newer, .. } = *self.slot(at);
        match newer {
            NONE => order.newest = older,
            newer => self.slot(newer).older = older,
        }
        match older {
            NONE => order.oldest = newer,
            older => self.slot(older).newer = newer,
        }
    }

    fn link(&mut self, order: &mut Order, at: u32) {
        let older = order.newest;
        let slot = self.slot(at);
        slot.older = older;
        slot.newer = NONE;
        match older {
            NONE => order.oldest = at,
            older => self.slot(older).newer = at,
        }
        order.newest = at;
    }
}

#[cfg(test)]
mod tests {
    use super::{Arena, CHUNK, Order};

    fn ages(slots: &Arena<u32>, order: &Order) -> Vec<u32> {
        slots.in_order(order).map(|(_, value)| *value).collect()
    }

    #[test]
    fn values_keep_their_numbers_and_their_order() {
        let (mut slots, mut order) = (Arena::default(), Order::default());
        let numbers: Vec<u32> = (0..2 * CHUNK as u32 + 3)
            .map(|value| slots.insert(&mut order, value))
            .collect();
        assert!(
            (0..)
                .zip(&numbers)
                .all(|(value, at)| slots.get(*at) == Some(&value))
        );
        assert_eq!(slots.remove(&mut order, numbers[1]), Some(1));
        assert_eq!(slots.get(numbers[1]), None);
        slots.touch(&mut order, numbers[0]);
        let last = 2 * CHUNK as u32 + 2;
        let expected: Vec<u32> = (2..=last).chain([0]).collect();
        assert_eq!(ages(&slots, &order), expected);
        assert_eq!(slots.insert(&mut order, 7), numbers[1], "the free slot");
    }

    #[test]
    fn a_number_without_a_value_is_none_and_changes_nothing() {
        let (mut slots, mut order) = (Arena::default(), Order::default());
        let numbers: Vec<u32> = (0..4)
            .map(|value| slots.insert(&mut order, value))
            .collect();
        slots.remove(&mut order, numbers[2]);
        for number in [numbers[2], 4, CHUNK as u32, u32::MAX] {
            assert_eq!(slots.get(number), None);
            assert_eq!(slots.get_mut(number), None);
            assert_eq!(slots.remove(&mut order, number), None);
            slots.touch(&mut order, number);
        }
        assert_eq!(ages(&slots, &order), [0, 1, 3]);
        assert_eq!(slots.insert(&mut order, 7), numbers[2], "it is free once");
        assert_ne!(slots.insert(&mut order, 8), numbers[2]);
    }

    #[test]
    fn each_order_has_its_own_values() {
        let (mut slots, mut odd, mut even) = (Arena::default(), Order::default(), Order::default());
        for value in 0..6 {
            let order = if value % 2 == 0 { &mut even } else { &mut odd };
            slots.insert(order, value);
        }
        let middle = slots
            .in_order(&odd)
            .nth(1)
            .map(|(at, _)| at)
            .expect("three");
        slots.remove(&mut odd, middle);
        assert_eq!(
            (ages(&slots, &odd), ages(&slots, &even)),
            (vec![1, 5], vec![0, 2, 4])
        );
        assert_eq!(even.oldest().and_then(|at| slots.get(at).copied()), Some(0));
        assert_eq!(slots.iter().count(), 5);
    }
}
