//! Over a wire in the test's hands: FINs that cross, FINs that get lost.

use std::net::Shutdown;

use crate::harness::families::for_ipv4_and_ipv6;
use crate::harness::lab::Lab;
use crate::harness::sockets::{Connection, Family, read_to_end};
use crate::harness::watch::agree;
use crate::harness::wire::Fate;
use tcpclose_parity::segment::Endpoint::{Client, Server};

for_ipv4_and_ipv6!(
    both_close_before_either_hears_of_it,
    a_lost_fin_is_sent_again,
);

fn both_close_before_either_hears_of_it(family: Family) {
    let Some(lab) = Lab::on_wire(family) else {
        return;
    };
    let Connection {
        client,
        server,
        listener: _listener,
        ports,
    } = lab.converse("one", "three");

    lab.wire().judge_by(|packet| {
        if packet.flags.fin {
            Fate::Wait
        } else {
            Fate::Pass
        }
    });
    drop(client);
    drop(server);
    agree("FINs on the wire", &2, || lab.wire().waiting());
    lab.wire().release();
    lab.assert_captured(
        ports,
        "client FIN,ACK; server FIN,ACK; server ACK; client ACK",
    );

    let client = lab.truthful_close(ports, Client);
    client
        .closed("simultaneous", "both")
        .counts_segments()
        .moved(3, 5)
        .is_our_client();
    client
        .passed(&["ESTABLISHED", "FIN_WAIT1", "CLOSING"])
        .was_watched_from_start();
    let server = lab.truthful_close(ports, Server);
    server
        .closed("simultaneous", "both")
        .counts_segments()
        .moved(5, 3)
        .is_our_server();
    server
        .passed(&["ESTABLISHED", "FIN_WAIT1", "CLOSING"])
        .was_watched_from_start();
    assert_eq!(lab.finish().len(), 2);
}

fn a_lost_fin_is_sent_again(family: Family) {
    let Some(lab) = Lab::on_wire(family) else {
        return;
    };
    let Connection {
        client,
        server,
        listener: _listener,
        ports,
    } = lab.converse("one", "three");

    let mut lost = false;
    lab.wire().judge_by(move |packet| {
        if packet.flags.fin && !lost {
            lost = true;
            return Fate::Lost;
        }
        Fate::Pass
    });
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_to_end(&server), 0);
    // The ACK has surely gone before the server closes.
    agree("the FIN's ACK", &2, || lab.captured(ports).segments.len());
    drop(server);
    assert_eq!(read_to_end(&client), 0);
    drop(client);
    lab.assert_captured(
        ports,
        "client FIN,ACK; server ACK; server FIN,ACK; client ACK",
    );

    let client = lab.truthful_close(ports, Client);
    client
        .closed("four_way", "local")
        .moved(3, 5)
        .is_our_client();
    assert!(
        client.number("/close/segments") >= 5.0,
        "its FIN went at least twice: {client}"
    );
    assert!(client.number("/retransmits") >= 1.0, "{client}");
    let server = lab.truthful_close(ports, Server);
    server.closed("four_way", "peer").moved(5, 3);
    lab.finish();
}
