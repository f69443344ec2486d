//! How many of its ephemeral ports a route uses, as connect() sees it.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::kernel_ids::zero_is_none;
use crate::types::{Nanos, NetNs, Port};

/// Connections from one local address to one peer, which each need an ephemeral port of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Route {
    /// The network namespace it is in, where that is known.
    #[serde(with = "zero_is_none")]
    pub netns: Option<NetNs>,
    /// The local address.
    pub local: IpAddr,
    /// The peer's address and port.
    pub peer: SocketAddr,
}

impl Route {
    /// Returns whether one of its addresses is a loopback address, as `tcp_tw_reuse` takes it
    /// (`tcp_twsk_unique` in `net/ipv4/tcp_ipv4.c`).
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        let is_loopback = |ip: IpAddr| ip.to_canonical().is_loopback();
        is_loopback(self.local) || is_loopback(self.peer.ip())
    }
}

/// A local port that a connection on a route has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortUse {
    /// The local port.
    pub port: Port,
    /// Since when only a minisocket in TIME_WAIT has it; `None` while a socket does, or a
    /// minisocket in FIN_WAIT2: connect() takes that over nowhere (`tcp_twsk_unique` in
    /// `net/ipv4/tcp_ipv4.c`, since 6.12).
    pub minisocket_since: Option<Nanos>,
}

/// Where connect() takes over the ports of minisockets (`net.ipv4.tcp_tw_reuse`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReuseScope {
    /// `tcp_tw_reuse` is 0: TIME_WAITs are taken over nowhere.
    Nowhere,
    /// `tcp_tw_reuse` is 2: where one of the addresses is a loopback address.
    Loopback,
    /// `tcp_tw_reuse` is 1: TIME_WAITs are taken over everywhere.
    Everywhere,
}

/// When connect() takes over the port of a minisocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReuseRules {
    /// Where it does at all.
    pub scope: ReuseScope,
    /// How old the minisocket has to be (`net.ipv4.tcp_tw_reuse_delay`, a second before 6.14).
    pub delay: Nanos,
    /// Whether the connections on the route have timestamps (RFC 7323), without which no port is
    /// taken over; `None` where that is not known.
    pub timestamps: Option<bool>,
}

impl ReuseRules {
    /// Returns the rules with what is known of the timestamps on a route: on loopback both
    /// endpoints have them or none has; elsewhere `seen` is whether a connection of the route had
    /// them.
    #[must_use]
    pub fn on_route(self, route: &Route, seen: Option<bool>) -> Self {
        let on_route = match route.is_loopback() {
            true => Some(true),
            false => seen,
        };
        Self {
            timestamps: self.timestamps.or(on_route),
            ..self
        }
    }

    /// Returns whether connect() takes over a minisocket of that age on a route; `None` where that
    /// depends on what is not known.
    #[must_use]
    pub fn allow(&self, route: &Route, age: Nanos) -> Option<bool> {
        let is_in_scope = match self.scope {
            ReuseScope::Nowhere => false,
            ReuseScope::Loopback => route.is_loopback(),
            ReuseScope::Everywhere => true,
        };
        match is_in_scope && age >= self.delay {
            true => self.timestamps,
            false => Some(false),
        }
    }
}

/// The ephemeral ports that a route uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortPressure {
    /// Where the ports are used.
    pub route: Route,
    /// Ports that connect() cannot use, as connections of this route have them; `None` where it is
    /// not known of all that are in use.
    pub used: Option<u32>,
    /// Ports in TIME_WAIT that connect() takes over, and which are not among the used ones. `None`
    /// where `used` is, and in recordings before format 4, which count them as used.
    pub reusable: Option<u32>,
    /// Ports that connect() may choose in the route's namespace: those of
    /// `net.ipv4.ip_local_port_range` that are neither reserved nor bound by other sockets.
    pub ports: u32,
}

impl PortPressure {
    /// Counts the ports of a route, each of which is one of the `ports` that connect() may choose.
    #[must_use]
    pub fn new(
        route: Route,
        uses: impl Iterator<Item = PortUse>,
        ports: u32,
        rules: &ReuseRules,
        now: Nanos,
    ) -> Self {
        let (mut used, mut reusable, mut unknown) = (0, 0, false);
        for port in uses {
            let allowed = port
                .minisocket_since
                .map_or(Some(false), |since| rules.allow(&route, now - since));
            match allowed {
                Some(true) => reusable += 1,
                Some(false) => used += 1,
                None => unknown = true,
            }
        }
        let known = |count: u32| (!unknown).then_some(count);
        Self {
            route,
            used: known(used),
            reusable: known(reusable),
            ports,
        }
    }

    /// Returns how many ports connect() can use, those among them that it takes over. `None` where
    /// it is not known how many are in use.
    #[must_use]
    pub fn free(&self) -> Option<u32> {
        match self.ports {
            0 => Some(0),
            ports => Some(ports.saturating_sub(self.used?)),
        }
    }

    /// The share in use, from 0 to 1, which is 1 too where there are no ports at all. `None` where
    /// it is not known how many are in use.
    #[must_use]
    pub fn share(&self) -> Option<f64> {
        match (self.used, self.ports) {
            (_, 0) => Some(1.0),
            (used, ports) => Some(f64::from(used?) / f64::from(ports)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Nanos = Nanos::from_secs(100);

    fn route(local: &str, peer: &str) -> Route {
        Route {
            netns: None,
            local: local.parse().expect("an address"),
            peer: peer.parse().expect("an address"),
        }
    }

    fn rules(scope: ReuseScope, timestamps: Option<bool>) -> ReuseRules {
        ReuseRules {
            scope,
            delay: Nanos::from_secs(1),
            timestamps,
        }
    }

    /// One port of a socket, one in TIME_WAIT for half a second, and three for longer.
    fn pressure(route: Route, rules: &ReuseRules) -> PortPressure {
        let ages = [None, Some(500), Some(1_000), Some(2_000), Some(59_000)];
        let uses = ages.into_iter().zip(40_000..).map(|(age, port)| PortUse {
            port: Port::new(port).expect("it is not 0"),
            minisocket_since: age.map(|age| NOW - Nanos::from_millis(age)),
        });
        PortPressure::new(route, uses, 10, rules, NOW)
    }

    #[test]
    fn a_minisocket_takes_a_port_unless_connect_may_take_it_over() {
        use ReuseScope::{Everywhere, Loopback, Nowhere};
        let (here, away) = (
            route("127.0.0.1", "127.0.0.1:80"),
            route("192.0.2.1", "192.0.2.2:80"),
        );
        for (route, scope, timestamps, used, reusable) in [
            (here, Nowhere, Some(true), 5, 0),
            (here, Loopback, Some(true), 2, 3),
            (here, Loopback, Some(false), 5, 0),
            (away, Loopback, Some(true), 5, 0),
            (away, Loopback, None, 5, 0),
            (away, Everywhere, Some(true), 2, 3),
            (away, Everywhere, Some(false), 5, 0),
            (route("::1", "[::1]:80"), Loopback, Some(true), 2, 3),
            (
                route("::ffff:127.0.0.1", "[::ffff:127.0.0.1]:80"),
                Loopback,
                Some(true),
                2,
                3,
            ),
            (
                route("192.0.2.1", "127.0.0.1:80"),
                Loopback,
                Some(true),
                2,
                3,
            ),
        ] {
            let pressure = pressure(route, &rules(scope, timestamps));
            assert_eq!(
                (pressure.used, pressure.reusable),
                (Some(used), Some(reusable)),
                "{route:?} {scope:?} {timestamps:?}"
            );
            assert_eq!(pressure.share(), Some(f64::from(used) / 10.0));
        }
    }

    #[test]
    fn without_knowing_of_timestamps_the_share_is_not_known() {
        let away = route("192.0.2.1", "192.0.2.2:80");
        let unknown = pressure(away, &rules(ReuseScope::Everywhere, None));
        assert_eq!((unknown.used, unknown.reusable), (None, None));
        assert_eq!(unknown.share(), None);
        let nothing_to_choose = PortPressure {
            ports: 0,
            ..unknown
        };
        assert_eq!(nothing_to_choose.share(), Some(1.0));
    }
}
