//! Present counts, for summaries.

use std::collections::BTreeSet;

use foldhash::{HashMap, HashSet};

use tcpclose_common::TcpState;

use super::Tracker;
use super::ports_in_use::PortsInUse;
use crate::filter::ConnectionFilter;
use crate::live_endpoint::LiveEndpoint;
use crate::open_endpoint::OpenEndpoint;
use crate::summary::{HeavyHitters, LocalPortStates, PortUse, Route};
use crate::types::{Nanos, NetNs, Port, Role, Tuple};

impl Tracker {
    /// Returns the number of endpoints that became established since the start.
    #[must_use]
    pub fn established_total(&self) -> u64 {
        self.opened
    }

    /// Returns the number of live endpoints, without those in SYN_SENT whose port is not known yet:
    /// the port filter may drop them.
    #[must_use]
    pub fn live_matching_filter(&self) -> usize {
        let connecting = self.connecting.iter();
        let hidden = connecting.filter(|(at, key)| self.filter_may_hide(*at, *key));
        self.live() - hidden.count()
    }

    /// Returns how many of the live endpoints are open, which those in SYN_SENT are not yet, and
    /// how many of these pass a filter. Iterates over all of them.
    #[must_use]
    pub fn open_endpoints(&self, filter: &ConnectionFilter) -> (usize, usize) {
        let live = self.table.iter().map(|(_, endpoint)| endpoint);
        let open = live.filter(|endpoint| endpoint.state != TcpState::SynSent);
        open.fold((0, 0), |(open, matching), endpoint| {
            let LiveEndpoint {
                netns,
                tuple,
                owner,
                ..
            } = endpoint;
            let passes = filter.matches_open(*netns, tuple, owner.as_ref());
            (open + 1, matching + usize::from(passes))
        })
    }

    /// Counts the endpoints of these local ports by state. Iterates over all endpoints, unless no
    /// port is asked for.
    #[must_use]
    pub fn states_of_local_ports(&self, ports: &BTreeSet<Port>) -> Vec<LocalPortStates> {
        let mut counts: Vec<_> = ports.iter().copied().map(LocalPortStates::new).collect();
        if counts.is_empty() {
            return counts;
        }
        let live = self.table.iter();
        let live = live.map(|(_, endpoint)| (endpoint.state, &endpoint.tuple));
        let parked = self.parked.iter();
        let parked = parked.map(|parked| (TcpState::FinWait2, &parked.endpoint.tuple));
        let time_waits = self.time_waits.iter();
        let time_waits = time_waits.map(|(endpoint, _)| (TcpState::TimeWait, &endpoint.tuple));
        for (state, tuple) in live.chain(parked).chain(time_waits) {
            let Some(port) = tuple.local_port else {
                continue;
            };
            if let Ok(position) = counts.binary_search_by_key(&port, |count| count.port)
                && !tuple.is_self_test()
            {
                counts[position].add(state);
            }
        }
        counts
    }

    /// Returns the endpoints that are established and have not closed yet, in no particular order.
    pub fn unclosed_endpoints(&self) -> impl Iterator<Item = OpenEndpoint> {
        let live = self.table.iter().map(|(_, endpoint)| endpoint);
        let live = live.filter(|endpoint| endpoint.is_synchronized());
        let parked = self.parked.iter().map(|parked| &parked.endpoint);
        live.chain(parked).map(OpenEndpoint::from_live)
    }

    /// Returns the routes with the most connections that this host opened, at most `len`: of live
    /// endpoints, of those that wait for the peer's FIN, and of those in TIME_WAIT. Iterates over
    /// all of them, at some 50 ns each.
    #[must_use]
    pub fn busiest_routes(&self, len: usize) -> Vec<Route> {
        let mut hitters = HeavyHitters::<Route>::default();
        self.each_port_use(|netns, tuple, _, role| {
            if role != Role::Server {
                hitters.add(route(netns, tuple));
            }
        });
        let ranking = hitters.ranking(len);
        ranking.top.into_iter().map(|(route, _)| route).collect()
    }

    /// Returns the local ports of the connections on each of these routes. Iterates as
    /// [`Self::busiest_routes`] does.
    #[must_use]
    pub fn ports_of(&self, routes: &[Route]) -> PortsInUse {
        let positions: HashMap<Route, usize> = routes.iter().copied().zip(0..).collect();
        let netns: HashSet<Option<NetNs>> = routes.iter().map(|route| route.netns).collect();
        let mut ports = PortsInUse {
            by_route: vec![Vec::new(); routes.len()],
            bound: HashSet::default(),
        };
        self.each_port_use(|netns_of_port, tuple, minisocket_since, role| {
            let Some(port) = tuple.local_port else {
                return;
            };
            if role == Role::Server {
                if netns.contains(&netns_of_port) {
                    ports.bound.insert((netns_of_port, port));
                }
            } else if let Some(position) = positions.get(&route(netns_of_port, tuple)) {
                ports.by_route[*position].push(PortUse {
                    port,
                    minisocket_since,
                });
            }
        });
        let listeners = self.listeners.ports();
        let listeners = listeners.filter(|(netns_of_port, _)| netns.contains(netns_of_port));
        ports.bound.extend(listeners);
        for uses in &mut ports.by_route {
            // What a new connection has taken over may not be known to be gone yet.
            uses.sort_unstable_by_key(|one| (one.port, one.minisocket_since));
            uses.dedup_by_key(|one| one.port);
        }
        ports
    }

    /// Calls `each` for the endpoints that have a local port, with the time since which only a
    /// minisocket in TIME_WAIT has it.
    fn each_port_use(&self, mut each: impl FnMut(Option<NetNs>, &Tuple, Option<Nanos>, Role)) {
        let live = self.table.iter().map(|(_, endpoint)| {
            let LiveEndpoint {
                role, netns, tuple, ..
            } = endpoint;
            (*role, *netns, tuple, None)
        });
        let parked = self.parked.iter().map(|parked| {
            let LiveEndpoint {
                role, netns, tuple, ..
            } = &parked.endpoint;
            (*role, *netns, tuple, None)
        });
        let time_waits = self.time_waits.iter().map(|(endpoint, entered)| {
            (
                endpoint.role,
                endpoint.netns,
                &endpoint.tuple,
                Some(entered),
            )
        });
        for (role, netns, tuple, since) in live.chain(parked).chain(time_waits) {
            if tuple.local_port.is_some() && !tuple.is_self_test() {
                each(netns, tuple, since, role);
            }
        }
    }
}

fn route(netns: Option<NetNs>, tuple: &Tuple) -> Route {
    Route {
        netns,
        local: tuple.local().ip(),
        peer: tuple.peer(),
    }
}
