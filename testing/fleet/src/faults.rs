//! What is wrong with a fleet: planned from a seed, and written down as the truth.

use tcpclose_core::types::Nanos;

use crate::fleet::Fleet;
use crate::services::{GATEWAY, SERVICES, WITH_ONE_CALLER};

/// A day.
pub const DAY: Nanos = Nanos::from_secs(86_400);
const HOUR: u64 = 3_600;

/// A new version of a service.
#[derive(Clone, Debug)]
pub struct Deploy {
    /// The service, as a position in [`SERVICES`].
    pub service: usize,
    /// The version.
    pub version: String,
    /// When the first host got it. Each further host got it ten seconds later.
    pub at: Nanos,
}

/// All that is planned.
#[derive(Clone, Debug)]
pub struct Faults {
    /// All deploys, those that are there from the start first.
    pub deploys: Vec<Deploy>,
    /// The deploy whose version leaks sockets, as a position.
    pub leaking: usize,
    /// The deploy whose version resets connections with unread requests.
    pub not_reading: usize,
    /// The service whose idle timeout does not fit its client's.
    pub mismatch: (usize, usize),
    /// The idle timeout of each service.
    pub idle_timeouts: Vec<Nanos>,
    /// The rack behind a firewall.
    pub firewall_rack: usize,
    /// After how long the firewall forgets an idle connection.
    pub firewall_timeout: Nanos,
    /// The rack that loses FINs on their way out.
    pub losing_rack: usize,
    /// The gateway that runs out of ports.
    pub gateway: usize,
    /// From when to when on each day.
    pub gateway_window: (Nanos, Nanos),
    /// The host whose agent loses records.
    pub overloaded: usize,
    /// The host whose agent does not run for a while.
    pub silent: usize,
    /// From when to when.
    pub silent_window: (Nanos, Nanos),
}

impl Faults {
    /// Plans them.
    pub fn plan(fleet: &Fleet, days: u32, random: &mut fastrand::Rng) -> Self {
        let last_day = Nanos(DAY.0 * u64::from(days - 1));
        let mut services = WITH_ONE_CALLER;
        random.shuffle(&mut services);
        let [leaking, not_reading, mismatched, ..] = services;
        let caller = crate::services::callers(mismatched).next().unwrap_or(0);
        let mut deploys: Vec<_> = (0..SERVICES.len())
            .map(|service| Deploy {
                service,
                version: format!("{}.{}", random.u32(1..9), random.u32(0..40)),
                at: Nanos(0),
            })
            .collect();
        let mut deploy = |service, at, random: &mut fastrand::Rng| {
            deploys.push(Deploy {
                service,
                version: format!("{}.{}", random.u32(10..20), random.u32(0..40)),
                at,
            });
            deploys.len() - 1
        };
        let seconds = |from: u64, to: u64, random: &mut fastrand::Rng| {
            Nanos::from_secs(random.u64(from * HOUR..to * HOUR))
        };
        // Healthy ones, of a service with no fault and of one that has its fault later.
        for service in [services[3], leaking] {
            let at = Nanos(last_day.0 / 2) + seconds(2, 5, random);
            deploy(service, at, random);
        }
        let at = last_day + seconds(5, 9, random);
        let leaking = deploy(leaking, at, random);
        let not_reading = deploy(not_reading, last_day, random);
        let rack_with_database = |random: &mut fastrand::Rng| {
            let databases = fleet.with_service(5);
            fleet.hosts[databases[random.usize(..databases.len())]].rack
        };
        let firewall_rack = rack_with_database(random);
        let losing_rack = loop {
            let rack = random.usize(..fleet.racks);
            let has_clients = fleet.callers().iter().any(|host| {
                let host = &fleet.hosts[*host];
                host.rack == rack && host.service != GATEWAY
            });
            if rack != firewall_rack && has_clients {
                break rack;
            }
        };
        let gateways = fleet.with_service(GATEWAY);
        let from = seconds(8, 20, random);
        let host = |random: &mut fastrand::Rng| random.usize(..fleet.hosts.len());
        let gateway = gateways[random.usize(..gateways.len())];
        // Nothing is proven by an endpoint whose host loses records.
        let overloaded = loop {
            let overloaded = host(random);
            if fleet.hosts[overloaded].rack != firewall_rack {
                break overloaded;
            }
        };
        let silent = loop {
            let silent = host(random);
            if silent != overloaded && silent != gateway {
                break silent;
            }
        };
        let silence = seconds(4, 16, random);
        let window = |from: Nanos, hours: u64| (from, from + Nanos::from_secs(hours * HOUR));
        Self {
            deploys,
            leaking,
            not_reading,
            mismatch: (caller, mismatched),
            idle_timeouts: SERVICES
                .iter()
                .map(|_| Nanos::from_secs(random.u64(3..18) * 5))
                .collect(),
            firewall_rack,
            firewall_timeout: Nanos::from_secs(random.u64(1..4) * 300),
            losing_rack,
            gateway,
            gateway_window: window(from, 3),
            overloaded,
            silent,
            silent_window: window(silence, 4),
        }
    }

    /// Returns the deploy whose version a host runs at a time. `place` is its place among the hosts
    /// of the service.
    #[must_use]
    pub fn deployed(&self, service: usize, place: usize, at: Nanos) -> usize {
        let has_come = |(_, deploy): &(usize, &Deploy)| {
            deploy.service == service && deploy.at_host(place) <= at
        };
        let deploys = self.deploys.iter().enumerate().filter(has_come);
        deploys
            .max_by_key(|(_, deploy)| deploy.at)
            .map_or(0, |(position, _)| position)
    }

    /// Returns whether the gateway has no ports at a time.
    #[must_use]
    pub fn has_no_ports(&self, host: usize, at: Nanos) -> bool {
        let (from, to) = self.gateway_window;
        let time = Nanos(at.0 % DAY.0);
        host == self.gateway && from <= time && time < to
    }
}

impl Deploy {
    /// Returns when the host at this place of the service got it.
    #[must_use]
    pub fn at_host(&self, place: usize) -> Nanos {
        match self.at {
            Nanos(0) => Nanos(0),
            at => at + Nanos::from_secs(10 * place as u64),
        }
    }
}
