//! The peer's ACK and its own FIN in one segment: FIN, FIN+ACK, ACK.

use std::net::Shutdown;

use crate::harness::families::for_each_family;
use crate::harness::lab::Lab;
use crate::harness::requirements;
use crate::harness::sockets::{Connection, Family, expect, read_to_end, send};
use tcpclose_parity::segment::Endpoint::{self, Client, Server};

for_each_family!(
    server_closes_before_its_ack_has_gone,
    client_closes_before_its_ack_has_gone
);
for_each_family!(client_that_shut_down_sees_three_segments);

/// The passive side acknowledges late only while it takes itself for interactive, and only for 40
/// ms. On a busy machine it may come later than that: then its ACK goes alone, and the conversation
/// is tried again.
const TRIES: usize = 20;

fn server_closes_before_its_ack_has_gone(family: Family) {
    close_in_three(family, Client, |connection| {
        drop(connection.client);
        assert_eq!(read_to_end(&connection.server), 0);
        drop(connection.server);
    });
}

fn client_closes_before_its_ack_has_gone(family: Family) {
    close_in_three(family, Server, |connection| {
        drop(connection.server);
        assert_eq!(read_to_end(&connection.client), 0);
        drop(connection.client);
    });
}

fn client_that_shut_down_sees_three_segments(family: Family) {
    close_in_three(family, Client, |connection| {
        connection.client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read_to_end(&connection.server), 0);
        drop(connection.server);
        assert_eq!(read_to_end(&connection.client), 0);
        drop(connection.client);
    });
}

fn close_in_three(family: Family, active: Endpoint, close: impl Fn(Connection)) {
    let Some(lab) = Lab::on_loopback(family) else {
        return;
    };
    let passive = if active == Client { Server } else { Client };
    for _ in 0..TRIES {
        let connection = lab.converse("question", "answer");
        // Both endpoints in turn answer, so that both take themselves for interactive.
        send(&connection.client, "thanks");
        expect(&connection.server, "thanks");
        let ports = connection.ports;
        close(connection);
        let closing = lab.assert_ends_closed(ports);

        // Whatever the timing made of it, both records tell it as it was.
        let first = lab.truthful_close(ports, active);
        let second = lab.truthful_close(ports, passive);
        let (client, server) = if active == Client {
            (&first, &second)
        } else {
            (&second, &first)
        };
        client.moved(14, 6).is_our_client().was_watched_from_start();
        server.moved(6, 14).is_our_server().was_watched_from_start();
        if closing.segments.len() == 3 {
            if requirements::finds_peers() {
                first.closed("three_way", "local").counts_segments();
            } else {
                first.closed("unknown", "local");
            }
            first.passed(&["ESTABLISHED", "FIN_WAIT1", "FIN_WAIT2"]);
            second.closed("three_way", "peer").counts_segments();
            second.passed(&["ESTABLISHED", "CLOSE_WAIT", "LAST_ACK"]);
            lab.finish();
            return;
        }
        first.closed("four_way", "local");
        second.closed("four_way", "peer");
    }
    panic!("no close of three segments in {TRIES} tries");
}
