//! A reported half-close against the FINs of a capture.

use jiff::{SignedDuration, Timestamp};
use tcpclose_parity::closing::Closing;
use tcpclose_parity::half_close::difference;
use tcpclose_parity::record::RecordedHalfClose;
use tcpclose_parity::segment::Endpoint::{Client, Server};
use tcpclose_parity::segment::Segment;
use tcpclose_parity::tshark::{Frame, Stream};

use crate::segments::{segment, with_handshake};

/// Returns what is wrong with a half-close by the client's endpoint, where these segments come a
/// hundred milliseconds after each other.
fn wrong(segments: &[Segment], by: &str, ms: i64) -> Option<String> {
    let all = with_handshake(segments);
    let closing = Closing::at(&all, Client);
    let frame = |(number, segment): (usize, Segment)| Frame {
        number: number as u64,
        at: Timestamp::UNIX_EPOCH + SignedDuration::from_millis(100 * number as i64),
        segment,
        retransmission: false,
    };
    let stream = Stream {
        client: "10.0.0.1:4000".parse().expect("an address"),
        server: "10.0.0.2:80".parse().expect("an address"),
        frames: all.into_iter().enumerate().map(frame).collect(),
    };
    let reported = RecordedHalfClose {
        by: by.to_owned(),
        lasted: SignedDuration::from_millis(ms),
    };
    let difference = difference(&stream, &closing, Client, &reported);
    difference.map(|difference| difference.to_string())
}

#[test]
fn a_half_close_lasts_from_fin_to_fin() {
    let segments = [
        segment(Client, "FA", 11, 1, 0),
        segment(Server, "A", 1, 12, 0),
        segment(Server, "A", 1, 12, 50),
        segment(Server, "FA", 51, 12, 0),
    ];
    assert_eq!(wrong(&segments, "local", 310), None);
    assert_eq!(
        wrong(&segments, "local", 200).as_deref(),
        Some("half_close: captured by local, 300 ms, recorded by local, 200 ms")
    );
    assert_eq!(
        wrong(&segments, "peer", 300).as_deref(),
        Some("half_close: captured by local, 300 ms, recorded by peer, 300 ms")
    );
}

#[test]
fn a_half_close_may_end_with_a_fin_that_was_sent_again() {
    let fin = segment(Server, "FA", 1, 12, 0);
    let ack = segment(Server, "A", 1, 12, 0);
    let segments = [segment(Client, "FA", 11, 1, 0), ack, fin, ack, fin];
    assert_eq!(wrong(&segments, "local", 400), None);
    assert_eq!(wrong(&segments, "local", 200), None);
    assert!(wrong(&segments, "local", 300).is_some());
}

#[test]
fn a_half_close_ends_with_the_rst_that_ends_the_connection() {
    let segments = [
        segment(Client, "FA", 11, 1, 0),
        segment(Server, "A", 1, 12, 50),
        segment(Client, "R", 12, 0, 0),
        segment(Server, "FA", 51, 12, 0),
    ];
    assert_eq!(wrong(&segments, "local", 200), None);
    assert!(wrong(&segments[..1], "local", 5).is_none());
    assert!(wrong(&segments[2..3], "local", 5).is_some());
}
