//! Segments that come in another order than they left, or wait behind lost ones.

use std::net::Shutdown;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::harness::families::for_ipv4_and_ipv6;
use crate::harness::lab::Lab;
use crate::harness::sockets::{Connection, Family, expect, read_to_end, send};
use crate::harness::wire::Fate;
use tcpclose_kit::sockets::reset_on_close;
use tcpclose_kit::wait::eventually;
use tcpclose_parity::segment::Endpoint::{Client, Server};

for_ipv4_and_ipv6!(
    a_fin_that_a_later_ack_overtakes,
    an_abort_after_a_fin_behind_a_hole
);

/// The FIN acknowledges less than the ACK that the client has sent after it, and that came first.
fn a_fin_that_a_later_ack_overtakes(family: Family) {
    let Some(lab) = Lab::on_wire(family) else {
        return;
    };
    let Connection {
        client,
        server,
        listener: _listener,
        ports,
    } = lab.connect();
    lab.wire().judge_by(|packet| {
        if packet.flags.fin {
            Fate::Wait
        } else {
            Fate::Pass
        }
    });
    client.shutdown(Shutdown::Write).unwrap();
    eventually(|| (lab.wire().waiting() > 0).then_some(())).expect("the FIN has left");
    send(&server, "more");
    expect(&client, "more");
    lab.wait_until_acknowledged(ports, Server);
    lab.wire().release();
    assert_eq!(read_to_end(&server), 0);
    drop(server);
    lab.assert_ends_closed(ports);
    let server = lab.close(ports, Server);
    server
        .has("/close/initiator", "peer")
        .has("/close/steps/0/flags", "FIN,ACK")
        .has("/close/steps/0/seq", 1)
        .has("/close/steps/0/ack", Value::Null);
}

fn an_abort_after_a_fin_behind_a_hole(family: Family) {
    let Some(lab) = Lab::on_wire(family) else {
        return;
    };
    let Connection {
        client,
        server,
        listener: _listener,
        ports,
    } = lab.connect();
    lab.wire().judge_by(|packet| {
        if packet.len > 0 {
            Fate::Lost
        } else {
            Fate::Pass
        }
    });
    server.set_nodelay(true).unwrap();
    send(&server, "lost");
    server.shutdown(Shutdown::Write).unwrap();
    // The client acknowledges what it expects when the FIN has come.
    thread::sleep(Duration::from_millis(50));
    reset_on_close(&client);
    drop(client);
    let client = lab.close(ports, Client);
    client
        .closed("reset", "peer")
        .has("/reset/by", "local")
        .has("/close/segments", 2);
}
