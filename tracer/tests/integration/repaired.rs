//! A connection that is moved elsewhere (`TCP_REPAIR`, as CRIU does it): close() sends nothing, and
//! nothing is reported as a RST.

use crate::harness::families::for_ipv4_and_ipv6;
use crate::harness::lab::Lab;
use crate::harness::sockets::{Connection, Family};
use tcpclose_kit::sockets::set_option;
use tcpclose_parity::segment::Endpoint::Client;

for_ipv4_and_ipv6!(a_close_under_tcp_repair_is_not_a_reset);

fn a_close_under_tcp_repair_is_not_a_reset(family: Family) {
    let Some(lab) = Lab::on_loopback(family) else {
        return;
    };
    let Connection {
        client,
        server,
        listener: _listener,
        ports,
    } = lab.converse("one", "three");
    set_option(&client, libc::IPPROTO_TCP, libc::TCP_REPAIR, 1);
    drop(client);
    let client = lab.close(ports, Client);
    client
        .closed("unknown", "unknown")
        .has("/reset", serde_json::Value::Null)
        .has("/close/segments", serde_json::Value::Null);
    assert!(client.closing().steps.is_empty());
    // The server's FIN finds no socket any more.
    drop(server);
    lab.assert_captured(ports, "server FIN,ACK; client RST");
    assert_eq!(lab.finish().len(), 2);
}
