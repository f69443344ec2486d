//! How a connection closed according to a capture.
//!
//! Works on plain rows, whatever they were captured with.

use std::collections::HashSet;
use std::fmt;

use crate::delivered::taken_by;

/// One end of a captured connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    /// The end that connected.
    Client,
    /// The end that accepted.
    Server,
}

impl End {
    /// The end at the far side.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

impl fmt::Display for End {
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
    /// SYN.
    pub syn: bool,
    /// ACK.
    pub ack: bool,
    /// FIN.
    pub fin: bool,
    /// RST.
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
pub struct Row {
    /// Who sent it.
    pub from: End,
    /// Its flags.
    pub flags: Flags,
    /// Sequence number of its first byte.
    pub seq: u32,
    /// Acknowledgment number; means nothing without the ACK flag.
    pub ack: u32,
    /// Bytes of payload.
    pub len: u32,
}

impl Row {
    /// The sequence number behind this segment.
    #[must_use]
    pub fn end(&self) -> u32 {
        let Flags { syn, fin, .. } = self.flags;
        self.seq
            .wrapping_add(self.len)
            .wrapping_add(u32::from(syn) + u32::from(fin))
    }
}

/// A segment that belongs to the closing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment(pub Row);

impl Segment {
    /// The part that a FIN plays that was sent again: it acknowledges.
    fn as_ack(row: &Row) -> Self {
        let flags = Flags {
            fin: false,
            ..row.flags
        };
        Self(Row { flags, ..*row })
    }

    /// Its flags in tcpclose's words.
    #[must_use]
    pub fn flags(&self) -> &'static str {
        match (self.0.flags.fin, self.0.flags.rst, self.0.flags.ack) {
            (_, true, true) => "RST,ACK",
            (_, true, false) => "RST",
            (true, false, _) => "FIN,ACK",
            (false, false, _) => "ACK",
        }
    }
}

/// Who sent the first FIN or RST.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Initiator {
    /// Nobody has yet.
    Nobody,
    /// One end, and the other had seen it before it closed itself.
    One(End),
    /// Both: each sent its FIN before it saw the other's.
    Both,
}

/// The closing of one connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closing {
    /// Who began.
    pub initiator: Initiator,
    /// Each end's FIN, the first ACK of each, and the first RST, with which it ends; in the capture's order.
    pub segments: Vec<Segment>,
    /// FINs sent again.
    pub repeated: Vec<Segment>,
    /// Whether both ends agreed to open the connection.
    pub opened: bool,
}

impl Closing {
    /// Finds the closing segments among all segments of one connection, in the capture's order.
    #[must_use]
    pub fn of(rows: &[Row]) -> Self {
        let mut closing = Self {
            initiator: Initiator::Nobody,
            segments: Vec::new(),
            repeated: Vec::new(),
            opened: rows.iter().any(|row| row.flags.syn && row.flags.ack),
        };
        // (whose, sequence number behind it)
        let mut fins: Vec<(End, u32)> = Vec::new();
        let mut acknowledged = HashSet::new();
        for row in rows {
            let segment = Segment(*row);
            let done = closing.was_reset() || acknowledged.len() == 2;
            if row.flags.rst {
                if !done {
                    closing.begin(row.from);
                    closing.segments.push(segment);
                }
                continue;
            }
            let covers_a_fin = row.flags.ack
                && fins
                    .iter()
                    .any(|&(end, behind)| end != row.from && row.ack >= behind);
            let acks = covers_a_fin && acknowledged.insert(row.from.other());
            if row.flags.fin && fins.iter().any(|&(end, _)| end == row.from) {
                closing.repeated.push(segment);
                // Sent again it can be the first to acknowledge the other's FIN.
                if acks && !done {
                    closing.segments.push(Segment::as_ack(row));
                }
            } else if row.flags.fin && !done {
                if !fins.is_empty() && !covers_a_fin {
                    closing.initiator = Initiator::Both;
                }
                closing.begin(row.from);
                fins.push((row.from, row.end()));
                closing.segments.push(segment);
            } else if acks && !done {
                closing.segments.push(segment);
            }
        }
        closing
    }

    /// The closing as the socket of the end `local` took part in it, from a capture made at that end.
    #[must_use]
    pub fn at(rows: &[Row], local: End) -> Self {
        Self::of(&taken_by(rows, local))
    }

    fn begin(&mut self, end: End) {
        if self.initiator == Initiator::Nobody {
            self.initiator = Initiator::One(end);
        }
    }

    /// The RST with which it ended.
    #[must_use]
    pub fn reset(&self) -> Option<&Segment> {
        self.segments.last().filter(|segment| segment.0.flags.rst)
    }

    fn was_reset(&self) -> bool {
        self.reset().is_some()
    }

    /// tcpclose's word for what happened; `None` while it is still happening.
    #[must_use]
    pub fn path(&self) -> Option<&'static str> {
        if !self.opened {
            return Some("connect_failed");
        }
        if self.was_reset() {
            return Some("reset");
        }
        let segments = &self.segments;
        let fins = segments.iter().filter(|segment| segment.0.flags.fin);
        match (self.initiator, fins.count(), segments.len()) {
            (Initiator::Both, 2, 4) => Some("simultaneous"),
            (Initiator::One(_), 2, 4) => Some("four_way"),
            (Initiator::One(_), 2, 3) if segments[1].0.flags.fin => Some("three_way"),
            _ => None,
        }
    }

    /// How many FINs this end has sent again.
    #[must_use]
    pub fn repeated_by(&self, end: End) -> usize {
        let repeated = self.repeated.iter();
        repeated.filter(|segment| segment.0.from == end).count()
    }
}

impl fmt::Display for Segment {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Row { seq, ack, len, .. } = self.0;
        write!(out, "{} seq {seq} ack {ack} len {len}", self.flags())
    }
}

impl fmt::Display for Closing {
    /// The closing at one glance: `client FIN,ACK; server ACK; …`
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, segment) in self.segments.iter().enumerate() {
            let separator = if number == 0 { "" } else { "; " };
            write!(out, "{separator}{} {}", segment.0.from, segment.flags())?;
        }
        Ok(())
    }
}
