//! Peers that fall silent, and how long the kernel waits for them.

use std::time::Duration;

use socket2::{Domain, SockRef, Socket, TcpKeepalive, Type};

use crate::harness::capture::Ports;
use crate::harness::families::for_ipv4_and_ipv6;
use crate::harness::lab::Lab;
use crate::harness::sockets::{Connection, Family, read_to_end, send};
use crate::harness::wire::Fate;
use tcpclose_parity::segment::Endpoint::{Client, Server};

for_ipv4_and_ipv6!(
    a_peer_that_falls_silent_times_out,
    a_syn_without_answer_times_out,
    keepalive_gives_up,
    a_closed_socket_stops_waiting_for_the_peers_fin_in_time,
);

const KERNEL_TIMEOUT: Duration = Duration::from_millis(400);

fn a_peer_that_falls_silent_times_out(family: Family) {
    let Some(lab) = Lab::on_wire(family) else {
        return;
    };
    let Connection {
        client,
        server: _server,
        listener: _listener,
        ports,
    } = lab.converse("one", "three");

    SockRef::from(&client)
        .set_tcp_user_timeout(Some(KERNEL_TIMEOUT))
        .unwrap();
    lab.wire().judge_by(|_| Fate::Lost);
    send(&client, "is anybody there?");

    let close = lab.close(ports, Client);
    close
        .has("/close/path", "timeout")
        .is_our_client()
        .has("/conn/family", family.name());
    close.passed(&["ESTABLISHED"]);
    assert!(close.number("/retransmits") >= 1.0, "{close}");
    drop(client);
    lab.finish();
}

fn a_syn_without_answer_times_out(family: Family) {
    let Some(lab) = Lab::on_wire(family) else {
        return;
    };
    let (_listener, address) = lab.listen();
    lab.wire().judge_by(|_| Fate::Lost);
    let ports = lab.ns.run(|| {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
        socket.set_tcp_user_timeout(Some(KERNEL_TIMEOUT)).unwrap();
        socket.bind(&lab.client_address(0).into()).unwrap();
        let local = socket.local_addr().unwrap().as_socket().unwrap();
        socket.connect(&address.into()).expect_err("nobody answers");
        Ports {
            client: local.port(),
            server: address.port(),
        }
    });

    let close = lab.close(ports, Client);
    close
        .has("/close/path", "connect_failed")
        .is_our_client()
        .passed(&["SYN_SENT"]);
    close.has("/reset", ()).moved(0, 0);
    assert_eq!(lab.finish().len(), 1);
}

fn keepalive_gives_up(family: Family) {
    const SECOND: Duration = Duration::from_secs(1);
    let Some(lab) = Lab::on_wire(family) else {
        return;
    };
    let Connection {
        client,
        server: _server,
        listener: _listener,
        ports,
    } = lab.converse("one", "three");

    let keepalive = TcpKeepalive::new()
        .with_time(SECOND)
        .with_interval(SECOND)
        .with_retries(1);
    SockRef::from(&client)
        .set_tcp_keepalive(&keepalive)
        .unwrap();
    lab.wire().judge_by(|_| Fate::Lost);
    lab.assert_captured(ports, "client RST,ACK");

    let close = lab.truthful_close(ports, Client);
    close
        .closed("timeout", "local")
        .is_our_client()
        .passed(&["ESTABLISHED"])
        .moved(3, 5);
    close
        .has("/reset/by", "local")
        .has("/reset/reason", "keepalive");
    drop(client);
    lab.finish();
}

/// `tcp_fin_timeout` ends an orphan's FIN_WAIT2: that is no four-way close and no TIME_WAIT.
fn a_closed_socket_stops_waiting_for_the_peers_fin_in_time(family: Family) {
    let Some(lab) = Lab::on_loopback(family) else {
        return;
    };
    lab.set("tcp_fin_timeout", 1);
    let Connection {
        client,
        server,
        listener: _listener,
        ports,
    } = lab.converse("one", "three");

    drop(client);
    assert_eq!(read_to_end(&server), 0);
    let client = lab.truthful_close(ports, Client);
    client
        .closed("timeout", "local")
        .is_our_client()
        .moved(3, 5);
    client.passed(&["ESTABLISHED", "FIN_WAIT1", "FIN_WAIT2"]);
    let waited = client.ms_in("FIN_WAIT2");
    assert!(waited >= 900.0, "the kernel waited a second: {client}");

    // What the server closes with meets nobody any more.
    send(&server, "hello?");
    lab.assert_captured(ports, "client FIN,ACK; server ACK; client RST");
    drop(server);
    let server = lab.truthful_close(ports, Server);
    server
        .closed("reset", "peer")
        .has("/reset/by", "peer")
        .is_our_server();
    assert_eq!(lab.finish().len(), 2);
}
