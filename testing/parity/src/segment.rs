//! Captured segments, and the endpoints that sent them.

use std::fmt;

/// One endpoint of a captured connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// The endpoint that connected.
    Client,
    /// The endpoint that accepted.
    Server,
}

impl Endpoint {
    /// Returns the peer.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(match self {
            Self::Client => "client",
            Self::Server => "server",
        })
    }
}

/// The TCP flags that closing is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// The segment opens the connection.
    pub syn: bool,
    /// The acknowledgment number is valid.
    pub ack: bool,
    /// The sender sends no more data.
    pub fin: bool,
    /// The sender aborts the connection.
    pub rst: bool,
}

impl Flags {
    /// From the byte of the TCP header.
    #[must_use]
    pub fn from_bits(bits: u8) -> Self {
        Self {
            fin: bits & 1 != 0,
            syn: bits & 2 != 0,
            rst: bits & 4 != 0,
            ack: bits & 16 != 0,
        }
    }
}

/// One captured segment. Sequence numbers are relative, as Wireshark prints them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Who sent it.
    pub from: Endpoint,
    /// Its flags.
    pub flags: Flags,
    /// Sequence number of its first byte.
    pub seq: u32,
    /// Acknowledgment number; means nothing without the ACK flag.
    pub ack: u32,
    /// Bytes of payload.
    pub len: u32,
}

impl Segment {
    /// The sequence number behind this segment.
    #[must_use]
    pub fn end(&self) -> u32 {
        let Flags { syn, fin, .. } = self.flags;
        self.seq
            .wrapping_add(self.len)
            .wrapping_add(u32::from(syn) + u32::from(fin))
    }
}

/// Returns whether sequence number `a` comes before `b` (RFC 9293, 3.4).
pub(crate) fn is_before(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) < 0
}
