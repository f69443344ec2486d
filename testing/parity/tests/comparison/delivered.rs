//! What an end's socket never took is no part of the closing at that end.

use crate::segments::{segment, with_handshake};
use tcpclose_parity::closing::Closing;
use tcpclose_parity::segment::Endpoint::{self, Client, Server};
use tcpclose_parity::segment::Segment;

fn at(end: Endpoint, segments: &[Segment]) -> String {
    Closing::at(&with_handshake(segments), end).to_string()
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
fn of_two_aborts_that_crossed_each_end_made_its_own() {
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

/// The peer's FIN got lost; its RST is one ahead, is answered with an ACK, and comes again with the right number.
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
fn what_comes_before_the_servers_syn_closes_nothing() {
    let mut segments = vec![
        segment(Client, "S", 0, 0, 0),
        segment(Server, "A", 1, 4_294_901_759, 0),
        segment(Server, "FA", 1, 4_294_901_759, 0),
        segment(Client, "R", 4_294_901_759, 0, 0),
    ];
    segments.extend(with_handshake(&[segment(Client, "FA", 11, 1, 0)]));
    for end in [Client, Server] {
        assert_eq!(Closing::at(&segments, end).to_string(), "client FIN,ACK");
    }
    let refused = [
        segment(Client, "S", 0, 0, 0),
        segment(Server, "RA", 1, 1, 0),
    ];
    assert_eq!(Closing::at(&refused, Client).to_string(), "server RST,ACK");
}
