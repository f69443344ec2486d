//! Segments that a firewall of this host drops when they leave: they were not sent then. A FIN the
//! kernel tries to send again.

use std::net::Shutdown;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::families::for_ipv4_and_ipv6;
use crate::harness::firewall::nft;
use crate::harness::lab::Lab;
use crate::harness::sockets::{Connection, Family, read_to_end, send, wait_for_data};
use tcpclose_kit::kernel::kernel_version;
use tcpclose_kit::skip::skip;
use tcpclose_kit::sockets::reset_on_close;
use tcpclose_parity::segment::Endpoint::{Client, Server};

for_ipv4_and_ipv6!(
    a_fin_that_is_dropped_was_not_sent,
    a_fin_that_leaves_later_begins_when_it_does,
    a_rst_that_is_dropped_is_not_claimed,
    an_ack_that_is_dropped_is_not_claimed,
    fins_that_are_all_dropped_explain_the_timeout,
);

/// Longer than the kernel waits before it tries again.
const HELD_BACK: Duration = Duration::from_millis(300);
/// Most of [`HELD_BACK`], in which the FIN was certainly held back.
const HELD_BACK_MS: f64 = 250.0;

/// A laboratory whose firewall drops the FINs of the connection's client, which has shut down its
/// side a while ago.
fn held_back(family: Family) -> Option<(Lab, Connection)> {
    let lab = Lab::on_loopback(family)?;
    let connection = lab.connect();
    let port = connection.ports.client;
    if !drop_from(&lab, port, "& fin == fin") {
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

fn a_fin_that_leaves_later_begins_when_it_does(family: Family) {
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
        .has("/close/steps/0/at_ms", 0.0)
        .has("/half_close/by", "local");
    // In FIN_WAIT1 the FIN was held back for most of the time.
    let waited = client.ms_in("FIN_WAIT1") + client.ms_in("FIN_WAIT2");
    let half_closed = client.number("/half_close/ms");
    assert!(half_closed <= waited - HELD_BACK_MS, "{client}");
    lab.truthful_close(ports, Server).closed("four_way", "peer");
}

/// skb:kfree_skb shows why a segment is dropped on its way out since 5.18.
fn sees_drops() -> bool {
    let sees = kernel_version() >= (5, 18);
    if !sees {
        skip("this kernel does not say why it drops what it sends");
    }
    sees
}

/// Has a laboratory's firewall drop what a port sends, if it has these flags; `false` (and
/// reported) where that is not possible.
fn drop_from(lab: &Lab, port: u16, flags: &str) -> bool {
    let rules = format!(
        "table inet firewall {{\nchain output {{\ntype filter hook output priority 0\n\
         tcp sport {port} tcp flags {flags} drop\n}}\n}}\n"
    );
    nft(lab, &rules)
}

fn a_rst_that_is_dropped_is_not_claimed(family: Family) {
    let Some(lab) = Lab::on_loopback(family).filter(|_| sees_drops()) else {
        return;
    };
    let Connection {
        client,
        server,
        listener: _listener,
        ports,
    } = lab.connect();
    if !drop_from(&lab, ports.server, "& rst == rst") {
        return;
    }
    send(&client, "unread");
    wait_for_data(&server);
    drop(server);
    let server = lab.close(ports, Server);
    server
        .closed("reset", "unknown")
        .has("/close/cause", "dropped_here")
        .has("/close/segments", 0)
        .has("/close/steps", json!([]))
        .has("/reset/by", "local")
        .has("/reset/reason", "unread_data");
    assert_eq!(lab.captured(ports).to_string(), "");
    assert!(nft(&lab, "delete table inet firewall\n"));
    // Its socket is gone, and answers.
    drop(client);
    lab.assert_captured(ports, "client FIN,ACK; server RST");
    lab.truthful_close(ports, Client).closed("reset", "local");
}

/// The peer's FIN is acknowledged by the local one, though the kernel has sent an ACK before.
fn an_ack_that_is_dropped_is_not_claimed(family: Family) {
    let Some(lab) = Lab::on_loopback(family).filter(|_| sees_drops()) else {
        return;
    };
    let Connection {
        client,
        server,
        listener: _listener,
        ports,
    } = lab.connect();
    if !drop_from(&lab, ports.client, "& (fin | rst | ack) == ack") {
        return;
    }
    server.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_to_end(&client), 0);
    // Longer than an ACK may be delayed.
    thread::sleep(HELD_BACK);
    drop(client);
    lab.assert_captured(ports, "server FIN,ACK; client FIN,ACK; server ACK");
    lab.truthful_close(ports, Client)
        .closed("three_way", "peer")
        .has("/close/cause", Value::Null);
}

fn fins_that_are_all_dropped_explain_the_timeout(family: Family) {
    let Some(lab) = Lab::on_loopback(family).filter(|_| sees_drops()) else {
        return;
    };
    lab.set("tcp_orphan_retries", 1);
    let Connection {
        client,
        server: _server,
        listener: _listener,
        ports,
    } = lab.connect();
    if !drop_from(&lab, ports.client, "& fin == fin") {
        return;
    }
    drop(client);
    lab.truthful_close(ports, Client)
        .closed("timeout", "unknown")
        .has("/close/cause", "dropped_here")
        .has("/close/steps", json!([]));
    assert_eq!(lab.captured(ports).to_string(), "");
}
