//! A FIN that waits behind data which the peer's closed window keeps back: close() was called, but
//! no capture shows it.

use std::io::{self, Write as _};
use std::net::{Shutdown, TcpStream};

use crate::harness::families::for_ipv4_and_ipv6;
use crate::harness::lab::Lab;
use crate::harness::sockets::{Connection, Family, read_to_end};
use tcpclose_parity::segment::Endpoint::{Client, Server};

for_ipv4_and_ipv6!(
    a_fin_that_never_left_began_nothing,
    the_peers_fin_overtakes_ours
);

/// Sends until neither the peer's window nor our own buffer takes any more; how much that was.
fn fill_window(mut stream: &TcpStream) -> u64 {
    let mut sent = 0;
    stream.set_nonblocking(true).unwrap();
    let chunk = [b'x'; 65_536];
    loop {
        match stream.write(&chunk) {
            Ok(written) => sent += written as u64,
            Err(error) => {
                assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
                break;
            }
        }
    }
    stream.set_nonblocking(false).unwrap();
    sent
}

/// The client has called close() first, but the server's reset is the first closing segment.
fn a_fin_that_never_left_began_nothing(family: Family) {
    let Some(lab) = Lab::on_loopback(family) else {
        return;
    };
    let Connection {
        client,
        server,
        listener: _listener,
        ports,
    } = lab.connect();
    let sent = fill_window(&client);
    drop(client);
    assert_eq!(lab.captured(ports).to_string(), "", "the FIN is kept back");
    drop(server);
    lab.assert_captured(ports, "server RST,ACK");

    let server = lab.truthful_close(ports, Server);
    server
        .closed("reset", "local")
        .has("/reset/reason", "unread_data")
        .is_our_server();
    let client = lab.truthful_close(ports, Client);
    client
        .closed("reset", "peer")
        .has("/reset/by", "peer")
        .is_our_client();
    let (left, arrived) = (
        client.number("/bytes/sent"),
        server.number("/bytes/received"),
    );
    assert!(
        left < sent as f64,
        "not all that was written was sent: {client}"
    );
    assert_eq!(
        left, arrived,
        "all that was sent has arrived: {client}{server}"
    );
    assert_eq!(lab.finish().len(), 2);
}

/// Both call shutdown(), the client first, but its FIN leaves only when the server reads: after the
/// server's.
fn the_peers_fin_overtakes_ours(family: Family) {
    let Some(lab) = Lab::on_loopback(family) else {
        return;
    };
    let Connection {
        client,
        server,
        listener: _listener,
        ports,
    } = lab.connect();
    let sent = fill_window(&client);
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(lab.captured(ports).to_string(), "", "the FIN is kept back");
    server.shutdown(Shutdown::Write).unwrap();
    lab.assert_captured(ports, "server FIN,ACK; client ACK");
    assert_eq!(read_to_end(&server) as u64, sent);
    drop(server);
    assert_eq!(read_to_end(&client), 0);
    drop(client);
    lab.assert_captured(
        ports,
        "server FIN,ACK; client ACK; client FIN,ACK; server ACK",
    );

    let server = lab.truthful_close(ports, Server);
    server
        .closed("four_way", "local")
        .is_our_server()
        .moved(0, sent);
    server.passed(&["ESTABLISHED", "FIN_WAIT1", "FIN_WAIT2"]);
    let client = lab.truthful_close(ports, Client);
    client
        .closed("four_way", "peer")
        .is_our_client()
        .moved(sent, 0);
    client.passed(&["ESTABLISHED", "FIN_WAIT1", "CLOSING"]);
    assert_eq!(lab.finish().len(), 2);
}
