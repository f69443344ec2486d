//! The services of the fleet, and which of them call which.

/// A service. Each host runs one.
#[derive(Clone, Copy, Debug)]
pub struct Service {
    /// The name of the process, and of the unit or the container.
    pub name: &'static str,
    /// The port on which it listens.
    pub port: u16,
    /// How many of 40 hosts run it.
    pub share: usize,
    /// It runs in a container of Kubernetes; the others are units of systemd.
    pub in_container: bool,
    /// Connections to it are kept open for hours, as those of a pool of a database.
    pub has_long_connections: bool,
    /// What it calls, as positions in [`SERVICES`], and how often of 10 calls.
    pub calls: &'static [(usize, u32)],
}

const fn service(name: &'static str, port: u16, share: usize) -> Service {
    Service {
        name,
        port,
        share,
        in_container: false,
        has_long_connections: false,
        calls: &[],
    }
}

/// The position of the service whose calls leave the fleet.
pub const GATEWAY: usize = 7;

/// The services.
pub const SERVICES: [Service; 8] = [
    Service {
        calls: &[(1, 5), (2, 3), (3, 2)],
        ..service("web", 8080, 10)
    },
    Service {
        calls: &[(4, 4), (5, 3), (6, 3)],
        ..service("api", 9000, 8)
    },
    service("search", 9200, 4),
    Service {
        in_container: true,
        calls: &[(5, 10)],
        ..service("reports", 9300, 4)
    },
    Service {
        calls: &[(5, 10)],
        ..service("orders", 9100, 4)
    },
    Service {
        has_long_connections: true,
        ..service("db", 5432, 4)
    },
    Service {
        in_container: true,
        ..service("cache", 6379, 4)
    },
    service("gateway", 3128, 2),
];

/// Services that one other service calls, so that what a fault of theirs does to others is known.
pub const WITH_ONE_CALLER: [usize; 5] = [1, 2, 3, 4, 6];

/// Returns the services that call one, as positions in [`SERVICES`].
pub fn callers(service: usize) -> impl Iterator<Item = usize> {
    let calls = move |caller: &Service| caller.calls.iter().any(|(called, _)| *called == service);
    let all = SERVICES.iter().enumerate();
    all.filter(move |(_, caller)| calls(caller))
        .map(|(position, _)| position)
}
