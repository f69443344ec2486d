//! FINs that ride on the last data.

use std::net::Shutdown;
use std::thread;
use std::time::Duration;

use socket2::SockRef;

use crate::harness::families::for_ipv4_and_ipv6;
use crate::harness::lab::Lab;
use crate::harness::requirements;
use crate::harness::sockets::{Connection, Family, expect, read_to_end, send};
use tcpclose_parity::segment::Endpoint::{Client, Server};

for_ipv4_and_ipv6!(the_question_carries_the_fin, the_answer_carries_fin_and_ack);

fn the_question_carries_the_fin(family: Family) {
    let Some(lab) = Lab::on_loopback(family) else {
        return;
    };
    let Connection {
        client,
        server,
        listener: _listener,
        ports,
    } = lab.converse("one", "three");
    SockRef::from(&client).set_tcp_cork(true).unwrap();
    send(&client, "the last question");
    client.shutdown(Shutdown::Write).unwrap();
    expect(&server, "the last question");
    assert_eq!(read_to_end(&server), 0);
    thread::sleep(Duration::from_millis(300));
    drop(server);
    assert_eq!(read_to_end(&client), 0);
    drop(client);
    lab.assert_captured(
        ports,
        "client FIN,ACK; server ACK; server FIN,ACK; client ACK",
    );
    assert_eq!(
        lab.captured(ports).segments[0].0.len,
        17,
        "the FIN rides on the data"
    );

    let client = lab.truthful_close(ports, Client);
    client
        .closed("four_way", "local")
        .moved(20, 5)
        .was_watched_from_start();
    let server = lab.truthful_close(ports, Server);
    server
        .closed("four_way", "peer")
        .moved(5, 20)
        .was_watched_from_start();
    assert_eq!(lab.finish().len(), 2);
}

/// One segment with the answer, the FIN and the ACK of the client's FIN, unless the ACK left before
/// on a slow machine.
fn the_answer_carries_fin_and_ack(family: Family) {
    const TRIES: usize = 20;
    let Some(lab) = Lab::on_loopback(family) else {
        return;
    };
    for _ in 0..TRIES {
        let Connection {
            client,
            server,
            listener: _listener,
            ports,
        } = lab.converse("one", "three");
        send(&client, "the last question");
        expect(&server, "the last question");
        SockRef::from(&server).set_tcp_quickack(false).unwrap();
        SockRef::from(&server).set_tcp_cork(true).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read_to_end(&server), 0);
        send(&server, "the last answer");
        drop(server);
        assert_eq!(read_to_end(&client), 15);
        drop(client);
        let closing = lab.assert_ends_closed(ports);

        let path = if closing.segments.len() == 3 {
            "three_way"
        } else {
            "four_way"
        };
        let client = lab.truthful_close(ports, Client);
        let shown = if path == "three_way" && !requirements::finds_peers() {
            "unknown"
        } else {
            path
        };
        client.moved(20, 20).closed(shown, "local");
        let server = lab.truthful_close(ports, Server);
        server.moved(20, 20).closed(path, "peer");
        if path == "three_way" {
            lab.finish();
            return;
        }
    }
    panic!("no FIN with data and ACK in {TRIES} tries");
}
