//! Endpoints that the kernel has parked in a FIN_WAIT2 minisocket: the process called close(), the
//! peer acknowledged, and its FIN is still to come, which the tracepoint does not show. This module
//! schedules their probes.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use foldhash::{HashMap, HashMapExt as _};

use super::live_endpoint::LiveEndpoint;
use super::types::{EndpointId, Nanos, NetNs, Tuple};

/// Waits between two probes of one minisocket. Most peers close within a round trip; one that does
/// not is in no hurry.
const WAITS: [Nanos; 6] = [
    Nanos::from_millis(20),
    Nanos::from_millis(50),
    Nanos::from_millis(100),
    Nanos::from_millis(200),
    Nanos::from_millis(500),
    Nanos::from_millis(1000),
];

/// A minisocket to be probed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lookup {
    /// The id to give the answer under.
    pub id: EndpointId,
    /// The namespace to probe in; `None` where the socket's namespace is not known.
    pub netns: Option<NetNs>,
    /// The local and peer addresses and ports.
    pub tuple: Tuple,
    /// The socket's cookie, where the kernel provides one.
    pub cookie: Option<EndpointId>,
}

/// What a probe of a minisocket has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Minisocket {
    /// Still waiting for the peer's FIN, for so long at most.
    FinWait2(Nanos),
    /// The peer's FIN came: TIME_WAIT, with so much of its 60 s left.
    TimeWait(Nanos),
    /// There is none.
    Gone,
    /// The socket itself is still there.
    Alive,
    /// The probe failed (the namespace is gone, or may not be entered).
    Unreachable,
}

/// A parked end.
#[derive(Debug)]
pub(super) struct Orphan {
    pub endpoint: LiveEndpoint,
    pub parked: Nanos,
    /// When `tcp_fin_timeout` (or `TCP_LINGER2`) ends the wait, once a probe has shown it.
    pub deadline: Option<Nanos>,
    /// When a probe or a hook showed that the wait is over: the segment that ended it may still be
    /// on its way to us.
    pub over: Option<Nanos>,
    probes: usize,
}

/// The parked ends, at most `capacity`; the one that waits longest makes room.
#[derive(Debug)]
pub(super) struct Orphans {
    capacity: usize,
    parked: HashMap<EndpointId, Orphan>,
    by_tuple: HashMap<(Option<NetNs>, Tuple), EndpointId>,
    /// In order of parking; those that have ended since are still in it.
    order: VecDeque<EndpointId>,
    /// One queue a wait, each in order of time: every entry waits equally long.
    due: [VecDeque<(Nanos, EndpointId)>; WAITS.len()],
}

impl Orphans {
    /// At least one finds room.
    pub fn new(capacity: usize) -> Self {
        Self {
            capacity: capacity.max(1),
            parked: HashMap::new(),
            by_tuple: HashMap::new(),
            order: VecDeque::new(),
            due: Default::default(),
        }
    }

    pub fn len(&self) -> usize {
        self.parked.len()
    }

    /// Takes an end in; returns the one that had to go.
    pub fn park(&mut self, endpoint: LiveEndpoint, now: Nanos) -> Option<Orphan> {
        let mut evicted = None;
        while evicted.is_none() && self.parked.len() >= self.capacity {
            evicted = self.order.pop_front().and_then(|id| self.remove(id));
        }
        if self.order.len() > 2 * self.parked.len() + 64 {
            self.order.retain(|id| self.parked.contains_key(id));
        }
        let id = endpoint.id;
        self.order.push_back(id);
        self.by_tuple.insert((endpoint.netns, endpoint.tuple), id);
        self.due[0].push_back((now + WAITS[0], id));
        self.parked.insert(
            id,
            Orphan {
                endpoint,
                parked: now,
                deadline: None,
                over: None,
                probes: 0,
            },
        );
        evicted
    }

    pub fn get_mut(&mut self, id: EndpointId) -> Option<&mut Orphan> {
        self.parked.get_mut(&id)
    }

    pub fn iter(&self) -> impl Iterator<Item = &LiveEndpoint> {
        self.parked.values().map(|orphan| &orphan.endpoint)
    }

    pub fn contains(&self, id: EndpointId) -> bool {
        self.parked.contains_key(&id)
    }

    pub fn remove(&mut self, id: EndpointId) -> Option<Orphan> {
        let orphan = self.parked.remove(&id)?;
        self.by_tuple
            .remove(&(orphan.endpoint.netns, orphan.endpoint.tuple));
        Some(orphan)
    }

    /// The end with these addresses and ports, which a new connection has replaced. That does not
    /// show how it ended: by the peer's FIN or RST, or by this host's connect(), which takes the
    /// place of a minisocket in FIN_WAIT2 too (__inet_check_established with a bound port).
    pub fn take_replaced(&mut self, netns: Option<NetNs>, tuple: &Tuple) -> Option<Orphan> {
        let id = *self.by_tuple.get(&(netns, *tuple))?;
        self.remove(id)
    }

    /// The endpoint is still there: it is probed again later.
    pub fn probe_again(&mut self, id: EndpointId, now: Nanos) {
        if let Some(orphan) = self.parked.get_mut(&id) {
            orphan.probes = (orphan.probes + 1).min(WAITS.len() - 1);
            self.due[orphan.probes].push_back((now + WAITS[orphan.probes], id));
        }
    }

    /// Who is due now, `most` at a time; each must be answered.
    pub fn take_due(&mut self, now: Nanos, most: usize, lookups: &mut Vec<Lookup>) {
        for queue in &mut self.due {
            while lookups.len() < most && queue.front().is_some_and(|(at, _)| *at <= now) {
                let Some((_, id)) = queue.pop_front() else {
                    break;
                };
                // Those that have ended since are skipped.
                if let Some(Orphan { endpoint, .. }) = self.parked.get(&id) {
                    lookups.push(Lookup {
                        id,
                        netns: endpoint.netns,
                        tuple: endpoint.tuple,
                        cookie: endpoint.cookie(),
                    });
                }
            }
        }
    }

    /// When the next probe is due.
    pub fn next_due(&self) -> Option<Nanos> {
        self.due
            .iter()
            .filter_map(|queue| queue.front())
            .map(|(at, _)| *at)
            .min()
    }
}
