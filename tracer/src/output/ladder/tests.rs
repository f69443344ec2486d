//! Drawings, as they are shown.

use smallvec::smallvec;
use tcpclose_common::TcpState;
use tcpclose_core::compare::EndpointView;
use tcpclose_core::finding::{
    Cause, Close, ClosePath, Endpoint, HalfClose, Initiator, Reset, SegmentFlags, Side, Step,
};
use tcpclose_core::open_endpoint::OpenEndpoint;
use tcpclose_core::types::{Certainty, EndpointId, Nanos, Role};

use super::{EndpointPair, write_joined_ladder, write_ladder};
use crate::output::samples;
use crate::output::symbols::Symbols;

fn ladder(close: &Close) -> String {
    let mut out = Vec::new();
    write_ladder(&mut out, close, &samples::clock(), Symbols::Ascii);
    String::from_utf8(out).unwrap()
}

#[test]
fn a_close_is_drawn_with_its_states() {
    let expected = "\
12:00:00  mariadb 28089  127.0.0.1:48350 -> 127.0.0.1:3306
    ESTABLISHED   8.4ms
        | <-------- FIN,ACK  seq 175 ack 212 -------- |
    CLOSE_WAIT    0.09ms
        | -------- FIN,ACK  seq 212 ack 176 --------> |
    LAST_ACK      0.05ms
        | <........ ACK      seq 176 ack 213 ........ |
    CLOSED
    3 segments: the second FIN carried the ACK of the first. The peer began
    to close. Dotted segments are inferred, not observed.

";
    assert_eq!(ladder(&samples::three_way()), expected);
}

#[test]
fn what_is_unknown_is_not_drawn() {
    let expected = "\
12:00:00  10.0.0.1:22 -- 10.0.0.2:60000
    ESTABLISHED
    LAST_ACK      0.05ms
    CLOSED
    Not all of this close was seen: its path is unknown.

";
    assert_eq!(ladder(&samples::unknown()), expected);
}

#[test]
fn the_peers_process_and_what_it_shows_are_written_below() {
    let mut close = samples::reset();
    close.endpoint.peer_owner = samples::owner(24_311, b"nginx\n");
    close.cause = None;
    close.peer_cause = Some(Cause::Linger);
    let flat = |close: &Close| {
        let text = ladder(close);
        let words: Vec<&str> = text.split_whitespace().collect();
        words.join(" ")
    };
    let says = "The peer is nginx\\n 24311 on this host. It says: the socket was closed with \
                SO_LINGER on and a time of zero.";
    assert!(flat(&close).contains(says), "{}", flat(&close));
    close.peer_cause = None;
    close.cause = Some(Cause::FromPath);
    let words = "A RST ended the connection: a reset came that the peer's socket,";
    assert!(flat(&close).contains(words), "{}", flat(&close));
}

#[test]
fn a_half_close_and_a_cause_are_written_below() {
    let close = Close {
        path: ClosePath::Timeout,
        initiator: Initiator::Local,
        cause: Some(Cause::PeerNeverClosed),
        idle: Some(Nanos::from_secs(5)),
        retransmits: Some(1),
        half_close: Some(HalfClose {
            by: Side::Local,
            lasted: Nanos::from_secs(2),
            bytes_sent: 0,
            bytes_received: 70_000,
        }),
        ..samples::unknown()
    };
    let text = ladder(&close);
    for words in [
        "This host gave up waiting for the peer: no FIN of the peer arrived before",
        "The connection had been silent for 5.0s.",
        "For 2.0s this host was only receiving: 70000 bytes came.",
        "1 segment was retransmitted in its whole life.",
    ] {
        let flat: Vec<&str> = text.split_whitespace().collect();
        assert!(flat.join(" ").contains(words), "{text}");
    }
    assert!(
        text.lines().all(|line| line.chars().count() <= 80),
        "{text}"
    );
}

/// The other end of [`samples::three_way`].
fn other_end() -> Close {
    use SegmentFlags::{Ack, FinAck};
    let step = |from, flags, numbers: (u32, u32), at| Step {
        from,
        flags,
        seq: Some(numbers.0),
        ack: Some(numbers.1),
        at: Some(samples::us(at)),
        known: Certainty::Observed,
    };
    let client = samples::three_way();
    Close {
        endpoint: Endpoint {
            id: EndpointId(14),
            tuple: samples::tuple("127.0.0.1:3306", "127.0.0.1:48350"),
            role: Role::Server,
            ..client.endpoint
        },
        owner: samples::owner(22_599, b"mariadbd"),
        initiator: Initiator::Local,
        steps: smallvec![
            step(Side::Local, FinAck, (175, 212), 8_400),
            step(Side::Peer, FinAck, (212, 176), 8_560),
            step(Side::Local, Ack, (176, 213), 8_560),
        ],
        states: smallvec![
            (TcpState::Established, Some(samples::us(8_300))),
            (TcpState::FinWait1, Some(samples::us(160))),
            (TcpState::FinWait2, Some(samples::us(0))),
        ],
        ..client
    }
}

fn joined(ends: &EndpointPair<'_>, symbols: Symbols) -> String {
    let mut out = Vec::new();
    write_joined_ladder(&mut out, ends, &samples::clock(), symbols);
    String::from_utf8(out).unwrap()
}

#[test]
fn both_ends_are_drawn_as_one() {
    let expected = "\
12:00:00  mariadb 28089 127.0.0.1:48350 -> 127.0.0.1:3306 mariadbd 22599
    ESTABLISHED   8.4ms                                   ESTABLISHED   8.3ms
        | <-------- FIN,ACK  seq 175 ack 212 -------- |
    CLOSE_WAIT    0.09ms                                  FIN_WAIT1     0.16ms
        | -------- FIN,ACK  seq 212 ack 176 --------> |
    LAST_ACK      0.05ms                                  FIN_WAIT2     0.00ms
        | <-------- ACK      seq 176 ack 213 -------- |
    CLOSED                                                TIME_WAIT
    3 segments: the second FIN carried the ACK of the first. The server
    closed first, so its endpoint goes to TIME_WAIT, normally for 60 s: the
    last ACK can be sent again, and old segments die out.

";
    let (client, server) = (samples::three_way(), other_end());
    let ends = EndpointPair::from_closes(&server, &client);
    assert_eq!(joined(&ends, Symbols::Ascii), expected);
    let unicode = joined(&ends, Symbols::Unicode);
    let line = "        │ <──────── FIN,ACK  seq 175 ack 212 ──────── │\n";
    assert!(unicode.contains(line), "{unicode}");
    for text in [expected, &unicode] {
        let widest = text.lines().map(|line| line.chars().count()).max();
        assert!(widest <= Some(80), "{text}");
    }
}

/// FINs that cross: each endpoint has sent its own before the other's came.
#[test]
fn segments_that_cross_are_drawn_in_the_order_of_each_end() {
    let step = |from| Step {
        from,
        flags: SegmentFlags::FinAck,
        seq: None,
        ack: None,
        at: None,
        known: Certainty::Observed,
    };
    let states: [TcpState; 3] = [TcpState::Established, TcpState::FinWait1, TcpState::Closing];
    let end = |close: Close| Close {
        path: ClosePath::Simultaneous,
        initiator: Initiator::Both,
        steps: smallvec![step(Side::Local), step(Side::Peer)],
        states: states.iter().map(|state| (*state, None)).collect(),
        ..close
    };
    let (client, server) = (end(samples::three_way()), end(other_end()));
    let text = joined(&EndpointPair::from_closes(&client, &server), Symbols::Ascii);
    let expected = "
    ESTABLISHED                                           ESTABLISHED
        | ---------------- FIN,ACK -----------------> |
    FIN_WAIT1
        | <---------------- FIN,ACK ----------------- |
    CLOSING                                               FIN_WAIT1
    TIME_WAIT                                             CLOSING
                                                          TIME_WAIT
    The FINs of both sides crossed. Both began to close.
";
    assert!(text.contains(expected), "{text}");
}

/// A RST from the path, which the open end has not sent.
#[test]
fn what_one_end_has_nothing_of_is_marked() {
    let client = samples::three_way();
    let reset = Step {
        from: Side::Peer,
        flags: SegmentFlags::Rst,
        seq: None,
        ack: None,
        at: None,
        known: Certainty::Observed,
    };
    let by_peer = Reset {
        by: Side::Peer,
        reason: None,
        kernel_reason: None,
    };
    let client = Close {
        path: ClosePath::Reset,
        steps: smallvec![reset],
        states: smallvec![(TcpState::Established, None)],
        reset: Some(by_peer),
        cause: Some(Cause::FromPath),
        ..client
    };
    let server = OpenEndpoint {
        endpoint: Endpoint {
            tuple: samples::tuple("10.92.0.2:3306", "10.92.0.1:1024"),
            ..other_end().endpoint
        },
        owner: None,
        state: TcpState::Established,
        since: None,
        steps: smallvec![],
        states: smallvec![],
    };
    let ends = EndpointPair {
        at: client.at,
        left: EndpointView::Closed(&client),
        right: EndpointView::Open(&server),
    };
    let text = joined(&ends, Symbols::Ascii);
    let expected = "\
12:00:00  mariadb 28089 127.0.0.1:48350 -> 10.92.0.2:3306
    ESTABLISHED                                           ESTABLISHED
                                                          (still open)
        | <------------------ RST ------------------? |
    CLOSED
";
    assert!(text.starts_with(expected), "{text}");
    let words: Vec<&str> = text.split_whitespace().collect();
    let words = words.join(" ");
    for sentence in [
        "A RST reached the client; the record of the server has none.",
        "The server's end is still open.",
        "NAT: 127.0.0.1:48350 -> 10.92.0.1:1024 at the other end.",
        "Of a segment with ?, the other end's record has nothing.",
    ] {
        assert!(words.contains(sentence), "{words}");
    }
}
