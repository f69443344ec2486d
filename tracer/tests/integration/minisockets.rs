//! What reaches the minisocket of an endpoint whose process has closed it: the peer's FIN, its RST,
//! its data.

use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use socket2::SockRef;

use crate::harness::capture::Ports;
use crate::harness::families::for_ipv4_and_ipv6;
use crate::harness::lab::Lab;
use crate::harness::minisockets;
use crate::harness::record::Close;
use crate::harness::sockets::{Connection, Family, read_to_end, send};
use crate::harness::timeouts::WAIT_TIMEOUT;
use tcpclose_kit::kernel::kernel_version;
use tcpclose_kit::sockets::reset_on_close;
use tcpclose_parity::segment::Endpoint::Client;

for_ipv4_and_ipv6!(
    the_peers_fin_is_observed,
    one_that_is_bound_to_an_interface_is_not_taken_for_gone,
    the_peers_rst_is_reported,
    data_with_a_fin_is_refused,
);

/// skb:kfree_skb names the socket since 6.11.
fn sees_segments() -> bool {
    kernel_version() >= (6, 11)
}

/// The client has closed, which was prepared so, and the server has acknowledged that.
fn closed(lab: &Lab, prepare: impl FnOnce(&TcpStream)) -> (TcpStream, Ports) {
    let Connection {
        client,
        server,
        listener,
        ports,
    } = lab.converse("one", "three");
    prepare(&client);
    drop((client, listener));
    assert_eq!(read_to_end(&server), 0);
    lab.assert_captured(ports, "client FIN,ACK; server ACK");
    (server, ports)
}

/// The same, and the client's endpoint is seen to be a minisocket.
fn parked(lab: &Lab) -> (TcpStream, Ports) {
    let (server, ports) = closed(lab, |_| ());
    // The ACK was sent; on another CPU it may still wait to be taken.
    let (since, parked) = (Instant::now(), Some(minisockets::FIN_WAIT2));
    minisockets::wait_for_state(&lab.ns, (ports, Client), parked, since, WAIT_TIMEOUT);
    (server, ports)
}

fn known_of_step(close: &Close, step: usize) -> Option<&str> {
    close.get(&format!("/close/steps/{step}/known")).as_str()
}

fn the_peers_fin_is_observed(family: Family) {
    let Some(lab) = Lab::on_loopback(family) else {
        return;
    };
    let (server, ports) = parked(&lab);
    drop(server);
    lab.assert_captured(
        ports,
        "client FIN,ACK; server ACK; server FIN,ACK; client ACK",
    );
    let client = lab.truthful_close(ports, Client);
    client.closed("four_way", "local");
    let known = if sees_segments() {
        "observed"
    } else {
        "inferred"
    };
    for step in [2, 3] {
        assert_eq!(known_of_step(&client, step), Some(known));
    }
    assert_eq!(lab.finish().len(), 2);
}

/// sock_diag finds a socket that is bound to an interface only by its number.
fn one_that_is_bound_to_an_interface_is_not_taken_for_gone(family: Family) {
    let Some(lab) = Lab::on_loopback(family) else {
        return;
    };
    let (server, ports) = closed(&lab, |client| {
        let bound = SockRef::from(client).bind_device(Some(b"lo"));
        bound.expect("root may bind to any interface");
    });
    // It is asked for after 20 ms, and not much later again.
    thread::sleep(Duration::from_millis(300));
    drop(server);
    lab.close(ports, Client).closed("four_way", "local");
    assert_eq!(lab.finish().len(), 2);
}

fn the_peers_rst_is_reported(family: Family) {
    let Some(lab) = Lab::on_loopback(family) else {
        return;
    };
    let (server, ports) = parked(&lab);
    reset_on_close(&server);
    drop(server);
    lab.assert_captured(ports, "client FIN,ACK; server ACK; server RST,ACK");
    if sees_segments() {
        let client = lab.truthful_close(ports, Client);
        client
            .closed("reset", "local")
            .has("/reset/by", "peer")
            .has("/close/segments", 3);
        assert_eq!(known_of_step(&client, 2), Some("observed"));
    } else {
        lab.close(ports, Client).closed("unknown", "local");
    }
    assert_eq!(lab.finish().len(), 2);
}

fn data_with_a_fin_is_refused(family: Family) {
    let Some(lab) = Lab::on_loopback(family) else {
        return;
    };
    let (server, ports) = parked(&lab);
    // Held back until the FIN goes with it.
    SockRef::from(&server).set_tcp_cork(true).unwrap();
    send(&server, "too late");
    drop(server);
    lab.assert_captured(
        ports,
        "client FIN,ACK; server ACK; server FIN,ACK; client RST",
    );
    // tcp:tcp_send_reset reports minisockets since 6.10.
    if kernel_version() >= (6, 10) {
        let client = lab.truthful_close(ports, Client);
        client
            .closed("reset", "local")
            .has("/reset/by", "local")
            .has("/reset/reason", "data_after_close")
            .has("/close/segments", 4);
        for step in 0..4 {
            assert_eq!(known_of_step(&client, step), Some("observed"));
        }
    } else {
        lab.close(ports, Client).closed("unknown", "local");
    }
    assert_eq!(lab.finish().len(), 2);
}
