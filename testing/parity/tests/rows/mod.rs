//! Rows of captures, written by hand.

use tcpclose_parity::closing::{End, Flags, Row};

/// A row from letters: S(yn), A(ck), F(in), R(st).
pub fn row(from: End, flags: &str, seq: u32, ack: u32, len: u32) -> Row {
    let has = |letter| flags.contains(letter);
    let flags = Flags {
        syn: has('S'),
        ack: has('A'),
        fin: has('F'),
        rst: has('R'),
    };
    Row {
        from,
        flags,
        seq,
        ack,
        len,
    }
}

/// Handshake, ten bytes of the client, and what follows.
pub fn with_handshake(closing: &[Row]) -> Vec<Row> {
    let mut rows = vec![
        row(End::Client, "S", 0, 0, 0),
        row(End::Server, "SA", 0, 1, 0),
        row(End::Client, "A", 1, 1, 0),
        row(End::Client, "A", 1, 1, 10),
        row(End::Server, "A", 1, 11, 0),
    ];
    rows.extend_from_slice(closing);
    rows
}
