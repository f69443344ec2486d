//! An administrator destroys a socket (`ss -K`).

use crate::harness::families::for_each_family;
use crate::harness::lab::Lab;
use crate::harness::sock_diag;
use crate::harness::sockets::{Connection, Family};
use tcpclose_parity::segment::Endpoint::{self, Client, Server};

for_each_family!(
    the_clients_socket_is_destroyed,
    the_servers_socket_is_destroyed
);

fn the_clients_socket_is_destroyed(family: Family) {
    destroy(family, Client);
}

fn the_servers_socket_is_destroyed(family: Family) {
    destroy(family, Server);
}

fn destroy(family: Family, victim: Endpoint) {
    let Some(lab) = Lab::on_loopback(family) else {
        return;
    };
    let Connection {
        client,
        server,
        listener: _listener,
        ports,
    } = lab.converse("ping", "pong!");

    let (near, far) = lab.ends(ports);
    let (local, peer) = if victim == Client {
        (near, far)
    } else {
        (far, near)
    };
    sock_diag::destroy(&lab.ns, local, peer).expect("the kernel destroys sockets");
    lab.assert_captured(ports, &format!("{victim} RST,ACK"));

    // The owner is the process that opened or holds the socket, never the one that destroys it.
    let client_record = lab.truthful_close(ports, Client);
    client_record
        .is_our_client()
        .moved(4, 5)
        .passed(&["ESTABLISHED"]);
    let server_record = lab.truthful_close(ports, Server);
    server_record
        .is_our_server()
        .moved(5, 4)
        .passed(&["ESTABLISHED"]);
    let (destroyed, other) = if victim == Client {
        (client_record, server_record)
    } else {
        (server_record, client_record)
    };
    destroyed.closed("destroyed", "local");
    other.closed("reset", "peer").has("/reset/by", "peer");

    drop((client, server));
    // Closing the descriptors afterwards is no second close.
    assert_eq!(lab.finish().len(), 2);
}
