//! Endpoints that were saved and of which nothing has shown yet that they are still there.

use std::collections::HashSet;

use foldhash::{HashMap, HashMapExt as _};
use tcpclose_common::TcpState;

use super::{RestoreEnd, SavedEndpoints};
use crate::close_progress::StateChange;
use crate::live_endpoint::LiveEndpoint;
use crate::stuck::StuckSocket;
use crate::types::{EndpointId, NetNs, OptionalNanos, Tuple};

/// The endpoints, by their cookies.
#[derive(Debug)]
pub(crate) struct UnconfirmedEndpoints {
    capacity: usize,
    endpoints: HashMap<EndpointId, LiveEndpoint>,
    /// Whether sockets are still being looked at.
    is_pending: bool,
}

impl UnconfirmedEndpoints {
    /// Returns room for so many endpoints.
    pub fn new(capacity: usize) -> Self {
        Self {
            capacity,
            endpoints: HashMap::new(),
            is_pending: false,
        }
    }

    /// Adds endpoints; returns how many there was no room for.
    pub fn add(&mut self, saved: &SavedEndpoints) -> u64 {
        self.is_pending = true;
        let mut left_out = 0;
        for endpoint in saved.to_live() {
            match self.endpoints.len() < self.capacity {
                true => drop(self.endpoints.insert(endpoint.id, endpoint)),
                false => left_out += 1,
            }
        }
        left_out
    }

    /// Returns whether sockets are still being looked at.
    pub const fn is_pending(&self) -> bool {
        self.is_pending
    }

    /// Returns the endpoints, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = &LiveEndpoint> {
        self.endpoints.values()
    }

    /// Returns those that were reported as stuck, as long as sockets are being looked at.
    pub fn stuck(&self) -> impl Iterator<Item = &StuckSocket> {
        let pending = self.endpoints.values().filter(|_| self.is_pending);
        pending.filter_map(LiveEndpoint::reported_stuck)
    }

    /// Takes the endpoint of a socket, if it is the same connection.
    pub fn take(
        &mut self,
        cookie: EndpointId,
        netns: Option<NetNs>,
        tuple: &Tuple,
    ) -> Option<LiveEndpoint> {
        // Nearly always there is none.
        let known = self.endpoints.get(&cookie)?;
        let is_other = |known: NetNs| netns.is_some_and(|netns| netns != known);
        if known.tuple != *tuple || known.netns.is_some_and(is_other) {
            return None;
        }
        self.endpoints.remove(&cookie)
    }

    /// Ends the search: takes the endpoints that are gone, in the order of their ids.
    pub fn end(&mut self, end: &RestoreEnd) -> Vec<LiveEndpoint> {
        self.is_pending = false;
        let searched: &HashSet<NetNs> = &end.searched;
        let is_gone = |endpoint: &LiveEndpoint| {
            let netns = endpoint.netns;
            end.searched_all || netns.is_some_and(|netns| searched.contains(&netns))
        };
        let gone = self.endpoints.extract_if(|_, endpoint| is_gone(endpoint));
        let mut gone: Vec<LiveEndpoint> = gone.map(|(_, endpoint)| endpoint).collect();
        self.endpoints.shrink_to_fit();
        gone.sort_unstable_by_key(|endpoint| endpoint.id);
        gone
    }
}

impl LiveEndpoint {
    /// Returns whether the kernel has parked it in a FIN_WAIT2 minisocket.
    pub(crate) fn is_parked(&self) -> bool {
        self.last_change().is_some_and(StateChange::is_parking)
    }

    /// Takes over the state in which a saved endpoint is found. Where it is another one, records
    /// are missing: it is not known since when. Returns whether it is the same.
    pub(crate) fn confirm_state(&mut self, state: TcpState) -> bool {
        if self.state == state {
            return true;
        }
        self.state = state;
        self.since = OptionalNanos::UNKNOWN;
        self.seen_from_start = false;
        if let Some(closing) = &mut self.closing {
            closing.gap = true;
        }
        false
    }
}
