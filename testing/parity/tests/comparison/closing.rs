//! Rows in, closings out.

use crate::segments::{segment, with_handshake};
use tcpclose_parity::closing::{Closing, Initiator};
use tcpclose_parity::segment::Endpoint::{Client, Server};

#[test]
fn four_segments_are_found_behind_handshake_and_data() {
    let closing = Closing::from_segments(&with_handshake(&[
        segment(Server, "FA", 1, 11, 0),
        segment(Client, "A", 11, 2, 0),
        segment(Client, "FA", 11, 2, 0),
        segment(Server, "A", 2, 12, 0),
    ]));
    assert_eq!(
        closing.to_string(),
        "server FIN,ACK; client ACK; client FIN,ACK; server ACK"
    );
    assert_eq!(closing.initiator, Initiator::One(Server));
    assert!(closing.repeated.is_empty());
}

#[test]
fn ack_and_fin_in_one_segment_make_three() {
    let closing = Closing::from_segments(&with_handshake(&[
        segment(Client, "FA", 11, 1, 0),
        segment(Server, "FA", 1, 12, 0),
        segment(Client, "A", 12, 2, 0),
    ]));
    assert_eq!(
        closing.to_string(),
        "client FIN,ACK; server FIN,ACK; client ACK"
    );
    assert_eq!(closing.initiator, Initiator::One(Client));
}

#[test]
fn fins_that_do_not_acknowledge_each_other_crossed() {
    let closing = Closing::from_segments(&with_handshake(&[
        segment(Client, "FA", 11, 1, 0),
        segment(Server, "FA", 1, 11, 0),
        segment(Server, "A", 2, 12, 0),
        segment(Client, "A", 12, 2, 0),
    ]));
    assert_eq!(closing.initiator, Initiator::Both);
    assert_eq!(
        closing.to_string(),
        "client FIN,ACK; server FIN,ACK; server ACK; client ACK"
    );
}

/// The server's ACK overtook its FIN, which it had sent before it heard of the client's.
#[test]
fn a_fin_that_was_acknowledged_before_the_other_arrived_did_not_cross_it() {
    let closing = Closing::from_segments(&with_handshake(&[
        segment(Client, "FA", 11, 1, 0),
        segment(Server, "A", 2, 12, 0),
        segment(Server, "FA", 1, 11, 0),
        segment(Client, "A", 12, 2, 0),
    ]));
    assert_eq!(closing.initiator, Initiator::One(Client));
    assert_eq!(closing.path(), Some("four_way"));
}

#[test]
fn data_can_carry_a_fin_and_acknowledge_one() {
    let closing = Closing::from_segments(&with_handshake(&[
        segment(Client, "FA", 11, 1, 30),
        segment(Server, "A", 1, 42, 500),
        segment(Server, "A", 501, 42, 500),
        segment(Server, "FA", 1001, 42, 0),
        segment(Client, "A", 42, 1002, 0),
    ]));
    assert_eq!(
        closing.to_string(),
        "client FIN,ACK; server ACK; server FIN,ACK; client ACK"
    );
    assert_eq!(
        (closing.segments[0].0.len, closing.segments[1].0.len),
        (30, 500)
    );
}

#[test]
fn an_ack_of_less_than_the_fin_does_not_count() {
    let closing = Closing::from_segments(&with_handshake(&[
        segment(Client, "FA", 11, 1, 30),
        segment(Server, "A", 1, 41, 0),
        segment(Server, "A", 1, 42, 0),
    ]));
    assert_eq!(closing.segments.len(), 2);
    assert_eq!(closing.segments[1].0.ack, 42);
}

#[test]
fn a_fin_sent_again_counts_apart_and_so_does_its_second_ack() {
    let closing = Closing::from_segments(&with_handshake(&[
        segment(Client, "FA", 11, 1, 0),
        segment(Client, "FA", 11, 1, 0),
        segment(Server, "A", 1, 12, 0),
        segment(Server, "A", 1, 12, 0),
    ]));
    assert_eq!(closing.to_string(), "client FIN,ACK; server ACK");
    assert_eq!(closing.repeated.len(), 1);
}

#[test]
fn a_reset_is_a_closing_segment_alone_or_behind_a_fin() {
    let alone = Closing::from_segments(&with_handshake(&[segment(Server, "RA", 1, 11, 0)]));
    assert_eq!(alone.to_string(), "server RST,ACK");
    assert_eq!(alone.initiator, Initiator::One(Server));

    let behind = Closing::from_segments(&with_handshake(&[
        segment(Client, "FA", 11, 1, 0),
        segment(Server, "A", 1, 12, 5),
        segment(Client, "R", 12, 0, 0),
        segment(Client, "R", 12, 0, 0),
    ]));
    assert_eq!(behind.to_string(), "client FIN,ACK; server ACK; client RST");
    assert_eq!(behind.initiator, Initiator::One(Client));
    assert!(behind.repeated.is_empty());
}

#[test]
fn a_refused_connection_has_one_segment() {
    let closing = Closing::from_segments(&[
        segment(Client, "S", 0, 0, 0),
        segment(Server, "RA", 1, 1, 0),
    ]);
    assert_eq!(closing.to_string(), "server RST,ACK");
    assert_eq!(closing.initiator, Initiator::One(Server));
}

#[test]
fn an_open_connection_has_no_closing() {
    let closing = Closing::from_segments(&with_handshake(&[]));
    assert_eq!(
        (closing.initiator, closing.segments.len()),
        (Initiator::Unknown, 0)
    );
}

fn path(closing: &[tcpclose_parity::segment::Segment]) -> Option<&'static str> {
    Closing::from_segments(&with_handshake(closing)).path()
}

#[test]
fn each_path_has_its_segments() {
    let fin = segment(Client, "FA", 11, 1, 0);
    let ack = segment(Server, "A", 1, 12, 0);
    let answer = segment(Server, "FA", 1, 12, 0);
    let last = segment(Client, "A", 12, 2, 0);
    assert_eq!(path(&[fin, ack, answer, last]), Some("four_way"));
    assert_eq!(path(&[fin, answer, last]), Some("three_way"));
    let crossing = segment(Server, "FA", 1, 11, 0);
    let ack = segment(Server, "A", 2, 12, 0);
    assert_eq!(path(&[fin, crossing, last, ack]), Some("simultaneous"));
    assert_eq!(path(&[fin, segment(Server, "R", 1, 0, 0)]), Some("reset"));
    assert_eq!(path(&[fin, ack]), None, "not closed yet");
    let refused = [
        segment(Client, "S", 0, 0, 0),
        segment(Server, "RA", 1, 1, 0),
    ];
    assert_eq!(
        Closing::from_segments(&refused).path(),
        Some("connect_failed")
    );
}

#[test]
fn segments_after_the_close_do_not_change_it() {
    let closed = [
        segment(Client, "FA", 11, 1, 0),
        segment(Server, "FA", 1, 12, 0),
        segment(Client, "A", 12, 2, 0),
    ];
    let reset = [&closed[..], &[segment(Server, "R", 2, 0, 0)]].concat();
    assert_eq!(path(&reset), Some("three_way"));
    let again = [
        &closed[..],
        &[
            segment(Server, "FA", 1, 12, 0),
            segment(Client, "A", 12, 2, 0),
        ],
    ]
    .concat();
    let closing = Closing::from_segments(&with_handshake(&again));
    assert_eq!(
        (closing.segments.len(), closing.repeated_by(Server)),
        (3, 1)
    );
}

#[test]
fn a_fin_sent_again_can_be_the_ack_that_got_lost() {
    let closing = Closing::from_segments(&with_handshake(&[
        segment(Server, "FA", 1, 11, 0),
        segment(Client, "FA", 11, 1, 0),
        segment(Server, "A", 2, 12, 0),
        segment(Client, "FA", 11, 2, 0),
        segment(Client, "FA", 11, 2, 0),
        segment(Server, "A", 2, 12, 0),
    ]));
    assert_eq!(closing.path(), Some("simultaneous"));
    assert_eq!(
        closing.to_string(),
        "server FIN,ACK; client FIN,ACK; server ACK; client ACK"
    );
    assert_eq!(
        (closing.segments[3].0.seq, closing.repeated_by(Client)),
        (11, 2)
    );
}
