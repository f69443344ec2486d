//! The closes of connections whose ends are both on this host: each waits for that of the other
//! end, so that both are drawn as one.

use std::collections::VecDeque;

use foldhash::HashMap;
use tcpclose_core::finding::Close;
use tcpclose_core::types::{EndpointId, Nanos};

/// How long a close waits for that of the other end. The two close within a round trip of this host
/// with itself, unless one of them stays open.
const OTHER_END_TIMEOUT: Nanos = Nanos::from_secs(1);

/// The most closes that wait. Of more, the one that has waited longest is drawn alone.
const MAX_WAITING: usize = 4096;

/// What is to be drawn.
#[derive(Debug, PartialEq)]
pub(super) enum Drawn {
    OneEndpoint(Box<Close>),
    BothEndpoints(Box<[Close; 2]>),
}

/// The closes that wait, by the id of their endpoint.
#[derive(Debug, Default)]
pub(super) struct AwaitedEndpoints {
    waiting: HashMap<EndpointId, Box<Close>>,
    /// When each one's wait is over, in order. Those that do not wait any more are passed over.
    order: VecDeque<(Nanos, EndpointId)>,
}

impl AwaitedEndpoints {
    /// Takes a close. Returns what is to be drawn now.
    pub fn take(&mut self, close: Box<Close>) -> Option<Drawn> {
        let Some(peer) = close.endpoint.peer else {
            return Some(Drawn::OneEndpoint(close));
        };
        let id = close.endpoint.id;
        let waits = self.waiting.get(&peer);
        if waits.is_some_and(|other| other.endpoint.peer == Some(id)) {
            let other = self.waiting.remove(&peer)?;
            return Some(Drawn::BothEndpoints(Box::new([*other, *close])));
        }
        self.order.push_back((close.at + OTHER_END_TIMEOUT, id));
        let earlier = self.waiting.insert(id, close);
        let is_full = self.waiting.len() > MAX_WAITING;
        let evicted = || is_full.then(|| self.pop_due(Nanos(u64::MAX))).flatten();
        earlier.or_else(evicted).map(Drawn::OneEndpoint)
    }

    /// Returns a close whose wait is over by `now`.
    pub fn pop_due(&mut self, now: Nanos) -> Option<Box<Close>> {
        while let Some((_, id)) = self.order.pop_front_if(|(due, _)| *due <= now) {
            if let Some(close) = self.waiting.remove(&id) {
                return Some(close);
            }
        }
        None
    }

    /// Returns when [`Self::pop_due`] may have one.
    pub fn next_due(&self) -> Option<Nanos> {
        Some(self.order.front()?.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::samples;

    const NOW: Nanos = Nanos::from_secs(100);

    fn close(id: u64, peer: Option<u64>) -> Box<Close> {
        let mut close = samples::three_way();
        close.at = NOW;
        close.endpoint.id = EndpointId(id);
        close.endpoint.peer = peer.map(EndpointId);
        Box::new(close)
    }

    #[test]
    fn two_ends_are_drawn_as_one() {
        let mut awaited = AwaitedEndpoints::default();
        assert_eq!(awaited.take(close(1, Some(2))), None);
        let drawn = awaited.take(close(2, Some(1)));
        let both = Box::new([*close(1, Some(2)), *close(2, Some(1))]);
        assert_eq!(drawn, Some(Drawn::BothEndpoints(both)));
        assert_eq!(awaited.pop_due(Nanos(u64::MAX)), None);
    }

    #[test]
    fn what_has_no_other_end_here_does_not_wait() {
        let mut awaited = AwaitedEndpoints::default();
        let drawn = awaited.take(close(1, None));
        assert_eq!(drawn, Some(Drawn::OneEndpoint(close(1, None))));
        assert_eq!(awaited.next_due(), None);
    }

    #[test]
    fn an_end_whose_other_end_stays_open_is_drawn_alone() {
        let mut awaited = AwaitedEndpoints::default();
        assert_eq!(awaited.take(close(1, Some(2))), None);
        let due = awaited.next_due().unwrap();
        assert_eq!(awaited.pop_due(due - Nanos(1)), None);
        assert_eq!(awaited.pop_due(due), Some(close(1, Some(2))));
    }

    #[test]
    fn a_socket_that_has_taken_the_other_ends_place_is_another() {
        let mut awaited = AwaitedEndpoints::default();
        assert_eq!(awaited.take(close(1, Some(2))), None);
        assert_eq!(awaited.take(close(2, Some(3))), None);
    }

    #[test]
    fn the_oldest_makes_room() {
        let mut awaited = AwaitedEndpoints::default();
        for id in 0..MAX_WAITING as u64 {
            assert_eq!(awaited.take(close(id, Some(u64::MAX))), None);
        }
        let drawn = awaited.take(close(u64::MAX - 1, Some(7_000_000)));
        assert_eq!(drawn, Some(Drawn::OneEndpoint(close(0, Some(u64::MAX)))));
    }
}
