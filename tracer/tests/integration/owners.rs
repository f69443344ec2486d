//! The owner is the process whose connection it was, not the one on the CPU.

use std::net::SocketAddr;

use crate::harness::capture::Ports;
use crate::harness::families::for_ipv4_and_ipv6;
use crate::harness::helper;
use crate::harness::lab::Lab;
use crate::harness::sockets::{Family, ports_of, read_to_end, send};
use tcpclose_parity::segment::Endpoint::{Client, Server};

for_ipv4_and_ipv6!(
    a_process_that_exits_closes,
    each_endpoint_has_its_own_process,
    a_client_has_the_thread_that_called_connect,
);

/// The kernel closes what a process leaves open.
fn a_process_that_exits_closes(family: Family) {
    let Some(lab) = Lab::on_loopback(family) else {
        return;
    };
    let mut helper = helper::Server::start(&lab.ns, lab.client_address(0));
    let client = lab.dial(lab.client_address(helper.port));
    let ports = ports_of(&client);
    send(&client, "x");
    assert_eq!(read_to_end(&client), 0);
    helper.wait();
    drop(client);

    let server = lab.truthful_close(ports, Server);
    server
        .has("/close/initiator", "local")
        .has_one_of("/close/path", &["four_way", "three_way", "unknown"]);
    server
        .has("/owner/pid", helper.pid())
        .has("/conn/role", "server")
        .moved(0, 1);
    let client = lab.truthful_close(ports, Client);
    client
        .has("/close/initiator", "peer")
        .is_our_client()
        .moved(1, 0);
    lab.finish();
}

/// Both endpoints close within microseconds of each other, in the same interrupt as often as not.
fn each_endpoint_has_its_own_process(family: Family) {
    let Some(lab) = Lab::on_loopback(family) else {
        return;
    };
    let mut helper = helper::Client::start(&lab.ns, b"visitor");
    let (listener, address): (_, SocketAddr) = lab.listen();
    for _ in 0..20 {
        helper.connect(address);
        let (server, peer) = listener.accept().unwrap();
        send(&server, "hi");
        drop(server);
        let ports = Ports {
            client: peer.port(),
            server: address.port(),
        };
        let client = lab.truthful_close(ports, Client);
        client
            .has("/owner/pid", helper.pid())
            .has("/owner/comm", "visitor")
            .has("/owner/source", "connect");
        client
            .has("/close/initiator", "peer")
            .has("/conn/role", "client");
        lab.truthful_close(ports, Server)
            .has("/close/initiator", "local")
            .is_our_server();
    }
    helper.finish();
    lab.finish();
}

/// Another thread closes, and another one accepts.
fn a_client_has_the_thread_that_called_connect(family: Family) {
    let Some(lab) = Lab::on_loopback(family) else {
        return;
    };
    let (listener, address) = lab.listen();
    for name in [c"pool-1", c"a long name, 15"] {
        let (client, thread) = lab.dial_in_thread(address, name);
        let (server, _) = listener.accept().unwrap();
        let ports = ports_of(&client);
        drop(client);
        assert_eq!(read_to_end(&server), 0);
        drop(server);
        let client = lab.truthful_close(ports, Client);
        client
            .is_our_client()
            .has("/owner/thread/name", name.to_str().unwrap())
            .has("/owner/thread/id", thread);
        assert_ne!(client.get("/owner/comm"), client.get("/owner/thread/name"));
        lab.truthful_close(ports, Server)
            .is_our_server()
            .has("/owner/thread", ())
            .has("/conn/peer_owner/thread/id", thread);
    }
    lab.finish();
}
