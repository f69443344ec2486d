//! A connection that is moved elsewhere (`TCP_REPAIR`, as CRIU does it): close() sends nothing, and nothing is reported a
//! RST.

use crate::harness::lab::{Lab, for_ipv4_and_ipv6};
use crate::harness::sockets::{Connection, Family};
use crate::harness::sys;
use tcpclose_parity::segment::Endpoint::Client;

for_ipv4_and_ipv6!(a_close_under_repair_is_no_reset);

fn a_close_under_repair_is_no_reset(family: Family) {
    let Some(lab) = Lab::on_loopback(family) else {
        return;
    };
    let Connection {
        client,
        server,
        listener: _listener,
        ports,
    } = lab.converse("one", "three");
    sys::repair(&client).unwrap();
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
