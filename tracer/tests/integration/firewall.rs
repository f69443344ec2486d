//! Segments that a firewall of this host drops when they leave: a FIN was not sent then, and the
//! kernel tries again.

use std::net::Shutdown;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::harness::families::for_ipv4_and_ipv6;
use crate::harness::firewall::nft;
use crate::harness::lab::Lab;
use crate::harness::sockets::{Connection, Family, read_to_end};
use tcpclose_kit::sockets::reset_on_close;
use tcpclose_parity::segment::Endpoint::{Client, Server};

for_ipv4_and_ipv6!(
    a_fin_that_is_dropped_was_not_sent,
    a_fin_that_leaves_later_has_no_time,
);

/// Longer than the kernel waits before it tries again.
const HELD_BACK: Duration = Duration::from_millis(300);

/// A laboratory whose firewall drops the FINs of the connection's client, which has shut down its
/// side a while ago.
fn held_back(family: Family) -> Option<(Lab, Connection)> {
    let lab = Lab::on_loopback(family)?;
    let connection = lab.connect();
    let port = connection.ports.client;
    let drop_fins = format!(
        "table inet firewall {{\nchain output {{\ntype filter hook output priority 0\n\
         tcp sport {port} tcp flags & fin == fin drop\n}}\n}}\n"
    );
    if !nft(&lab, &drop_fins) {
        return None;
    }
    connection.client.shutdown(Shutdown::Write).unwrap();
    thread::sleep(HELD_BACK);
    Some((lab, connection))
}

fn a_fin_that_is_dropped_was_not_sent(family: Family) {
    let Some((lab, connection)) = held_back(family) else {
        return;
    };
    let Connection {
        client: _client,
        server,
        listener: _listener,
        ports,
    } = connection;
    reset_on_close(&server);
    drop(server);
    lab.assert_captured(ports, "server RST,ACK");
    lab.truthful_close(ports, Client)
        .closed("reset", "peer")
        .has("/half_close", Value::Null);
    lab.truthful_close(ports, Server).closed("reset", "local");
}

fn a_fin_that_leaves_later_has_no_time(family: Family) {
    let Some((lab, connection)) = held_back(family) else {
        return;
    };
    let Connection {
        client: _client,
        server,
        listener: _listener,
        ports,
    } = connection;
    assert!(nft(&lab, "delete table inet firewall\n"));
    assert_eq!(read_to_end(&server), 0);
    lab.assert_captured(ports, "client FIN,ACK; server ACK");
    drop(server);
    lab.assert_captured(
        ports,
        "client FIN,ACK; server ACK; server FIN,ACK; client ACK",
    );
    let client = lab.truthful_close(ports, Client);
    client
        .closed("four_way", "local")
        .has("/close/steps/0/flags", "FIN,ACK")
        .has("/close/steps/0/at_ms", Value::Null)
        .has("/half_close", Value::Null);
    lab.truthful_close(ports, Server).closed("four_way", "peer");
}
