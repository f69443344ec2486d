//! TIME_WAIT that ends before its time, with nobody in its place.

use std::time::Duration;

use crate::harness::families::for_ipv4_and_ipv6;
use crate::harness::lab::Lab;
use crate::harness::minisockets::{self, FIN_WAIT2, Moment, TIME_WAIT};
use crate::harness::sock_diag;
use crate::harness::sockets::{Connection, Family, read_to_end};
use crate::harness::timeouts::WAIT_TIMEOUT;
use crate::time_wait::{assassinate, be_seen, close_first};
use tcpclose_parity::segment::Endpoint::Client;

for_ipv4_and_ipv6!(an_administrator_destroys_it);

/// RFC 1337: a RST with the number that is expected next.
#[test]
fn a_reset_assassinates_it() {
    let Some(lab) = Lab::on_wire(Family::V4) else {
        return;
    };
    lab.set("tcp_rfc1337", 0);
    let connection = lab.converse("ping", "pong");
    let entered = close_first(&lab, &connection, Client);
    be_seen();
    let left = assassinate(&lab, connection.ports);
    let reported = lab.time_wait(connection.ports, Client);
    reported.ended("killed").lasted(entered, left);
    lab.finish();
}

fn an_administrator_destroys_it(family: Family) {
    let Some(lab) = Lab::on_loopback(family) else {
        return;
    };
    let connection = lab.converse("ping", "pong");
    let entered = close_first(&lab, &connection, Client);
    let Connection { client, ports, .. } = connection;
    let (local, peer) = lab.ends(ports);
    drop(client);
    lab.close(ports, Client);
    be_seen();
    let (left, destroyed) = Moment::during(|| sock_diag::destroy(&lab.ns, local, peer));
    match destroyed {
        Ok(()) => {
            lab.time_wait(ports, Client)
                .ended("killed")
                .measured_by_hook_or("sweep")
                .lasted(entered, left);
        }
        // Older kernels destroy no minisockets (tcp_abort).
        Err(error) => {
            assert_eq!(error.raw_os_error(), Some(libc::EOPNOTSUPP));
            let state = minisockets::state(&lab.ns, ports, Client);
            assert_eq!(state, Some(TIME_WAIT));
            assert_eq!(lab.time_waits(ports, Client), []);
        }
    }
    lab.finish();
}

/// An orphan waits for the peer's FIN in a minisocket too. Its timer ends that, and no TIME_WAIT
/// follows.
#[test]
fn a_wait_for_the_peers_fin_is_not_a_time_wait() {
    const SECOND: Duration = Duration::from_secs(1);
    let Some(lab) = Lab::on_loopback(Family::V4) else {
        return;
    };
    lab.set("tcp_fin_timeout", SECOND.as_secs() as u32);
    let Connection {
        client,
        server,
        listener: _listener,
        ports,
    } = lab.converse("ping", "pong");
    let (entered, ()) = Moment::during(|| drop(client));
    assert_eq!(read_to_end(&server), 0);
    let socket = (ports, Client);
    minisockets::wait_for_state(
        &lab.ns,
        socket,
        Some(FIN_WAIT2),
        entered.after,
        WAIT_TIMEOUT,
    );
    let left = minisockets::leaves(&lab.ns, ports, Client, WAIT_TIMEOUT);
    let close = lab.close(ports, Client);
    close.closed("timeout", "local");
    let waited = close.ms_in("FIN_WAIT2");
    let least = left.after.duration_since(entered.before).as_secs_f64() * 1e3;
    let most = left.before.duration_since(entered.after).as_secs_f64() * 1e3;
    // Where no hook reports the timer, a poll shows by when TIME_WAIT was over; the timer itself
    // shows when it was due.
    let slack = if crate::harness::requirements::has_hooks() {
        0.0
    } else {
        (least - SECOND.as_secs_f64() * 1e3).max(0.0) + 10.0
    };
    assert!(
        least - slack - close.ms_in("FIN_WAIT1") <= waited && waited <= most,
        "between {least} and {most} ms: {close}"
    );
    assert_eq!(lab.time_waits(ports, Client), []);
    drop(server);
    lab.finish();
}
