//! What an endpoint's socket never took is no part of the closing at that endpoint.

use crate::segments::{segment, with_handshake};
use tcpclose_parity::closing::Closing;
use tcpclose_parity::segment::Endpoint::{self, Client, Server};
use tcpclose_parity::segment::Segment;

fn at(endpoint: Endpoint, segments: &[Segment]) -> String {
    Closing::at(&with_handshake(segments), endpoint).to_string()
}

#[test]
fn a_fin_that_an_abort_does_not_acknowledge_crossed_it() {
    let fin = segment(Server, "FA", 1, 11, 0);
    assert_eq!(
        at(Client, &[fin, segment(Client, "RA", 11, 1, 0)]),
        "client RST,ACK"
    );
    let seen = at(Client, &[fin, segment(Client, "RA", 11, 2, 0)]);
    assert_eq!(seen, "server FIN,ACK; client RST,ACK");
}

#[test]
fn each_endpoint_made_its_own_of_two_crossing_aborts() {
    let both = [
        segment(Server, "RA", 1, 11, 0),
        segment(Client, "RA", 11, 1, 0),
    ];
    assert_eq!(at(Client, &both), "client RST,ACK");
}

#[test]
fn a_fin_behind_a_reset_went_before_it() {
    let segments = [
        segment(Server, "RA", 1, 11, 0),
        segment(Client, "FA", 11, 1, 0),
    ];
    assert_eq!(at(Client, &segments), "client FIN,ACK; server RST,ACK");
    assert_eq!(at(Server, &segments), "server RST,ACK");
}

/// The RST passed the capture on one processor while the other still acknowledged the FIN.
#[test]
fn an_ack_behind_a_reset_went_before_it() {
    let segments = [
        segment(Client, "FA", 11, 1, 0),
        segment(Server, "FA", 1, 11, 0),
        segment(Server, "RA", 2, 11, 0),
        segment(Client, "A", 12, 2, 0),
        segment(Client, "R", 12, 0, 0),
    ];
    assert_eq!(
        at(Client, &segments),
        "client FIN,ACK; server FIN,ACK; client ACK; server RST,ACK"
    );
}

/// The peer's FIN got lost; its RST is one ahead, is answered with an ACK, and comes again with the
/// right number.
#[test]
fn a_reset_with_a_number_ahead_is_not_taken() {
    let segments = [
        segment(Client, "FA", 11, 1, 0),
        segment(Server, "A", 1, 12, 0),
        segment(Server, "RA", 2, 12, 0),
        segment(Client, "A", 12, 1, 0),
        segment(Server, "R", 1, 0, 0),
    ];
    assert_eq!(
        at(Client, &segments),
        "client FIN,ACK; server ACK; server RST"
    );
    let unanswered = at(Client, &segments[..3]);
    assert_eq!(unanswered, "client FIN,ACK; server ACK; server RST,ACK");
    // Before its FIN is acknowledged, the endpoint has no minisocket that takes it.
    let alive = [segments[0], segment(Server, "RA", 2, 12, 0)];
    assert_eq!(at(Client, &alive), "client FIN,ACK");
}

#[test]
fn a_reset_behind_all_that_has_come_is_taken_over_a_hole() {
    let segments = [
        segment(Server, "A", 101, 11, 100),
        segment(Server, "A", 301, 11, 100),
        segment(Server, "RA", 401, 11, 0),
    ];
    assert_eq!(at(Client, &segments), "server RST,ACK");
    let elsewhere = [segments[0], segments[1], segment(Server, "RA", 201, 11, 0)];
    assert_eq!(at(Client, &elsewhere), "");
    // An ACK without data fills nothing.
    let overtaken = [
        segment(Server, "A", 2, 11, 0),
        segment(Server, "RA", 2, 11, 0),
    ];
    assert_eq!(at(Client, &overtaken), "");
}

/// Data with an old timestamp was dropped, as the ACK shows.
#[test]
fn a_reset_that_fits_the_last_ack_is_taken() {
    let segments = [
        segment(Server, "A", 1, 11, 100),
        segment(Client, "A", 11, 1, 0),
        segment(Server, "R", 1, 0, 0),
    ];
    assert_eq!(at(Client, &segments), "server RST");
}

#[test]
fn an_answer_of_a_socket_that_is_being_aborted_is_not_its_reset() {
    let segments = [
        segment(Client, "R", 11, 0, 0),
        segment(Client, "RA", 11, 1, 0),
    ];
    assert_eq!(at(Client, &segments), "client RST,ACK");
}

/// Answers of a socket that is gone, overtaken by data that it had sent before.
#[test]
fn a_reset_with_a_number_that_has_come_before_is_ignored() {
    let segments = [
        segment(Server, "A", 1, 11, 100),
        segment(Server, "R", 31, 0, 0),
        segment(Server, "R", 101, 0, 0),
    ];
    let taken = Closing::at(&with_handshake(&segments), Client);
    assert_eq!(taken.segments.len(), 1);
    assert_eq!(taken.segments[0].0.seq, 101);
}

/// Data that had come and been acknowledged came again, and was dropped with its news of the FIN.
#[test]
fn what_has_been_acknowledged_acknowledges_nothing_when_it_comes_again() {
    let segments = [
        segment(Server, "A", 1, 11, 100),
        segment(Server, "A", 101, 11, 100),
        segment(Client, "A", 11, 201, 0),
        segment(Client, "FA", 11, 201, 0),
        segment(Server, "A", 1, 12, 100),
        segment(Server, "A", 201, 12, 0),
    ];
    let taken = Closing::at(&with_handshake(&segments), Client);
    assert_eq!(taken.to_string(), "client FIN,ACK; server ACK");
    assert_eq!(taken.segments[1].0.seq, 201);
}

/// The data in front of the server's FIN never came: an abort can acknowledge neither.
#[test]
fn a_fin_behind_a_hole_has_arrived() {
    let segments = [
        segment(Server, "FA", 101, 11, 0),
        segment(Client, "A", 11, 1, 0),
        segment(Client, "RA", 11, 1, 0),
    ];
    assert_eq!(at(Client, &segments), "server FIN,ACK; client RST,ACK");
    // A closed socket refuses it.
    let refused = [segments[0], segment(Client, "R", 11, 0, 0)];
    assert_eq!(at(Client, &refused), "server FIN,ACK; client RST");
    // Unanswered, it met the abort.
    let crossing = [segments[0], segments[2]];
    assert_eq!(at(Client, &crossing), "client RST,ACK");
    // So has the ACK that overtook the server's FIN.
    let segments = [
        segment(Client, "FA", 11, 1, 0),
        segment(Server, "A", 2, 12, 0),
        segment(Client, "RA", 12, 1, 0),
    ];
    assert_eq!(
        at(Client, &segments),
        "client FIN,ACK; server ACK; client RST,ACK"
    );
}

#[test]
fn a_number_ahead_is_right_once_the_hole_is_filled() {
    let segments = [
        segment(Server, "A", 101, 11, 100),
        segment(Server, "A", 1, 11, 100),
        segment(Server, "RA", 201, 11, 0),
    ];
    assert_eq!(at(Client, &segments), "server RST,ACK");
}

/// The SYN met an earlier connection with the same ports.
#[test]
fn segments_before_the_servers_syn_close_nothing() {
    let mut segments = vec![
        segment(Client, "S", 0, 0, 0),
        segment(Server, "A", 1, 4_294_901_759, 0),
        segment(Server, "FA", 1, 4_294_901_759, 0),
        segment(Client, "R", 4_294_901_759, 0, 0),
    ];
    segments.extend(with_handshake(&[segment(Client, "FA", 11, 1, 0)]));
    for endpoint in [Client, Server] {
        assert_eq!(
            Closing::at(&segments, endpoint).to_string(),
            "client FIN,ACK"
        );
    }
    let refused = [
        segment(Client, "S", 0, 0, 0),
        segment(Server, "RA", 1, 1, 0),
    ];
    assert_eq!(Closing::at(&refused, Client).to_string(), "server RST,ACK");
}
