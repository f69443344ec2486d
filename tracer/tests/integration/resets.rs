//! Closes by RST, from both sides, with the cause where the kernel or the socket shows it.

use std::io::Read as _;
use std::net::{Shutdown, TcpStream};

use crate::harness::families::{for_each_family, for_ipv4_and_ipv6};
use crate::harness::lab::Lab;
use crate::harness::record::Close;
use crate::harness::sockets::{Connection, Family, read_to_end, send, wait_for_data};
use tcpclose_kit::sockets::{is_in_fin_wait2, reset_on_close};
use tcpclose_kit::wait::eventually;
use tcpclose_parity::segment::Endpoint::{self, Client, Server};

for_each_family!(
    client_closes_with_unread_data,
    server_closes_with_unread_data
);
for_each_family!(
    client_closes_with_linger_zero,
    server_closes_with_linger_zero
);
for_ipv4_and_ipv6!(
    data_for_a_closed_socket_is_answered_with_a_reset,
    data_for_a_socket_with_a_living_half_is_not_reset,
    unread_data_behind_the_peers_fin,
);

/// Waits until the peer's reset has arrived.
fn wait_for_reset(mut stream: &TcpStream) {
    let error = stream.read(&mut [0]).expect_err("the peer resets");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

fn is_our(end: Endpoint, close: &Close) {
    if end == Client {
        close.is_our_client()
    } else {
        close.is_our_server()
    };
}

/// `breaker` aborts for `reason`; both endpoints have exchanged what `sent` says (by client, by
/// server).
fn assert_reset(
    lab: Lab,
    connection: Connection,
    breaker: Endpoint,
    reason: &str,
    sent: (u64, u64),
) {
    let Connection {
        client,
        server,
        listener: _listener,
        ports,
    } = connection;
    let (closing, other) = if breaker == Client {
        (client, server)
    } else {
        (server, client)
    };
    drop(closing);
    wait_for_reset(&other);
    drop(other);
    lab.assert_captured(ports, &format!("{breaker} RST,ACK"));

    for (end, sent, received) in [(Client, sent.0, sent.1), (Server, sent.1, sent.0)] {
        let close = lab.truthful_close(ports, end);
        let by = if end == breaker { "local" } else { "peer" };
        close
            .closed("reset", by)
            .counts_segments()
            .has("/reset/by", by);
        close
            .passed(&["ESTABLISHED"])
            .moved(sent, received)
            .was_watched_from_start();
        is_our(end, &close);
        if end == breaker {
            close.has("/reset/reason", reason);
        }
    }
    assert_eq!(lab.finish().len(), 2);
}

fn client_closes_with_unread_data(family: Family) {
    let Some(lab) = Lab::on_loopback(family) else {
        return;
    };
    let connection = lab.connect();
    send(&connection.server, "never read");
    wait_for_data(&connection.client);
    assert_reset(lab, connection, Client, "unread_data", (0, 10));
}

fn server_closes_with_unread_data(family: Family) {
    let Some(lab) = Lab::on_loopback(family) else {
        return;
    };
    let connection = lab.connect();
    send(&connection.client, "never read");
    wait_for_data(&connection.server);
    assert_reset(lab, connection, Server, "unread_data", (10, 0));
}

fn client_closes_with_linger_zero(family: Family) {
    let Some(lab) = Lab::on_loopback(family) else {
        return;
    };
    let connection = lab.converse("ping", "pong!");
    reset_on_close(&connection.client);
    assert_reset(lab, connection, Client, "linger", (4, 5));
}

fn server_closes_with_linger_zero(family: Family) {
    let Some(lab) = Lab::on_loopback(family) else {
        return;
    };
    let connection = lab.converse("ping", "pong!");
    reset_on_close(&connection.server);
    assert_reset(lab, connection, Server, "linger", (4, 5));
}

/// The client has closed both directions: its FIN is acknowledged, and then the server goes on
/// sending.
fn data_for_a_closed_socket_is_answered_with_a_reset(family: Family) {
    let Some(lab) = Lab::on_loopback(family) else {
        return;
    };
    let Connection {
        client,
        server,
        listener: _listener,
        ports,
    } = lab.converse("ping", "pong!");

    drop(client);
    assert_eq!(read_to_end(&server), 0);
    lab.assert_captured(ports, "client FIN,ACK; server ACK");
    send(&server, "too late");
    lab.assert_captured(ports, "client FIN,ACK; server ACK; client RST");
    drop(server);

    let server = lab.truthful_close(ports, Server);
    server
        .closed("reset", "peer")
        .has("/reset/by", "peer")
        .is_our_server();
    server.passed(&["ESTABLISHED", "CLOSE_WAIT"]);
    // A FIN_WAIT2 minisocket sends this reset; nothing but its disappearance may show it.
    let client = lab.close(ports, Client);
    client
        .has("/close/initiator", "local")
        .has_one_of("/close/path", &["reset", "unknown"])
        .is_our_client();
    assert_eq!(lab.finish().len(), 2);
}

/// The same with shutdown(): the client only closed its own direction, so data is welcome and
/// nothing is reset.
fn data_for_a_socket_with_a_living_half_is_not_reset(family: Family) {
    let Some(lab) = Lab::on_loopback(family) else {
        return;
    };
    let Connection {
        client,
        server,
        listener: _listener,
        ports,
    } = lab.converse("ping", "pong!");

    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_to_end(&server), 0);
    lab.assert_captured(ports, "client FIN,ACK; server ACK");
    send(&server, "welcome");
    drop(server);
    assert_eq!(read_to_end(&client), 7);
    drop(client);

    lab.truthful_close(ports, Client)
        .closed("four_way", "local")
        .has("/reset", ())
        .moved(4, 12);
    lab.truthful_close(ports, Server)
        .closed("four_way", "peer")
        .has("/reset", ())
        .moved(12, 4);
    assert_eq!(lab.finish().len(), 2);
}

/// The client's FIN comes behind data that the server never reads: the server's close() answers
/// with a reset.
fn unread_data_behind_the_peers_fin(family: Family) {
    let Some(lab) = Lab::on_loopback(family) else {
        return;
    };
    let Connection {
        client,
        server,
        listener: _listener,
        ports,
    } = lab.connect();

    send(&client, "never read");
    client.shutdown(Shutdown::Write).unwrap();
    // The capture shows segments as they leave; the reset must not overtake the ACK on the way in.
    let has_acked = || is_in_fin_wait2(&client).unwrap().then_some(());
    eventually(has_acked).expect("the server's kernel acknowledges the FIN");
    drop(server);
    lab.assert_captured(ports, "client FIN,ACK; server ACK; server RST,ACK");

    let server = lab.truthful_close(ports, Server);
    server
        .closed("reset", "peer")
        .has("/reset/by", "local")
        .has("/reset/reason", "unread_data");
    server
        .passed(&["ESTABLISHED", "CLOSE_WAIT"])
        .moved(0, 10)
        .is_our_server();
    let client = lab.truthful_close(ports, Client);
    client
        .closed("reset", "local")
        .has("/reset/by", "peer")
        .moved(10, 0)
        .is_our_client();
    assert_eq!(lab.finish().len(), 2);
}
