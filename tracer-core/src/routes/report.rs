//! All routes at one moment, and whose connections they are.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;

use super::recent::RouteHistory;
use super::usage::{Fullness, RouteUsage};
use crate::process::{Process, ProcessKey};
use crate::types::{Nanos, NetNs, OwnerSource};

/// The most processes that are named of a route.
const MAX_OWNERS: usize = 5;

/// A process that has connections on a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteOwner {
    /// The process that has ports of the route.
    pub process: Arc<Process>,
    /// How it is known.
    pub source: OwnerSource,
    /// How many live connections of the route are its own.
    pub connections: u32,
    /// How many minisockets of the route were its connections; 0 where that is not known.
    pub minisockets: u32,
}

/// A route, and whose its connections are. A minisocket has no process: only a tracer that saw the
/// connection knows whose it was.
#[derive(Clone, Debug, PartialEq)]
pub struct RouteReport {
    /// How many ports of the route are in use.
    pub usage: RouteUsage,
    /// The processes with the most connections and minisockets, these first; at most five.
    pub owners: Vec<RouteOwner>,
    /// How many processes there are beside these.
    pub other_owners: u32,
    /// Live connections whose process is not known.
    pub unowned: u32,
    /// Minisockets whose process is not known.
    pub unowned_minisockets: u32,
    /// What a running agent knows of the route; `None` where none was asked.
    pub history: Option<RouteHistory>,
}

impl RouteReport {
    /// Makes a report of the owners of the route's live connections, one for each, and of those of
    /// its minisockets where they are known.
    #[must_use]
    pub fn new<'a>(
        usage: RouteUsage,
        live: impl Iterator<Item = Option<&'a Arc<Process>>>,
        minisockets: impl Iterator<Item = Option<(&'a Arc<Process>, OwnerSource)>>,
    ) -> Self {
        let mut counts: HashMap<ProcessKey, RouteOwner> = HashMap::new();
        let mut count = |process: &Arc<Process>, source, (live, minisocket)| {
            let owner = counts.entry(process.key()).or_insert_with(|| RouteOwner {
                process: Arc::clone(process),
                source,
                connections: 0,
                minisockets: 0,
            });
            owner.connections += live;
            owner.minisockets += minisocket;
        };
        let (mut unowned, mut unowned_minisockets) = (0, 0);
        for owner in live {
            match owner {
                Some(process) => count(process, OwnerSource::Proc, (1, 0)),
                None => unowned += 1,
            }
        }
        for owner in minisockets {
            match owner {
                Some((process, source)) => count(process, source, (0, 1)),
                None => unowned_minisockets += 1,
            }
        }
        let mut owners: Vec<RouteOwner> = counts.into_values().collect();
        owners.sort_by_key(|owner| {
            let ports = owner.connections + owner.minisockets;
            (u32::MAX - ports, owner.process.pid)
        });
        let other_owners = owners.len().saturating_sub(MAX_OWNERS) as u32;
        owners.truncate(MAX_OWNERS);
        Self {
            usage,
            owners,
            other_owners,
            unowned,
            unowned_minisockets,
            history: None,
        }
    }

    fn fullest_first(&self, other: &Self) -> Ordering {
        let ((share, taken), (others_share, others_taken)) =
            (self.usage.rank(), other.usage.rank());
        let fuller = others_share.total_cmp(&share);
        fuller
            .then(others_taken.cmp(&taken))
            .then(self.usage.route.cmp(&other.usage.route))
    }
}

/// The routes of a host at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RoutesReport {
    /// When the scan began.
    pub at: Nanos,
    /// The network namespace that the scan was started in; routes of others are marked.
    pub own_netns: Option<NetNs>,
    /// The routes, the fullest first.
    pub routes: Vec<RouteReport>,
    /// Routes that were left out because nothing shows whose they are, where only those of certain
    /// processes were asked for: they have minisockets only.
    pub unknown_owner: u32,
    /// How many of those are full or nearly full, or may be.
    pub unknown_owner_scarce: u32,
}

impl RoutesReport {
    /// Makes a report of these routes.
    #[must_use]
    pub fn new(at: Nanos, own_netns: Option<NetNs>, mut routes: Vec<RouteReport>) -> Self {
        routes.sort_by(RouteReport::fullest_first);
        Self {
            at,
            own_netns,
            routes,
            unknown_owner: 0,
            unknown_owner_scarce: 0,
        }
    }

    /// Returns the number of routes that are as full as this.
    #[must_use]
    pub fn count(&self, fullness: Fullness) -> usize {
        let routes = self.routes.iter();
        routes
            .filter(|route| route.usage.fullness() == fullness)
            .count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routes::{PortHolder, PortSettings, ScannedPort};
    use crate::summary::{ReuseRules, ReuseScope, Route};
    use crate::types::Port;

    fn route(peer_port: u16, live: u16, known: bool) -> RouteReport {
        let settings = PortSettings {
            first: 40_000,
            last: 40_009,
            reserved: 0,
            bound: 0,
            reuse: ReuseRules {
                scope: ReuseScope::Nowhere,
                delay: Nanos::from_secs(1),
                timestamps: None,
            },
        };
        let ports = (0..live).filter_map(|number| {
            Some(ScannedPort {
                port: Port::new(40_000 + number)?,
                holder: PortHolder::Socket,
            })
        });
        let route = Route {
            netns: None,
            local: "192.0.2.1".parse().expect("an address"),
            peer: ([192, 0, 2, 2], peer_port).into(),
        };
        let settings = known.then_some(settings);
        let usage = RouteUsage::new(route, ports.collect(), settings, None, Nanos(7));
        RouteReport::new(usage, std::iter::empty(), std::iter::empty())
    }

    #[test]
    fn the_fullest_route_comes_first_and_what_is_not_known_by_its_connections() {
        let routes = vec![
            route(1, 3, true),
            route(2, 9, true),
            route(3, 10, false),
            route(4, 3, true),
            route(5, 2, false),
        ];
        let report = RoutesReport::new(Nanos(7), None, routes);
        let ports = report
            .routes
            .iter()
            .map(|route| route.usage.route.peer.port());
        assert_eq!(ports.collect::<Vec<_>>(), [2, 1, 4, 3, 5]);
        assert_eq!(report.count(Fullness::NearlyFull), 1);
        assert_eq!(report.count(Fullness::Unknown), 2);
    }

    #[test]
    fn the_processes_with_the_most_connections_are_named_and_the_others_counted() {
        let process = |pid| {
            Arc::new(Process {
                pid,
                ..Process::default()
            })
        };
        let all: Vec<Arc<Process>> = (1..=7).map(process).collect();
        let owners = all.iter().map(Some).chain([Some(&all[6]), None, None]);
        let report = RouteReport::new(route(1, 9, true).usage, owners, std::iter::empty());
        let named = report
            .owners
            .iter()
            .map(|owner| (owner.process.pid, owner.connections));
        let named: Vec<(u32, u32)> = named.collect();
        assert_eq!(named, [(7, 2), (1, 1), (2, 1), (3, 1), (4, 1)]);
        assert_eq!((report.other_owners, report.unowned), (2, 2));
    }
}
