//! A new connection takes the place of one in TIME_WAIT.

use std::io::ErrorKind;
use std::thread;
use std::time::Duration;

use crate::harness::families::for_ipv4_and_ipv6;
use crate::harness::lab::Lab;
use crate::harness::minisockets::{self, Moment, TIME_WAIT};
use crate::harness::sockets::{Connection, Family, connect_from, ports_of};
use crate::time_wait::close_first;
use tcpclose_parity::segment::Endpoint::{Client, Server};

for_ipv4_and_ipv6!(
    a_connect_reuses_it,
    the_peers_syn_recycles_it,
    a_connect_that_the_kernel_refuses_leaves_it_alone,
);

/// A connection whose client's port can be bound again.
fn connect(lab: &Lab) -> Connection {
    let (listener, address) = lab.listen();
    let client = lab
        .ns
        .run(|| connect_from(lab.client_address(0), address))
        .unwrap();
    let (server, _) = listener.accept().unwrap();
    let ports = ports_of(&client);
    Connection {
        client,
        server,
        listener,
        ports,
    }
}

/// `tcp_twsk_unique` lets connect() have it when its last timestamp is a second old.
const SECOND: Duration = Duration::from_millis(1_200);

fn a_connect_reuses_it(family: Family) {
    let Some(lab) = Lab::on_loopback(family) else {
        return;
    };
    lab.set("tcp_tw_reuse", 1);
    let connection = connect(&lab);
    let entered = close_first(&lab, &connection, Client);
    let Connection {
        client,
        server: _server,
        listener,
        ports,
    } = connection;
    let (local, peer) = lab.ends(ports);
    drop(client);

    thread::sleep(SECOND);
    let (left, again) = Moment::during(|| lab.ns.run(|| connect_from(local, peer)));
    let _again = (again.expect("it is reused"), listener.accept().unwrap());
    lab.time_wait(ports, Client)
        .ended("reused")
        .has("/time_wait/measured", "hook")
        .has("/time_wait/error_ms", 0.0)
        .has("/conn/role", "client")
        .lasted(entered, left);
    assert_eq!(lab.time_waits(ports, Client).len(), 1);
    lab.finish();
}

/// The server has closed first; the client comes back from the same port.
fn the_peers_syn_recycles_it(family: Family) {
    let Some(lab) = Lab::on_loopback(family) else {
        return;
    };
    let connection = connect(&lab);
    let entered = close_first(&lab, &connection, Server);
    let Connection {
        client,
        server,
        listener,
        ports,
    } = connection;
    let (local, peer) = lab.ends(ports);
    drop((client, server));

    let (left, again) = Moment::during(|| lab.ns.run(|| connect_from(local, peer)));
    let _again = (again.expect("it is recycled"), listener.accept().unwrap());
    lab.time_wait(ports, Server)
        .ended("recycled")
        .measured_by_hook_or("sweep")
        .has("/conn/role", "server")
        .lasted(entered, left);
    lab.finish();
}

/// Without timestamps (`tcp_twsk_unique`) connect() fails: a transition to SYN_SENT and back, on
/// the same addresses and ports.
fn a_connect_that_the_kernel_refuses_leaves_it_alone(family: Family) {
    let Some(lab) = Lab::on_loopback(family) else {
        return;
    };
    lab.set("tcp_timestamps", 0);
    let connection = connect(&lab);
    close_first(&lab, &connection, Client);
    let Connection {
        client,
        server: _server,
        listener: _listener,
        ports,
    } = connection;
    let (local, peer) = lab.ends(ports);
    drop(client);
    lab.close(ports, Client);

    thread::sleep(SECOND);
    let refused = lab.ns.run(|| connect_from(local, peer));
    let refused = refused.expect_err("its place is taken");
    assert_eq!(refused.kind(), ErrorKind::AddrNotAvailable);
    // What the refusal would end it by comes before its own record.
    let closes = lab.closes(ports, Client, 2);
    closes[1].has("/close/path", "connect_failed");
    assert_eq!(lab.time_waits(ports, Client), []);
    assert_eq!(
        minisockets::state(&lab.ns, ports, Client),
        Some(TIME_WAIT),
        "it is still there"
    );
    lab.finish();
}
