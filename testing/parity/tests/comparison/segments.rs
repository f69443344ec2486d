//! Rows of captures, written by hand.

use tcpclose_parity::segment::{Endpoint, Flags, Segment};

/// A segment from letters: S(yn), A(ck), F(in), R(st).
pub fn segment(from: Endpoint, flags: &str, seq: u32, ack: u32, len: u32) -> Segment {
    let has = |letter| flags.contains(letter);
    let flags = Flags {
        syn: has('S'),
        ack: has('A'),
        fin: has('F'),
        rst: has('R'),
    };
    Segment {
        from,
        flags,
        seq,
        ack,
        len,
    }
}

/// Handshake, ten bytes of the client, and what follows.
pub fn with_handshake(closing: &[Segment]) -> Vec<Segment> {
    let mut segments = vec![
        segment(Endpoint::Client, "S", 0, 0, 0),
        segment(Endpoint::Server, "SA", 0, 1, 0),
        segment(Endpoint::Client, "A", 1, 1, 0),
        segment(Endpoint::Client, "A", 1, 1, 10),
        segment(Endpoint::Server, "A", 1, 11, 0),
    ];
    segments.extend_from_slice(closing);
    segments
}
