//! Resets of connections that were half closed already: the socket was in FIN_WAIT2 with its
//! process still there.

use std::net::{Shutdown, TcpStream};

use crate::harness::capture::Ports;
use crate::harness::families::for_ipv4_and_ipv6;
use crate::harness::lab::Lab;
use crate::harness::sockets::{Connection, Family, read_to_end, send, wait_for_data};
use crate::harness::watch::agree;
use tcpclose_kit::sockets::is_in_fin_wait2;
use tcpclose_kit::sockets::reset_on_close;
use tcpclose_parity::segment::Endpoint::{Client, Server};

for_ipv4_and_ipv6!(
    linger_zero_after_the_local_fin,
    unread_data_after_the_local_fin,
    linger_zero_behind_the_peers_fin,
);

fn half_closed_by_client(lab: &Lab) -> Connection {
    let connection = lab.converse("one", "three");
    connection.client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_to_end(&connection.server), 0);
    lab.assert_captured(connection.ports, "client FIN,ACK; server ACK");
    // What has left has not yet arrived.
    agree("FIN_WAIT2", &true, || {
        is_in_fin_wait2(&connection.client).unwrap()
    });
    connection
}

fn linger_zero_after_the_local_fin(family: Family) {
    let Some(lab) = Lab::on_loopback(family) else {
        return;
    };
    let Connection {
        client,
        server,
        listener: _listener,
        ports,
    } = half_closed_by_client(&lab);
    reset_on_close(&client);
    drop(client);
    assert_reset_by_client(lab, server, ports, "linger", 5);
}

fn unread_data_after_the_local_fin(family: Family) {
    let Some(lab) = Lab::on_loopback(family) else {
        return;
    };
    let Connection {
        client,
        server,
        listener: _listener,
        ports,
    } = half_closed_by_client(&lab);
    send(&server, "never read");
    wait_for_data(&client);
    drop(client);
    assert_reset_by_client(lab, server, ports, "unread_data", 15);
}

fn assert_reset_by_client(lab: Lab, server: TcpStream, ports: Ports, reason: &str, answered: u64) {
    lab.assert_captured(ports, "client FIN,ACK; server ACK; client RST,ACK");
    drop(server);

    let client = lab.truthful_close(ports, Client);
    client
        .closed("reset", "local")
        .has("/reset/by", "local")
        .has("/reset/reason", reason);
    client
        .passed(&["ESTABLISHED", "FIN_WAIT1", "FIN_WAIT2"])
        .is_our_client()
        .moved(3, answered);
    let server = lab.truthful_close(ports, Server);
    server
        .closed("reset", "peer")
        .has("/reset/by", "peer")
        .is_our_server()
        .moved(answered, 3);
    server.passed(&["ESTABLISHED", "CLOSE_WAIT"]);
    assert_eq!(lab.finish().len(), 2);
}

fn linger_zero_behind_the_peers_fin(family: Family) {
    let Some(lab) = Lab::on_loopback(family) else {
        return;
    };
    let Connection {
        client,
        server,
        listener: _listener,
        ports,
    } = half_closed_by_client(&lab);
    reset_on_close(&server);
    drop(server);
    lab.assert_captured(ports, "client FIN,ACK; server ACK; server RST,ACK");
    drop(client);

    let server = lab.truthful_close(ports, Server);
    server
        .closed("reset", "peer")
        .has("/reset/by", "local")
        .has("/reset/reason", "linger");
    let client = lab.truthful_close(ports, Client);
    client
        .closed("reset", "local")
        .has("/reset/by", "peer")
        .is_our_client();
    assert_eq!(lab.finish().len(), 2);
}
