//! The local ports that connect() may choose in a network namespace, and when it takes over those
//! in TIME_WAIT.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::ops::RangeInclusive;

use thiserror::Error;

use tcpclose_core::routes::PortSettings;
use tcpclose_core::summary::{ReuseRules, ReuseScope};
use tcpclose_core::types::{Nanos, NetNs, Port};
use tcpclose_sys::kernel::netns_cache::NetNsCache;
use tcpclose_sys::kernel::sock_diag::{DiagClient, DumpQuery, StateSet};

/// The range of the calling thread's network namespace, and the ports in it that connect() leaves
/// out (ip-sysctl: `ip_local_reserved_ports`).
const PORT_RANGE: &str = "/proc/sys/net/ipv4/ip_local_port_range";
const RESERVED_PORTS: &str = "/proc/sys/net/ipv4/ip_local_reserved_ports";

/// Whether connect() takes over ports in TIME_WAIT, and after how many milliseconds (since 6.14).
const REUSE: &str = "/proc/sys/net/ipv4/tcp_tw_reuse";
const REUSE_DELAY: &str = "/proc/sys/net/ipv4/tcp_tw_reuse_delay";

/// The delay of kernels that do not let it be set.
const DEFAULT_REUSE_DELAY: Nanos = Nanos::from_secs(1);

/// Whether connections have timestamps; 0 if not.
const TIMESTAMPS: &str = "/proc/sys/net/ipv4/tcp_timestamps";

/// The most bytes of a setting that a message shows.
const MAX_SHOWN_LEN: usize = 40;

/// Why the ports that connect() may choose are not known.
#[derive(Debug, Error)]
pub(crate) enum EphemeralPortsError {
    /// A setting cannot be read.
    #[error("reading {path} failed: {error}")]
    Unreadable {
        path: &'static str,
        error: io::Error,
    },
    /// A setting is not what the kernel writes.
    #[error("{path} has {text:?}, which is no such setting")]
    Malformed { path: &'static str, text: String },
}

/// The ephemeral ports of a network namespace, of IPv4 and of IPv6.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct EphemeralPorts {
    range: RangeInclusive<u16>,
    /// In ascending order, and apart from each other, as the kernel writes them.
    reserved: Vec<RangeInclusive<u16>>,
    /// Ports in the range that are bound by other sockets and are not reserved.
    bound: HashSet<Port>,
    /// When connect() takes over one in TIME_WAIT. Timestamps are known where there are none.
    reuse: ReuseRules,
}

/// Reads a setting of the calling thread's network namespace.
fn read_setting<T>(
    path: &'static str,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<T, EphemeralPortsError> {
    let text = fs::read_to_string(path)
        .map_err(|error| EphemeralPortsError::Unreadable { path, error })?;
    parse(&text).ok_or_else(|| EphemeralPortsError::Malformed {
        path,
        text: text.trim_end().chars().take(MAX_SHOWN_LEN).collect(),
    })
}

/// Returns the ports of the sockets of the calling thread's namespace that are bound, and neither
/// listen nor connect; none before 6.8, which does not list them.
fn bound_ports() -> Vec<Port> {
    let listed = DiagClient::open()
        .and_then(|mut diag| diag.collect(&DumpQuery::new(StateSet::bound_inactive())));
    let sockets = listed.map(|(sockets, _)| sockets).unwrap_or_default();
    let ports = sockets.iter().filter_map(|socket| socket.tuple.local_port);
    ports.collect()
}

impl EphemeralPorts {
    /// Reads the ports of a namespace. One that the kernel did not name is taken for the own
    /// namespace; it is not searched for. `None` where they cannot be read.
    pub fn read_in(netns_cache: &mut NetNsCache, netns: Option<NetNs>) -> Option<Self> {
        let read = match netns {
            Some(netns) => netns_cache.run_in(netns, Self::read).ok()?,
            None => Self::read(),
        };
        read.ok()
    }

    /// Reads the ports of the calling thread's namespace.
    ///
    /// # Errors
    /// A setting cannot be read, or is none that the kernel writes.
    pub fn read() -> Result<Self, EphemeralPortsError> {
        let delay = match read_setting(REUSE_DELAY, parse_number) {
            Ok(ms) => Nanos::from_millis(ms),
            Err(EphemeralPortsError::Unreadable { error, .. })
                if error.kind() == io::ErrorKind::NotFound =>
            {
                DEFAULT_REUSE_DELAY
            }
            Err(error) => return Err(error),
        };
        let mut ports = Self {
            range: read_setting(PORT_RANGE, parse_range)?,
            reserved: read_setting(RESERVED_PORTS, parse_list)?,
            bound: HashSet::new(),
            reuse: ReuseRules {
                scope: match read_setting(REUSE, parse_number)? {
                    0 => ReuseScope::Nowhere,
                    2 => ReuseScope::Loopback,
                    _ => ReuseScope::Everywhere,
                },
                delay,
                timestamps: (read_setting(TIMESTAMPS, parse_number)? == 0).then_some(false),
            },
        };
        ports.leave_out(bound_ports());
        Ok(ports)
    }

    /// Returns when connect() takes over ports in TIME_WAIT.
    pub const fn reuse(&self) -> ReuseRules {
        self.reuse
    }

    /// Returns these settings, counted.
    pub fn settings(&self) -> PortSettings {
        PortSettings {
            first: *self.range.start(),
            last: *self.range.end(),
            reserved: self.reserved_count(),
            bound: self.bound.len() as u32,
            reuse: self.reuse,
        }
    }

    /// Leaves out ports that are bound: connect() chooses none of them, whatever its peer is.
    pub fn leave_out(&mut self, bound: impl IntoIterator<Item = Port>) {
        for port in bound {
            if self.contains(port) {
                self.bound.insert(port);
            }
        }
    }

    /// Returns whether connect() may choose this port.
    pub fn contains(&self, port: Port) -> bool {
        let number = port.get();
        let is_reserved = || self.reserved.iter().any(|ports| ports.contains(&number));
        self.range.contains(&number) && !is_reserved() && !self.bound.contains(&port)
    }

    /// Returns the number of ports.
    pub fn count(&self) -> u32 {
        self.settings().ports()
    }

    /// Returns the number of ports in the range that are reserved.
    fn reserved_count(&self) -> u32 {
        let reserved = self.reserved.iter().map(|ports| {
            let first = *ports.start().max(self.range.start());
            let last = *ports.end().min(self.range.end());
            (first..=last).len() as u32
        });
        reserved.sum()
    }
}

fn parse_number(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

/// Parses the two ends of the range.
fn parse_range(text: &str) -> Option<RangeInclusive<u16>> {
    let mut numbers = text.split_whitespace().map(str::parse);
    let (first, last) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
    (first <= last).then_some(first..=last)
}

/// Parses `8080,9000-9010`, or nothing.
fn parse_list(text: &str) -> Option<Vec<RangeInclusive<u16>>> {
    let pieces = text.trim().split(',').filter(|piece| !piece.is_empty());
    let parsed = pieces.map(|piece| {
        let (first, last) = piece.split_once('-').unwrap_or((piece, piece));
        let (first, last) = (first.parse().ok()?, last.parse().ok()?);
        (first <= last).then_some(first..=last)
    });
    parsed.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tcpclose_sys::kernel::netns;

    fn ports(range: &str, reserved: &str) -> EphemeralPorts {
        EphemeralPorts {
            range: parse_range(range).expect("it is a range"),
            reserved: parse_list(reserved).expect("it is a list"),
            bound: HashSet::new(),
            reuse: ReuseRules {
                scope: ReuseScope::Nowhere,
                delay: DEFAULT_REUSE_DELAY,
                timestamps: None,
            },
        }
    }

    /// Counts the ports one by one.
    fn counted(ports: &EphemeralPorts) -> u32 {
        let all = (1..=u16::MAX).filter_map(Port::new);
        all.filter(|&port| ports.contains(port)).count() as u32
    }

    #[test]
    fn the_ports_of_an_unknown_namespace_are_those_of_the_own() {
        let mut netns_cache = NetNsCache::default();
        let own = netns::current().expect("it has a number");
        let ports = EphemeralPorts::read_in(&mut netns_cache, Some(own));
        assert!(ports.is_some());
        assert_eq!(EphemeralPorts::read_in(&mut netns_cache, None), ports);
    }

    #[test]
    fn the_range_has_both_ends() {
        let ports = ports("32768\t60999\n", "\n");
        assert_eq!((ports.count(), counted(&ports)), (28_232, 28_232));
        assert_eq!(parse_range("60999\t32768\n"), None);
        assert_eq!(parse_range(""), None);
    }

    #[test]
    fn reserved_ports_within_the_range_are_left_out() {
        for (range, reserved, left) in [
            ("40000 40009", "40000-40007", 2),
            (
                "40000 40009",
                "80,8080-8090,39990-40001,40005,40009-40020,50000",
                6,
            ),
            ("40000 40009", "40000-40009", 0),
            ("40000 40000", "", 1),
            ("40000 40000", "40000", 0),
            ("1 65535", "1,65535", 65_533),
        ] {
            let ports = ports(range, reserved);
            let found = (ports.count(), counted(&ports));
            assert_eq!(found, (left, left), "{range} without {reserved}");
        }
        assert_eq!(parse_list("40000-"), None);
        assert_eq!(parse_list("9-8"), None);
    }
    #[test]
    fn bound_ports_within_the_range_are_left_out_once() {
        let mut ports = ports("40000 40009", "40000-40007");
        ports.leave_out(
            [8080, 40_001, 40_008, 40_008]
                .into_iter()
                .filter_map(Port::new),
        );
        assert_eq!((ports.count(), counted(&ports)), (1, 1));
        assert_eq!(
            Port::new(40_009).map(|port| ports.contains(port)),
            Some(true)
        );
    }
}
