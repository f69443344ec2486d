//! Joins endpoints by their addresses, where their initial sequence numbers are not known: those
//! that a snapshot has shown.

use std::hash::BuildHasher as _;

use foldhash::fast::RandomState;

use super::{Tracker, is_joinable};
use crate::live_endpoint::LiveEndpoint;
use crate::types::{EndpointId, Nanos, NetNs};
use crate::unjoined_endpoints::UnjoinedEndpoints;

/// An endpoint without a known peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Unjoined {
    /// The same for both endpoints of a connection without NAT.
    hash: u64,
    netns: NetNs,
    id: EndpointId,
}

impl Tracker {
    /// Notes that a snapshot has added so many endpoints, which are to be joined with their peers.
    pub(in crate::tracker) fn note_unjoined(&mut self, count: usize, at: Nanos) {
        if self.unjoined.add(count, self.table.len(), at) {
            self.join_by_address();
        }
    }

    /// Joins the endpoints that have each other's addresses and ports, within a namespace. Of two
    /// namespaces only where there are no others with the same ones, since containers may have the
    /// same addresses, and where the addresses are not loopback's, which every namespace has.
    pub(in crate::tracker) fn join_by_address(&mut self) {
        self.unjoined = UnjoinedEndpoints::default();
        let hasher = RandomState::default();
        let unjoined = self.table.iter().filter_map(|(id, endpoint)| {
            let is_wanted = endpoint.peer.get().is_none() && is_established(endpoint);
            let tuple = endpoint.tuple;
            Some(Unjoined {
                hash: hasher.hash_one(tuple) ^ hasher.hash_one(tuple.mirrored()),
                netns: endpoint.netns.filter(|_| is_wanted)?,
                id,
            })
        });
        let mut unjoined: Vec<Unjoined> = unjoined.collect();
        unjoined.sort_unstable();
        for group in unjoined.chunk_by(|one, other| one.hash == other.hash) {
            let in_one_namespace = group.chunk_by(|one, other| one.netns == other.netns);
            for group in in_one_namespace.chain([group]) {
                if let [one, other] = group {
                    self.join_if_mirrored(one.id, other.id);
                }
            }
        }
    }

    fn join_if_mirrored(&mut self, one: EndpointId, other: EndpointId) {
        let Some((slot, other_slot)) = self.table.find(one).zip(self.table.find(other)) else {
            return;
        };
        let found = self.table.in_slot(slot).zip(self.table.in_slot(other_slot));
        let Some((first, second)) = found else {
            return;
        };
        let differ = matches!(
            (first.initial.both(), second.initial.both()),
            (Some(numbers), Some(others)) if numbers != others.mirrored()
        );
        let is_near = first.netns == second.netns || !first.tuple.local().ip().is_loopback();
        if first.tuple == second.tuple.mirrored() && is_near && !differ {
            self.join((one, slot), (other, other_slot));
        }
    }
}

fn is_established(endpoint: &LiveEndpoint) -> bool {
    is_joinable(endpoint) && endpoint.is_synchronized()
}
