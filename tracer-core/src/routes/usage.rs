//! The ports of one route.

use crate::TIME_WAIT;
use crate::summary::{PortPressure, PortUse, ReuseRules, Route};
use crate::types::{Nanos, Port};

/// The share of its ports from which on a route counts as nearly full.
pub const NEARLY_FULL_SHARE: f64 = 0.8;

/// What has a local port on a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PortHolder {
    /// A socket: the connection is open, or still closing.
    Socket,
    /// A minisocket in TIME_WAIT, since when.
    TimeWait(Nanos),
    /// A minisocket in FIN_WAIT2, which waits for the peer's FIN. connect() takes it over nowhere
    /// (`tcp_twsk_unique` in `net/ipv4/tcp_ipv4.c`, since 6.12).
    FinWait2,
}

/// A local port that a connection on a route has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ScannedPort {
    /// A local port of the route.
    pub port: Port,
    /// What has it.
    pub holder: PortHolder,
}

/// Which ports connect() may choose in a network namespace, and when it takes over minisockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortSettings {
    /// The first port of `net.ipv4.ip_local_port_range`.
    pub first: u16,
    /// The last one.
    pub last: u16,
    /// Ports in that range that `net.ipv4.ip_local_reserved_ports` leaves out.
    pub reserved: u32,
    /// Ports in that range that are not reserved, and that connect() chooses for no peer: sockets
    /// listen on them, were accepted on them or are bound to them.
    pub bound: u32,
    /// When connect() takes over minisockets.
    pub reuse: ReuseRules,
}

impl PortSettings {
    /// Returns the number of ports that connect() may choose.
    #[must_use]
    pub fn ports(&self) -> u32 {
        let all = (self.first..=self.last).len() as u32;
        all.saturating_sub(self.reserved + self.bound)
    }
}

/// How near a route is to having no port left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fullness {
    /// The share is below [`NEARLY_FULL_SHARE`].
    Free,
    /// It may be full: how many ports are used is not known, and all that are taken are as many.
    Unknown,
    /// [`NEARLY_FULL_SHARE`] or more.
    NearlyFull,
    /// connect() finds no port.
    Full,
}

/// The ports of one route at one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RouteUsage {
    /// Where the ports are used.
    pub route: Route,
    /// When its ports were counted.
    pub at: Nanos,
    /// Ports that sockets have.
    pub live: u32,
    /// Ports that minisockets in TIME_WAIT have.
    pub time_wait: u32,
    /// Ports that minisockets in FIN_WAIT2 have.
    pub fin_wait2: u32,
    /// Which ports connect() may choose, with what is known of the route's timestamps; `None` where
    /// that is not known.
    pub settings: Option<PortSettings>,
    /// What of the ports that are taken connect() cannot use; `None` where the settings are not
    /// known.
    pub pressure: Option<PortPressure>,
    /// How long it takes until connect() may use one of the ports in TIME_WAIT, where it finds no
    /// other. The kernel's timer may be 2 s late. `None` where one is free, where all ports have
    /// other holders, and where that is not known.
    pub next_free: Option<Nanos>,
}

impl RouteUsage {
    /// Counts the ports of a route, each of which is one that connect() may choose; of several
    /// holders of a port the one counts that comes first in their order. `timestamps`: whether a
    /// connection of the route was seen to have them.
    #[must_use]
    pub fn new(
        route: Route,
        mut ports: Vec<ScannedPort>,
        settings: Option<PortSettings>,
        timestamps: Option<bool>,
        at: Nanos,
    ) -> Self {
        // A dump may list a connection twice, and a minisocket beside what has taken its place.
        ports.sort_unstable();
        ports.dedup_by_key(|one| one.port);
        let (mut live, mut time_wait, mut fin_wait2) = (0, 0, 0);
        for one in &ports {
            match one.holder {
                PortHolder::Socket => live += 1,
                PortHolder::TimeWait(_) => time_wait += 1,
                PortHolder::FinWait2 => fin_wait2 += 1,
            }
        }
        let settings = settings.map(|settings| PortSettings {
            reuse: settings.reuse.on_route(&route, timestamps),
            ..settings
        });
        let pressure = settings.map(|settings| {
            let uses = ports.iter().map(|one| PortUse::from(*one));
            PortPressure::new(route, uses, settings.ports(), &settings.reuse, at)
        });
        let is_full = pressure.is_some_and(|pressure| pressure.free() == Some(0));
        let next = settings.filter(|_| is_full).and_then(|settings| {
            let free_at = ports.iter().filter_map(|one| match one.holder {
                PortHolder::TimeWait(since) => Some(since + unusable_for(&route, &settings.reuse)?),
                PortHolder::Socket | PortHolder::FinWait2 => None,
            });
            free_at.min()
        });
        Self {
            route,
            at,
            live,
            time_wait,
            fin_wait2,
            settings,
            pressure,
            next_free: next.map(|next| next - at),
        }
    }

    /// Returns the number of ports that anything has.
    #[must_use]
    pub const fn taken(&self) -> u32 {
        self.live + self.time_wait + self.fin_wait2
    }

    /// Returns how near the route is to having no port left.
    #[must_use]
    pub fn fullness(&self) -> Fullness {
        let Some(pressure) = &self.pressure else {
            return Fullness::Unknown;
        };
        let of_share = |share: f64| match share {
            share if share >= 1.0 => Fullness::Full,
            share if share >= NEARLY_FULL_SHARE => Fullness::NearlyFull,
            _ => Fullness::Free,
        };
        match pressure.share() {
            Some(share) => of_share(share),
            None if of_share(self.most()) == Fullness::Free => Fullness::Free,
            None => Fullness::Unknown,
        }
    }

    /// Returns the number by which routes are ranked, the fullest first: the share that is used, or
    /// that may be, or where that is not known either, how many ports are taken.
    #[must_use]
    pub fn rank(&self) -> (f64, u32) {
        let share = self.pressure.and_then(|pressure| pressure.share());
        (share.unwrap_or_else(|| self.most()), self.taken())
    }

    /// The share that is used if connect() can take over nothing.
    fn most(&self) -> f64 {
        let ports = self.pressure.map(|pressure| pressure.ports.max(1));
        ports.map_or(0.0, |ports| f64::from(self.taken()) / f64::from(ports))
    }
}

impl From<ScannedPort> for PortUse {
    fn from(one: ScannedPort) -> Self {
        Self {
            port: one.port,
            minisocket_since: match one.holder {
                PortHolder::TimeWait(since) => Some(since),
                PortHolder::Socket | PortHolder::FinWait2 => None,
            },
        }
    }
}

/// Returns for how long connect() cannot use a port that enters TIME_WAIT; `None` where that is not
/// known.
fn unusable_for(route: &Route, reuse: &ReuseRules) -> Option<Nanos> {
    match reuse.allow(route, reuse.delay) {
        Some(true) => Some(reuse.delay.min(TIME_WAIT)),
        Some(false) => Some(TIME_WAIT),
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::summary::ReuseScope;

    const NOW: Nanos = Nanos::from_secs(1_000);

    fn route() -> Route {
        Route {
            netns: None,
            local: "192.0.2.1".parse().expect("an address"),
            peer: "192.0.2.2:80".parse().expect("an address"),
        }
    }

    fn settings(ports: u16, scope: ReuseScope) -> PortSettings {
        PortSettings {
            first: 40_000,
            last: 40_010 + ports,
            reserved: 4,
            bound: 7,
            reuse: ReuseRules {
                scope,
                delay: Nanos::from_secs(1),
                timestamps: None,
            },
        }
    }

    fn port(port: u16, holder: PortHolder) -> ScannedPort {
        ScannedPort {
            port: Port::new(port).expect("it is not 0"),
            holder,
        }
    }

    /// In TIME_WAIT for so many milliseconds.
    fn time_wait(ms: u64) -> PortHolder {
        PortHolder::TimeWait(NOW - Nanos::from_millis(ms))
    }

    fn usage(holders: &[PortHolder], of: PortSettings, timestamps: Option<bool>) -> RouteUsage {
        let ports = holders.iter().zip(40_000..);
        let ports = ports.map(|(holder, number)| port(number, *holder));
        RouteUsage::new(route(), ports.collect(), Some(of), timestamps, NOW)
    }

    #[test]
    fn each_port_is_counted_once_by_the_holder_that_keeps_it() {
        let ports = vec![
            port(40_001, time_wait(2_000)),
            port(40_001, PortHolder::Socket),
            port(40_002, PortHolder::FinWait2),
            port(40_002, time_wait(5)),
            port(40_003, PortHolder::Socket),
            port(40_003, PortHolder::Socket),
        ];
        let settings = settings(10, ReuseScope::Nowhere);
        assert_eq!(settings.ports(), 10);
        let usage = RouteUsage::new(route(), ports, Some(settings), None, NOW);
        assert_eq!((usage.live, usage.time_wait, usage.fin_wait2), (2, 1, 0));
        assert_eq!(usage.pressure.and_then(|pressure| pressure.used), Some(3));
        assert_eq!((usage.fullness(), usage.next_free), (Fullness::Free, None));
    }

    #[test]
    fn without_a_free_port_the_next_is_that_of_the_oldest_time_wait() {
        let nowhere = settings(3, ReuseScope::Nowhere);
        let holders = [PortHolder::Socket, time_wait(20_000), time_wait(37_000)];
        let full = usage(&holders, nowhere, Some(true));
        assert_eq!(full.fullness(), Fullness::Full);
        assert_eq!(full.next_free, Some(Nanos::from_secs(23)));
        // The kernel's timer is late.
        let late = [PortHolder::Socket, time_wait(20_000), time_wait(61_000)];
        assert_eq!(usage(&late, nowhere, None).next_free, Some(Nanos(0)));
    }

    #[test]
    fn where_connect_takes_over_the_next_is_free_after_the_delay() {
        let everywhere = settings(3, ReuseScope::Everywhere);
        let holders = [PortHolder::Socket, time_wait(200), time_wait(400)];
        let full = usage(&holders, everywhere, Some(true));
        assert_eq!(full.fullness(), Fullness::Full);
        assert_eq!(full.next_free, Some(Nanos::from_millis(600)));
        let older = [PortHolder::Socket, time_wait(200), time_wait(1_000)];
        let free = usage(&older, everywhere, Some(true));
        assert_eq!(free.fullness(), Fullness::Free, "two thirds are used");
        assert_eq!(free.next_free, None);
    }

    #[test]
    fn sockets_and_orphans_say_nothing_of_when_a_port_is_free() {
        let settings = settings(2, ReuseScope::Everywhere);
        let holders = [PortHolder::Socket, PortHolder::FinWait2];
        let full = usage(&holders, settings, Some(true));
        assert_eq!((full.fullness(), full.next_free), (Fullness::Full, None));
    }

    #[test]
    fn nearly_full_begins_at_four_fifths() {
        let settings = settings(10, ReuseScope::Nowhere);
        let fullness = |live: usize| {
            let usage = usage(&vec![PortHolder::Socket; live], settings, None);
            usage.fullness()
        };
        assert_eq!(fullness(7), Fullness::Free);
        assert_eq!(fullness(8), Fullness::NearlyFull);
        assert_eq!(fullness(9), Fullness::NearlyFull);
        assert_eq!(fullness(10), Fullness::Full);
    }

    #[test]
    fn a_range_of_one_port_or_none_is_full_at_once() {
        let one = settings(1, ReuseScope::Nowhere);
        let full = usage(&[PortHolder::Socket], one, None);
        assert_eq!(full.fullness(), Fullness::Full);
        let none = settings(0, ReuseScope::Nowhere);
        let full = usage(&[], none, None);
        assert_eq!((full.fullness(), full.next_free), (Fullness::Full, None));
    }

    #[test]
    fn what_is_not_known_is_full_only_if_all_that_is_taken_would_be() {
        let unknown = settings(10, ReuseScope::Everywhere);
        let few = usage(&[time_wait(5_000); 3], unknown, None);
        assert_eq!(few.pressure.map(|pressure| pressure.used), Some(None));
        assert_eq!(few.fullness(), Fullness::Free);
        let many = usage(&[time_wait(5_000); 9], unknown, None);
        assert_eq!((many.fullness(), many.next_free), (Fullness::Unknown, None));
        assert_eq!(many.rank(), (0.9, 9));
        let ports = (0..9).map(|number| port(40_000 + number, time_wait(5_000)));
        let unread = RouteUsage::new(route(), ports.collect(), None, None, NOW);
        assert_eq!((unread.fullness(), unread.taken()), (Fullness::Unknown, 9));
        assert_eq!(unread.rank(), (0.0, 9));
    }
}
