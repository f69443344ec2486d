//! The hosts: their racks, addresses and services.

use std::net::{IpAddr, Ipv4Addr};

use crate::services::{GATEWAY, SERVICES};

/// Hosts in one rack.
const RACK: usize = 5;

/// The address of the partner that gateways call.
pub const PARTNER: (IpAddr, u16) = (IpAddr::V4(Ipv4Addr::new(203, 0, 113, 10)), 443);

/// A host.
#[derive(Clone, Debug)]
pub struct Host {
    /// Its name.
    pub name: String,
    /// Its only address.
    pub address: IpAddr,
    /// Its rack.
    pub rack: usize,
    /// The service that it runs, as a position in [`SERVICES`].
    pub service: usize,
    /// Its place among the hosts of its service.
    pub place: usize,
}

/// All hosts.
#[derive(Clone, Debug)]
pub struct Fleet {
    /// The hosts; the rest of the program names them by their positions.
    pub hosts: Vec<Host>,
    /// How many racks there are.
    pub racks: usize,
    by_service: Vec<Vec<usize>>,
}

impl Fleet {
    /// Returns a fleet of so many hosts.
    #[must_use]
    pub fn new(count: usize) -> Self {
        let racks = count.div_ceil(RACK);
        let whole: usize = SERVICES.iter().map(|service| service.share).sum();
        let mut by_service = vec![Vec::new(); SERVICES.len()];
        let hosts = (0..count)
            .map(|position| {
                let service = service_of(position * whole / count);
                let place = by_service[service].len();
                by_service[service].push(position);
                let [_, high, middle, low] = u32::try_from(position + 1).unwrap_or(0).to_be_bytes();
                Host {
                    name: format!("h{:05}", position + 1),
                    address: Ipv4Addr::new(10, high, middle, low).into(),
                    rack: position % racks,
                    service,
                    place,
                }
            })
            .collect();
        Self {
            hosts,
            racks,
            by_service,
        }
    }

    /// Returns the hosts that run a service.
    #[must_use]
    pub fn with_service(&self, service: usize) -> &[usize] {
        &self.by_service[service]
    }

    /// Returns the hosts that call others.
    #[must_use]
    pub fn callers(&self) -> Vec<usize> {
        let calls = |host: &usize| {
            let service = self.hosts[*host].service;
            service == GATEWAY || !SERVICES[service].calls.is_empty()
        };
        (0..self.hosts.len()).filter(calls).collect()
    }
}

/// The name of a rack.
#[must_use]
pub fn rack_name(rack: usize) -> String {
    format!("r{:03}", rack + 1)
}

/// The service at a place in the list in which each service stands as often as its share says.
fn service_of(mut place: usize) -> usize {
    for (position, service) in SERVICES.iter().enumerate() {
        if place < service.share {
            return position;
        }
        place -= service.share;
    }
    GATEWAY
}
