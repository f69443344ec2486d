//! Endpoints that the kernel has parked in a FIN_WAIT2 minisocket: the process called close(), the
//! peer acknowledged, and its FIN is still to come, which the tracepoint does not show. This module
//! schedules their probes.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use foldhash::{HashMap, HashMapExt as _};

use super::live_endpoint::LiveEndpoint;
use super::probe_request::ProbeRequest;
use super::types::{EndpointId, Nanos, NetNs, Tuple};

/// Waits between two probes of one minisocket. Most peers close within a round trip; one that does
/// not is in no hurry.
const PROBE_INTERVALS: [Nanos; 6] = [
    Nanos::from_millis(20),
    Nanos::from_millis(50),
    Nanos::from_millis(100),
    Nanos::from_millis(200),
    Nanos::from_millis(500),
    Nanos::from_millis(1000),
];

/// What a probe of a minisocket has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MinisocketState {
    /// FIN_WAIT2: waits for the peer's FIN, at most this long.
    FinWait2(Nanos),
    /// TIME_WAIT: the peer's FIN came; this much of the 60 s is left.
    TimeWait(Nanos),
    /// No socket has these addresses and ports.
    Gone,
    /// The socket itself is still there.
    FullSocket,
    /// The probe failed (the namespace is gone, or may not be entered).
    Unreachable,
}

/// A parked endpoint.
#[derive(Debug)]
pub(super) struct ParkedEndpoint {
    pub endpoint: LiveEndpoint,
    pub parked_at: Nanos,
    /// When `tcp_fin_timeout` (or `TCP_LINGER2`) ends the wait, once a probe has shown it.
    pub deadline: Option<Nanos>,
    /// When a probe or a hook showed that the wait is over: the segment that ended it may still be
    /// on its way to us.
    pub over: Option<Nanos>,
    probes: usize,
}

/// The parked endpoints. When `capacity` is reached, the one parked longest is evicted.
#[derive(Debug)]
pub(super) struct ParkedEndpoints {
    capacity: usize,
    endpoints: HashMap<EndpointId, ParkedEndpoint>,
    by_tuple: HashMap<(Option<NetNs>, Tuple), EndpointId>,
    /// In order of parking; entries of ended ones are removed lazily.
    order: VecDeque<EndpointId>,
    /// One queue per interval; each is in order of time because its entries wait equally long.
    due: [VecDeque<(Nanos, EndpointId)>; PROBE_INTERVALS.len()],
}

impl ParkedEndpoints {
    /// Returns an empty collection. A capacity of 0 counts as 1.
    pub fn new(capacity: usize) -> Self {
        Self {
            capacity: capacity.max(1),
            endpoints: HashMap::new(),
            by_tuple: HashMap::new(),
            order: VecDeque::new(),
            due: Default::default(),
        }
    }

    pub fn len(&self) -> usize {
        self.endpoints.len()
    }

    /// Parks an endpoint; returns the evicted one, if the table was full.
    pub fn park(&mut self, endpoint: LiveEndpoint, now: Nanos) -> Option<ParkedEndpoint> {
        let mut evicted = None;
        while evicted.is_none() && self.endpoints.len() >= self.capacity {
            evicted = self.order.pop_front().and_then(|id| self.remove(id));
        }
        if self.order.len() > 2 * self.endpoints.len() + 64 {
            self.order.retain(|id| self.endpoints.contains_key(id));
        }
        let id = endpoint.id;
        self.order.push_back(id);
        self.by_tuple.insert((endpoint.netns, endpoint.tuple), id);
        self.due[0].push_back((now + PROBE_INTERVALS[0], id));
        self.endpoints.insert(
            id,
            ParkedEndpoint {
                endpoint,
                parked_at: now,
                deadline: None,
                over: None,
                probes: 0,
            },
        );
        evicted
    }

    pub fn get_mut(&mut self, id: EndpointId) -> Option<&mut ParkedEndpoint> {
        self.endpoints.get_mut(&id)
    }

    /// Returns the endpoint with these addresses and ports.
    pub fn find(&self, netns: Option<NetNs>, tuple: &Tuple) -> Option<&ParkedEndpoint> {
        self.endpoints.get(self.by_tuple.get(&(netns, *tuple))?)
    }

    pub fn iter(&self) -> impl Iterator<Item = &ParkedEndpoint> {
        self.endpoints.values()
    }

    pub fn contains(&self, id: EndpointId) -> bool {
        self.endpoints.contains_key(&id)
    }

    pub fn remove(&mut self, id: EndpointId) -> Option<ParkedEndpoint> {
        let parked = self.endpoints.remove(&id)?;
        self.by_tuple
            .remove(&(parked.endpoint.netns, parked.endpoint.tuple));
        Some(parked)
    }

    /// Removes and returns the endpoint whose addresses and ports a new connection took over. That
    /// does not show how it ended: by the peer's FIN or RST, or by this host's connect(), which
    /// takes the place of a minisocket in FIN_WAIT2 too (__inet_check_established with a bound
    /// port).
    pub fn take_replaced(&mut self, netns: Option<NetNs>, tuple: &Tuple) -> Option<ParkedEndpoint> {
        let id = *self.by_tuple.get(&(netns, *tuple))?;
        self.remove(id)
    }

    /// Notes that the endpoint is still there, and schedules the next probe.
    pub fn probe_again(&mut self, id: EndpointId, now: Nanos) {
        if let Some(parked) = self.endpoints.get_mut(&id) {
            parked.probes = (parked.probes + 1).min(PROBE_INTERVALS.len() - 1);
            self.due[parked.probes].push_back((now + PROBE_INTERVALS[parked.probes], id));
        }
    }

    /// Collects endpoints that are due for a probe, at most `most` at a time. Each must be
    /// answered.
    pub fn take_due(&mut self, now: Nanos, most: usize, requests: &mut Vec<ProbeRequest>) {
        for queue in &mut self.due {
            while requests.len() < most && queue.front().is_some_and(|(at, _)| *at <= now) {
                let Some((_, id)) = queue.pop_front() else {
                    break;
                };
                // Those that have ended since are skipped.
                if let Some(ParkedEndpoint { endpoint, .. }) = self.endpoints.get(&id) {
                    requests.push(endpoint.probe_request(id));
                }
            }
        }
    }

    /// Returns when the next probe is due.
    pub fn next_due(&self) -> Option<Nanos> {
        self.due
            .iter()
            .filter_map(|queue| queue.front())
            .map(|(at, _)| *at)
            .min()
    }
}
