//! The textbook's close: FIN, ACK, FIN, ACK.

use std::net::Shutdown;
use std::thread;
use std::time::Duration;

use crate::harness::families::for_each_family;
use crate::harness::lab::Lab;
use crate::harness::sockets::{Connection, Family, expect, read_to_end, send};
use tcpclose_parity::segment::Endpoint::{Client, Server};

const CLOSE_DELAY: Duration = Duration::from_millis(300);
const FOUR_BY_CLIENT: &str = "client FIN,ACK; server ACK; server FIN,ACK; client ACK";
const FOUR_BY_SERVER: &str = "server FIN,ACK; client ACK; client FIN,ACK; server ACK";

/// The scheduler may start the delay a little late on the other side's clock.
const MIN_CLOSE_DELAY_MS: f64 = 290.0;

for_each_family!(
    client_closes_and_server_follows_late,
    server_closes_and_client_follows_late,
    client_shuts_down_and_reads_on,
    nothing_was_ever_sent,
);

fn client_closes_and_server_follows_late(family: Family) {
    let Some(lab) = Lab::on_loopback(family) else {
        return;
    };
    let Connection {
        client,
        server,
        listener: _listener,
        ports,
    } = lab.converse("hello", "hello, you");

    drop(client);
    assert_eq!(read_to_end(&server), 0);
    thread::sleep(CLOSE_DELAY);
    drop(server);
    lab.assert_captured(ports, FOUR_BY_CLIENT);

    let client = lab.truthful_close(ports, Client);
    client
        .closed("four_way", "local")
        .counts_segments()
        .moved(5, 10)
        .is_our_client();
    client
        .passed(&["ESTABLISHED", "FIN_WAIT1", "FIN_WAIT2"])
        .was_watched_from_start();
    let waited = client.ms_in("FIN_WAIT1") + client.ms_in("FIN_WAIT2");
    assert!(
        waited >= MIN_CLOSE_DELAY_MS,
        "the peer was {CLOSE_DELAY:?} late: {client}"
    );
    client.has("/reset", ()).has("/time_wait", ());

    let server = lab.truthful_close(ports, Server);
    server
        .closed("four_way", "peer")
        .counts_segments()
        .moved(10, 5)
        .is_our_server();
    server
        .passed(&["ESTABLISHED", "CLOSE_WAIT", "LAST_ACK"])
        .was_watched_from_start();
    assert!(
        server.ms_in("CLOSE_WAIT") >= MIN_CLOSE_DELAY_MS,
        "it was {CLOSE_DELAY:?} late: {server}"
    );
    assert_eq!(lab.finish().len(), 2);
}

fn server_closes_and_client_follows_late(family: Family) {
    let Some(lab) = Lab::on_loopback(family) else {
        return;
    };
    let Connection {
        client,
        server,
        listener: _listener,
        ports,
    } = lab.converse("bye", "");

    drop(server);
    assert_eq!(read_to_end(&client), 0);
    thread::sleep(CLOSE_DELAY);
    drop(client);
    lab.assert_captured(ports, FOUR_BY_SERVER);

    let server = lab.truthful_close(ports, Server);
    server
        .closed("four_way", "local")
        .counts_segments()
        .moved(0, 3)
        .is_our_server();
    server
        .passed(&["ESTABLISHED", "FIN_WAIT1", "FIN_WAIT2"])
        .was_watched_from_start();

    let client = lab.truthful_close(ports, Client);
    client
        .closed("four_way", "peer")
        .counts_segments()
        .moved(3, 0)
        .is_our_client();
    client
        .passed(&["ESTABLISHED", "CLOSE_WAIT", "LAST_ACK"])
        .was_watched_from_start();
    assert_eq!(lab.finish().len(), 2);
}

/// The kernel keeps the socket in FIN_WAIT2 and reports the peer's FIN itself: no orphan here.
fn client_shuts_down_and_reads_on(family: Family) {
    let Some(lab) = Lab::on_loopback(family) else {
        return;
    };
    let Connection {
        client,
        server,
        listener: _listener,
        ports,
    } = lab.connect();

    send(&client, "request");
    client.shutdown(Shutdown::Write).unwrap();
    expect(&server, "request");
    assert_eq!(read_to_end(&server), 0);
    thread::sleep(CLOSE_DELAY);
    drop(server);
    assert_eq!(read_to_end(&client), 0);
    drop(client);
    lab.assert_captured(ports, FOUR_BY_CLIENT);

    let client = lab.truthful_close(ports, Client);
    client
        .closed("four_way", "local")
        .counts_segments()
        .moved(7, 0)
        .is_our_client();
    client
        .passed(&["ESTABLISHED", "FIN_WAIT1", "FIN_WAIT2"])
        .was_watched_from_start();
    assert!(
        client.ms_in("FIN_WAIT1") + client.ms_in("FIN_WAIT2") >= MIN_CLOSE_DELAY_MS,
        "{client}"
    );

    let server = lab.truthful_close(ports, Server);
    server
        .closed("four_way", "peer")
        .counts_segments()
        .moved(0, 7)
        .is_our_server();
    server
        .passed(&["ESTABLISHED", "CLOSE_WAIT", "LAST_ACK"])
        .was_watched_from_start();
    assert_eq!(lab.finish().len(), 2);
}

fn nothing_was_ever_sent(family: Family) {
    let Some(lab) = Lab::on_loopback(family) else {
        return;
    };
    let Connection {
        client,
        server,
        listener: _listener,
        ports,
    } = lab.connect();

    drop(client);
    assert_eq!(read_to_end(&server), 0);
    thread::sleep(CLOSE_DELAY);
    drop(server);
    lab.assert_captured(ports, FOUR_BY_CLIENT);

    lab.truthful_close(ports, Client)
        .closed("four_way", "local")
        .moved(0, 0)
        .was_watched_from_start();
    lab.truthful_close(ports, Server)
        .closed("four_way", "peer")
        .moved(0, 0)
        .was_watched_from_start();
    assert_eq!(lab.finish().len(), 2);
}
