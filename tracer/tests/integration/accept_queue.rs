//! Connections that end before anybody has accepted them.

use std::thread;
use std::time::Duration;

use crate::harness::families::for_each_family;
use crate::harness::lab::Lab;
use crate::harness::sockets::{Family, ports_of, read_to_end, send};
use tcpclose_kit::sockets::reset_on_close;
use tcpclose_parity::segment::Endpoint::{Client, Server};

for_each_family!(
    listener_closes_with_a_connection_in_its_queue,
    client_closes_before_it_is_accepted,
    client_resets_before_it_is_accepted,
);

fn listener_closes_with_a_connection_in_its_queue(family: Family) {
    let Some(lab) = Lab::on_loopback(family) else {
        return;
    };
    let (listener, address) = lab.listen();
    let client = lab.dial(address);
    let ports = ports_of(&client);
    send(&client, "hello?");
    // The child exists once the client's data is acknowledged.
    lab.wait_until_acknowledged(ports, Client);

    drop(listener);
    lab.assert_captured(ports, "server RST,ACK");
    drop(client);

    let server = lab.truthful_close(ports, Server);
    server
        .closed("reset", "local")
        .has("/reset/by", "local")
        .passed(&["ESTABLISHED"])
        .moved(0, 6);
    server.has("/conn/role", "server").is_ours();
    let client = lab.truthful_close(ports, Client);
    client
        .closed("reset", "peer")
        .has("/reset/by", "peer")
        .moved(6, 0)
        .is_our_client();
    // Two endpoints, and none for the listener itself.
    assert_eq!(lab.finish().len(), 2);
}

fn client_closes_before_it_is_accepted(family: Family) {
    let Some(lab) = Lab::on_loopback(family) else {
        return;
    };
    let (listener, address) = lab.listen();
    let client = lab.dial(address);
    let ports = ports_of(&client);
    send(&client, "hello?");
    drop(client);
    lab.assert_captured(ports, "client FIN,ACK; server ACK");
    thread::sleep(Duration::from_millis(50));
    let (server, _) = listener.accept().unwrap();
    assert_eq!(read_to_end(&server), 6);
    drop(server);
    lab.assert_captured(
        ports,
        "client FIN,ACK; server ACK; server FIN,ACK; client ACK",
    );

    let client = lab.truthful_close(ports, Client);
    client
        .closed("four_way", "local")
        .moved(6, 0)
        .is_our_client()
        .was_watched_from_start();
    let server = lab.truthful_close(ports, Server);
    server
        .closed("four_way", "peer")
        .moved(0, 6)
        .is_our_server()
        .was_watched_from_start();
    server.passed(&["ESTABLISHED", "CLOSE_WAIT", "LAST_ACK"]);
    assert_eq!(lab.finish().len(), 2);
}

fn client_resets_before_it_is_accepted(family: Family) {
    let Some(lab) = Lab::on_loopback(family) else {
        return;
    };
    let (_listener, address) = lab.listen();
    let client = lab.dial(address);
    let ports = ports_of(&client);
    send(&client, "hello?");
    lab.wait_until_acknowledged(ports, Client);
    reset_on_close(&client);
    drop(client);
    lab.assert_captured(ports, "client RST,ACK");

    lab.truthful_close(ports, Client)
        .closed("reset", "local")
        .has("/reset/reason", "linger")
        .is_our_client();
    let server = lab.truthful_close(ports, Server);
    server
        .closed("reset", "peer")
        .has("/reset/by", "peer")
        .has("/conn/role", "server")
        .moved(0, 6);
    assert_eq!(lab.finish().len(), 2);
}
