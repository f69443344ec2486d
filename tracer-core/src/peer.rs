//! The two endpoints of a connection that are both on this host: how they find each other, and what
//! one lends to the other when it closes.
//!
//! Both endpoints know both initial sequence numbers, also through NAT and in other network
//! namespaces, and nobody else has the same two. So an endpoint that is opened looks for the one
//! with its numbers the other way round, which was opened a moment before.

use super::arena::{Arena, Order, Slot};
use super::endpoint::InitialSequenceNumbers;
use super::finding::Cause;
use super::hash_index::HashIndex;
use super::types::{EndpointId, Nanos, SharedOwner};

/// The most endpoints that are remembered until their other endpoint is opened. It is opened within
/// a round trip of this host with itself; most endpoints have none here, and make room for newer
/// ones.
const MAX_OPENINGS: usize = 4096;

/// An endpoint that makes room before this age may have had its other endpoint still to come.
const MIN_OPENING_AGE: Nanos = Nanos::from_secs(1);

/// What an endpoint lends to its peer when it closes.
#[derive(Clone, Debug, Default)]
pub(super) struct PeerFacts {
    /// The process it belonged to.
    pub owner: Option<SharedOwner>,
    /// Why it ended the connection by a RST, or gave up.
    pub cause: Option<Cause>,
    /// Whether it had acknowledged this endpoint's FIN by no segment before its own FIN.
    pub acks_with_fin: Option<bool>,
}

/// The endpoints that were opened last and whose peer was not. When there are too many, the one
/// that was opened first is dropped.
#[derive(Debug, Default)]
pub(super) struct Openings {
    by_numbers: HashIndex,
    openings: Arena<Opening>,
    order: Order,
    dropped_early: u64,
}

#[derive(Debug)]
struct Opening {
    numbers: InitialSequenceNumbers,
    id: EndpointId,
    at: Nanos,
}

impl Openings {
    /// Returns the endpoint that has these numbers the other way round; where there is none, this
    /// one waits for it.
    pub fn join(
        &mut self,
        numbers: InitialSequenceNumbers,
        id: EndpointId,
        at: Nanos,
    ) -> Option<EndpointId> {
        if let Some(slot) = self.find(numbers.mirrored()) {
            return Some(self.remove(slot)?.id);
        }
        let opening = Opening { numbers, id, at };
        if let Some(slot) = self.find(numbers) {
            *self.openings.get_mut(slot)? = opening;
            return None;
        }
        if self.by_numbers.len() >= MAX_OPENINGS
            && let Some(oldest) = self.openings.oldest(&self.order)
            && let Some(dropped) = self.remove(oldest)
        {
            self.dropped_early += u64::from(at - dropped.at < MIN_OPENING_AGE);
        }
        let slot = self.openings.insert(&mut self.order, opening);
        let hash = self.by_numbers.hash(numbers);
        self.by_numbers.insert(hash, slot.index());
        None
    }

    /// Returns how many endpoints were dropped so soon that their peer may have been opened later.
    pub const fn dropped_early(&self) -> u64 {
        self.dropped_early
    }

    fn find(&self, numbers: InitialSequenceNumbers) -> Option<Slot> {
        let slot_of = |index| {
            let (slot, opening) = self.openings.slot_at(index)?;
            (opening.numbers == numbers).then_some(slot)
        };
        self.by_numbers.find(self.by_numbers.hash(numbers), slot_of)
    }

    fn remove(&mut self, slot: Slot) -> Option<Opening> {
        let opening = self.openings.remove(&mut self.order, slot)?;
        let hash = self.by_numbers.hash(opening.numbers);
        self.by_numbers.remove(hash, slot.index());
        Some(opening)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Nanos = Nanos::from_secs(1000);

    fn numbers(iss: u32, irs: u32) -> InitialSequenceNumbers {
        InitialSequenceNumbers { iss, irs }
    }

    #[test]
    fn an_endpoint_finds_the_one_with_its_numbers_mirrored_once() {
        let mut openings = Openings::default();
        let mut join = |id, iss, irs| openings.join(numbers(iss, irs), EndpointId(id), NOW);
        assert_eq!(join(1, 7, 8), None);
        assert_eq!(join(2, 7, 9), None, "one number is not enough");
        assert_eq!(join(3, 8, 7), Some(EndpointId(1)));
        assert_eq!(join(4, 8, 7), None, "it has its peer already");
    }

    #[test]
    fn an_id_that_is_too_long_is_not_kept() {
        use crate::types::OptionalId;
        for id in [1, (1 << 48) - 1] {
            assert_eq!(OptionalId::from(EndpointId(id)).get(), Some(EndpointId(id)));
        }
        for id in [0, 1 << 48, u64::MAX] {
            assert_eq!(OptionalId::from(EndpointId(id)).get(), None);
        }
    }

    #[test]
    fn a_live_endpoint_takes_no_more_memory_for_its_peer() {
        assert_eq!(size_of::<crate::live_endpoint::LiveEndpoint>(), 104);
    }

    #[test]
    fn the_newer_of_two_with_the_same_numbers_counts() {
        let mut openings = Openings::default();
        let mut join = |id, iss, irs| openings.join(numbers(iss, irs), EndpointId(id), NOW);
        assert_eq!(join(1, 7, 8), None);
        assert_eq!(join(2, 7, 8), None);
        assert_eq!(join(3, 8, 7), Some(EndpointId(2)));
        assert_eq!(join(4, 8, 7), None);
    }

    #[test]
    fn the_oldest_makes_room_and_counts_where_that_is_early() {
        let mut openings = Openings::default();
        let later = NOW + MIN_OPENING_AGE;
        for number in 0..=MAX_OPENINGS as u32 {
            // The first one is old when it has to go.
            let at = if number == 0 { NOW } else { later };
            openings.join(numbers(number, 1 << 31), EndpointId(1), at);
        }
        assert_eq!(openings.by_numbers.len(), MAX_OPENINGS);
        assert_eq!(openings.dropped_early(), 0);
        assert_eq!(
            openings.join(numbers(1 << 31, 0), EndpointId(2), later),
            None
        );
        assert_eq!(openings.dropped_early(), 1, "that was number 1");
        let last = numbers(1 << 31, MAX_OPENINGS as u32);
        assert_eq!(
            openings.join(last, EndpointId(3), later),
            Some(EndpointId(1))
        );
    }
}
