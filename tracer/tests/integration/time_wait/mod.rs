//! TIME_WAIT: how long it really lasts, and how it ends. The truth is the kernel's own list of
//! sockets, read beside the program under test.
//!
//! Where function hooks tell, each record must be exact; elsewhere it must be right to the error
//! that it states.

mod cut_short;
mod expiry;
mod namespaces;
mod overflow;
mod polls;
mod replaced;

use std::net::{Shutdown, SocketAddr};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::capture::{Ports, expected_next};
use crate::harness::lab::Lab;
use crate::harness::minisockets::{self, Moment};
use crate::harness::requirements::{self, has_hooks};
use crate::harness::segment;
use crate::harness::sockets::{Connection, read_to_end};
use crate::harness::timeouts::WAIT_TIMEOUT;
use tcpclose_kit::kernel::kernel_version;
use tcpclose_parity::segment::Endpoint::{self, Client};

/// Closes a connection in the textbook's way, this side first. Returns when it entered TIME_WAIT.
fn close_first(lab: &Lab, connection: &Connection, first: Endpoint) -> Moment {
    let (closing, other) = if first == Client {
        (&connection.client, &connection.server)
    } else {
        (&connection.server, &connection.client)
    };
    closing.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_to_end(other), 0);
    let since = Instant::now();
    other.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_to_end(closing), 0);
    minisockets::enters(&lab.ns, connection.ports, first, since)
}

/// Puts a bare RST on the wire, with the number that the client expects next.
fn inject_reset(lab: &Lab, ports: Ports) {
    let (SocketAddr::V4(to), SocketAddr::V4(from)) = lab.ends(ports) else {
        panic!("the wire's addresses are IPv4");
    };
    let next = expected_next(&lab.packets(), ports, Client).expect("it has acknowledged");
    lab.wire().inject(&segment::reset(from, to, next));
}

/// Ends the client's TIME_WAIT by a RST (RFC 1337). Returns when.
fn assassinate(lab: &Lab, ports: Ports) -> Moment {
    let after = Instant::now();
    inject_reset(lab, ports);
    let gone = minisockets::leaves(&lab.ns, ports, Client, WAIT_TIMEOUT);
    Moment { after, ..gone }
}

/// Without hooks, one that is gone before the first look was seen by nobody, and that is all that
/// can be said of it.
fn be_seen() {
    thread::sleep(Duration::from_secs(1));
}

/// The kernels that are booted for the hooks have them. Without socket cookies (before 5.12) there
/// is nothing to join what they tell with.
#[test]
fn the_hooks_are_there_where_they_must_be() {
    if !requirements::can_trace() {
        return;
    }
    let required = requirements::has_all_but_age();
    assert!(has_hooks() || !required || kernel_version() < (5, 12));
}
