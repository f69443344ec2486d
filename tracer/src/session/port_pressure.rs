//! The routes that use the most of their ephemeral ports.

use std::collections::HashMap;
use std::net::SocketAddr;

use super::live::Live;
use crate::ports::EphemeralPorts;
use tcpclose_core::PortsInUse;
use tcpclose_core::summary::{PortPressure, PortUse, ReuseRules, Route};
use tcpclose_core::types::{Nanos, NetNs, Tuple};
use tcpclose_sys::kernel::clock::now;
use tcpclose_sys::kernel::netns_cache::NetNsCache;
use tcpclose_sys::kernel::sock_diag::{DiagClient, SocketLookup};

/// The most routes that are reported.
const MAX_REPORTED: usize = 3;

/// The most sockets of a route that are looked up, since one may have closed meanwhile.
const MAX_LOOKUPS: usize = 4;

impl Live {
    /// Returns the routes that use the most of their ephemeral ports, the greatest share first.
    pub(super) fn pressure(&mut self, routes: &[Route], ports: &PortsInUse) -> Vec<PortPressure> {
        let mut ephemeral: HashMap<Option<NetNs>, Option<EphemeralPorts>> = HashMap::new();
        let mut pressure = Vec::new();
        for (route, uses) in routes.iter().zip(&ports.by_route) {
            let netns = route.netns;
            let ephemeral = ephemeral.entry(netns).or_insert_with(|| {
                let mut ephemeral = EphemeralPorts::read_in(&mut self.netns_cache, netns)?;
                let bound = ports.bound.iter();
                ephemeral.leave_out(bound.filter(|(it, _)| *it == netns).map(|(_, port)| *port));
                Some(ephemeral)
            });
            let Some(ephemeral) = ephemeral else {
                continue;
            };
            let uses = uses.iter().filter(|one| ephemeral.contains(one.port));
            let uses: Vec<PortUse> = uses.copied().collect();
            if uses.is_empty() && ephemeral.count() > 0 {
                continue;
            }
            let at = now();
            let rules = self.rules_on(route, &uses, ephemeral.reuse(), at);
            let counted =
                PortPressure::new(*route, uses.iter().copied(), ephemeral.count(), &rules, at);
            pressure.push((counted, uses.len()));
        }
        // Of those whose share is not known, the ports that are in use count.
        pressure.sort_by(|(a, in_use_by_a), (b, in_use_by_b)| {
            let share = |pressure: &PortPressure, in_use: usize| {
                let all = in_use as f64 / f64::from(pressure.ports.max(1));
                pressure.share().unwrap_or(all)
            };
            share(b, *in_use_by_b).total_cmp(&share(a, *in_use_by_a))
        });
        pressure.truncate(MAX_REPORTED);
        pressure.into_iter().map(|(pressure, _)| pressure).collect()
    }

    /// Returns the rules of a route with what can be known of its timestamps, where that matters: a
    /// connection of the route shows whether the peer has them, one that lives or did at an earlier
    /// call.
    fn rules_on(
        &mut self,
        route: &Route,
        uses: &[PortUse],
        rules: ReuseRules,
        at: Nanos,
    ) -> ReuseRules {
        let rules = rules.on_route(route, None);
        if rules.timestamps.is_some() {
            return rules;
        }
        let is_open = |one: &PortUse| {
            let age = one.minisocket_since.map(|since| at - since);
            age.is_some_and(|age| rules.allow(route, age).is_none())
        };
        if !uses.iter().any(is_open) {
            return rules;
        }
        let seen = has_timestamps(&mut self.netns_cache, route, uses);
        if let Some(seen) = seen {
            if self.timestamps.len() >= MAX_REMEMBERED_ROUTES {
                self.timestamps.clear();
            }
            self.timestamps.insert(*route, seen);
        }
        rules.on_route(route, seen.or_else(|| self.timestamps.get(route).copied()))
    }
}

/// The most routes of which it is remembered whether their connections have timestamps. Beyond that
/// all are forgotten.
const MAX_REMEMBERED_ROUTES: usize = 256;

/// Returns whether the connections of a route have timestamps, as one of those that live shows.
fn has_timestamps(netns_cache: &mut NetNsCache, route: &Route, uses: &[PortUse]) -> Option<bool> {
    let mut diag = match route.netns {
        Some(netns) => netns_cache.open_diag(netns),
        None => DiagClient::open(),
    }
    .ok()?;
    let mut live = uses.iter().filter(|one| one.minisocket_since.is_none());
    let mut live = live.by_ref().take(MAX_LOOKUPS);
    live.find_map(|one| {
        let local = SocketAddr::new(route.local, one.port.get());
        let lookup = SocketLookup::new(Tuple::from((local, route.peer))).with_info();
        let found = diag.lookup_on_any_interface(&lookup).ok()??;
        Some(found.info?.timestamps)
    })
}
