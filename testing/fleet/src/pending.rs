//! Events that are still to happen, in the order of time.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use tcpclose_core::event::Event;
use tcpclose_core::types::Nanos;

/// The events of one host.
#[derive(Debug, Default)]
pub struct PendingEvents {
    events: BinaryHeap<Reverse<Pending>>,
    order: u64,
}

impl PendingEvents {
    /// Adds events; those of the same moment happen in the order in which they are added.
    pub fn add(&mut self, events: Vec<Event>) {
        for event in events {
            self.order += 1;
            self.events.push(Reverse(Pending {
                at: event.at(),
                order: self.order,
                event,
            }));
        }
    }

    /// Takes the next event that happens up to `now`.
    pub fn next_until(&mut self, now: Nanos) -> Option<Event> {
        let Reverse(next) = self.events.peek()?;
        if next.at > now {
            return None;
        }
        let Reverse(Pending { event, .. }) = self.events.pop()?;
        Some(event)
    }

    /// Returns how many there are.
    pub fn len(&self) -> usize {
        self.events.len()
    }
}

/// An event that has not happened yet.
#[derive(Debug)]
struct Pending {
    at: Nanos,
    /// In which order those of the same moment happen.
    order: u64,
    event: Event,
}

impl PartialEq for Pending {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Pending {}

impl PartialOrd for Pending {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Pending {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}
