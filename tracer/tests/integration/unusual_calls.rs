//! Closes by unusual system calls and options.

use std::net::{Shutdown, TcpStream};

use serde_json::Value;
use socket2::{Domain, Socket, Type};

use crate::harness::families::for_ipv4_and_ipv6;
use crate::harness::lab::Lab;
use crate::harness::sockets::{Connection, Family, expect, read_to_end, send};
use crate::harness::wire::Fate;
use tcpclose_kit::kernel::kernel_version;
use tcpclose_kit::skip::skip;
use tcpclose_kit::sockets::{is_in_fin_wait2, option, reset_on_close, set_option};
use tcpclose_kit::wait::eventually;
use tcpclose_parity::segment::Endpoint::{Client, Server};

for_ipv4_and_ipv6!(
    linger_zero_in_last_ack_sends_no_rst,
    a_negative_linger2_is_no_so_linger,
    a_socket_that_is_connected_to_itself,
    a_restored_connection_has_no_beginning,
);

/// The FIN has left, so an abort has nothing to say (tcp_disconnect).
fn linger_zero_in_last_ack_sends_no_rst(family: Family) {
    let Some(lab) = Lab::on_wire(family) else {
        return;
    };
    let Connection {
        client,
        server,
        listener: _listener,
        ports,
    } = lab.connect();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_to_end(&server), 0);
    lab.assert_captured(ports, "client FIN,ACK; server ACK");
    lab.wire().judge_by(|_| Fate::Lost);
    server.shutdown(Shutdown::Write).unwrap();
    reset_on_close(&server);
    drop(server);
    let server = lab.close(ports, Server);
    server
        .closed("unknown", "peer")
        .has("/reset", Value::Null)
        .has("/close/segments", Value::Null);
    assert_eq!(server.closing().steps.len(), 3, "{server}");
    let captured = lab.captured(ports).to_string();
    assert!(!captured.contains("RST"), "{captured}");
}

fn a_negative_linger2_is_no_so_linger(family: Family) {
    if kernel_version() < (5, 12) {
        skip("before 5.12 sockets have no cookie here, and the RST that follows →CLOSE is missed");
        return;
    }
    let Some(lab) = Lab::on_loopback(family) else {
        return;
    };
    let Connection {
        client,
        server,
        listener: _listener,
        ports,
    } = lab.connect();
    set_option(&client, libc::IPPROTO_TCP, libc::TCP_LINGER2, -1);
    client.shutdown(Shutdown::Write).unwrap();
    eventually(|| is_in_fin_wait2(&client).unwrap().then_some(()))
        .expect("the FIN is acknowledged");
    drop(client);
    lab.assert_captured(ports, "client FIN,ACK; server ACK; client RST,ACK");
    let client = lab.truthful_close(ports, Client);
    client
        .closed("reset", "local")
        .counts_segments()
        .has("/reset/by", "local")
        .has("/reset/reason", Value::Null);
    let reason = client.get("/reset/kernel_reason");
    assert!(
        reason.is_null() || reason == "TCP_ABORT_ON_LINGER",
        "{client}"
    );
    drop(server);
    lab.truthful_close(ports, Server).closed("reset", "peer");
}

fn a_socket_that_is_connected_to_itself(family: Family) {
    let Some(lab) = Lab::on_loopback(family) else {
        return;
    };
    let socket: TcpStream = lab.ns.run(|| {
        let domain = Domain::for_address(lab.client_address(0));
        let socket = Socket::new(domain, Type::STREAM, None).unwrap();
        socket.bind(&lab.client_address(0).into()).unwrap();
        let own = socket.local_addr().unwrap();
        socket.connect(&own).unwrap();
        socket.into()
    });
    send(&socket, "hello");
    expect(&socket, "hello");
    drop(socket);
    let closes = lab.finish();
    assert_eq!(closes.len(), 1);
    closes[0].has("/close/segments", 2).moved(5, 5);
    assert_eq!(closes[0].closing().steps.len(), 2, "{}", closes[0]);
}

/// What CRIU does on the new host: connect() under TCP_REPAIR puts the socket into ESTABLISHED.
fn a_restored_connection_has_no_beginning(family: Family) {
    let Some(lab) = Lab::on_loopback(family) else {
        return;
    };
    lab.set("tcp_timestamps", 0);
    lab.set("tcp_window_scaling", 0);
    let Connection {
        client,
        server,
        listener,
        ports,
    } = lab.connect();
    send(&client, "abc");
    expect(&server, "abc");
    let tcp = libc::IPPROTO_TCP;
    let queues = [1, 2];
    set_option(&server, tcp, libc::TCP_REPAIR, 1);
    let numbers = queues.map(|queue| {
        set_option(&server, tcp, libc::TCP_REPAIR_QUEUE, queue);
        option(&server, tcp, libc::TCP_QUEUE_SEQ)
    });
    let (own, peer) = (server.local_addr().unwrap(), server.peer_addr().unwrap());
    drop((server, listener));
    lab.closes(ports, Server, 1);

    let restored: TcpStream = lab.ns.run(|| {
        let socket = Socket::new(Domain::for_address(own), Type::STREAM, None).unwrap();
        socket.set_reuse_address(true).unwrap();
        set_option(&socket, tcp, libc::TCP_REPAIR, 1);
        socket.bind(&own.into()).unwrap();
        for (queue, number) in queues.into_iter().zip(numbers) {
            set_option(&socket, tcp, libc::TCP_REPAIR_QUEUE, queue);
            set_option(&socket, tcp, libc::TCP_QUEUE_SEQ, number);
        }
        set_option(&socket, tcp, libc::TCP_REPAIR_QUEUE, 0);
        socket.connect(&peer.into()).unwrap();
        set_option(&socket, tcp, libc::TCP_REPAIR, 0);
        socket.into()
    });
    send(&client, "def");
    expect(&restored, "def");
    send(&restored, "xy");
    expect(&client, "xy");
    drop(client);
    assert_eq!(read_to_end(&restored), 0);
    lab.assert_captured(ports, "client FIN,ACK; server ACK");
    drop(restored);
    lab.assert_ends_closed(ports);

    let restored = lab.closes(ports, Server, 2).remove(1);
    restored
        .closed("four_way", "peer")
        .has("/conn/role", "unknown")
        .has("/conn/seen_from_start", false)
        .has("/conn/opened", Value::Null)
        .has("/conn/lifetime_ms", Value::Null)
        .has("/bytes/sent", Value::Null)
        .has("/bytes/received", Value::Null);
    lab.assert_truthful(&restored, ports, Server, 0);
    lab.truthful_close(ports, Client)
        .closed("four_way", "local");
}
