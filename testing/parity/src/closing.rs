//! How a connection closed according to a capture.
//!
//! Works on plain segments, whatever they were captured with.

use std::collections::HashSet;
use std::fmt;

use crate::delivered::delivered_to;
use crate::segment::{Endpoint, Flags, Segment};

/// A segment that belongs to the closing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClosingSegment(pub Segment);

impl ClosingSegment {
    /// The part that a FIN plays that was sent again: it acknowledges.
    fn as_ack(segment: &Segment) -> Self {
        let flags = Flags {
            fin: false,
            ..segment.flags
        };
        Self(Segment { flags, ..*segment })
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
    /// No FIN or RST yet.
    Unknown,
    /// One endpoint, and the other had seen it before it closed itself.
    One(Endpoint),
    /// Both: each FIN left or arrived before the other was acknowledged.
    Both,
}

/// The closing of one connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closing {
    /// Who sent the first FIN or RST.
    pub initiator: Initiator,
    /// Each endpoint's FIN, the first ACK of each, and the first RST, with which it ends; in the
    /// capture's order.
    pub segments: Vec<ClosingSegment>,
    /// FINs sent again.
    pub repeated: Vec<ClosingSegment>,
    /// Whether both endpoints agreed to open the connection.
    pub opened: bool,
}

impl Closing {
    /// Finds the closing segments among all segments of one connection, in the capture's order.
    #[must_use]
    pub fn from_segments(segments: &[Segment]) -> Self {
        let mut closing = Self {
            initiator: Initiator::Unknown,
            segments: Vec::new(),
            repeated: Vec::new(),
            opened: segments
                .iter()
                .any(|segment| segment.flags.syn && segment.flags.ack),
        };
        // (whose, sequence number behind it)
        let mut fins: Vec<(Endpoint, u32)> = Vec::new();
        let mut acknowledged = HashSet::new();
        for segment in segments {
            let part = ClosingSegment(*segment);
            let done = closing.was_reset() || acknowledged.len() == 2;
            if segment.flags.rst {
                if !done {
                    closing.begin(segment.from);
                    closing.segments.push(part);
                }
                continue;
            }
            let covers_a_fin = segment.flags.ack
                && fins
                    .iter()
                    .any(|&(endpoint, behind)| endpoint != segment.from && segment.ack >= behind);
            let acks = covers_a_fin && acknowledged.insert(segment.from.other());
            if segment.flags.fin && fins.iter().any(|&(endpoint, _)| endpoint == segment.from) {
                closing.repeated.push(part);
                // Sent again it can be the first to acknowledge the other's FIN.
                if acks && !done {
                    closing.segments.push(ClosingSegment::as_ack(segment));
                }
            } else if segment.flags.fin && !done {
                // One that was acknowledged before the other arrived did not cross it, as this
                // endpoint saw it, even where the other was sent before and overtaken.
                if !fins.is_empty() && !covers_a_fin && acknowledged.is_empty() {
                    closing.initiator = Initiator::Both;
                }
                closing.begin(segment.from);
                fins.push((segment.from, segment.end()));
                closing.segments.push(part);
            } else if acks && !done {
                closing.segments.push(part);
            }
        }
        closing
    }

    /// The closing as the socket of the endpoint `local` took part in it, from a capture made at
    /// that endpoint.
    #[must_use]
    pub fn at(segments: &[Segment], local: Endpoint) -> Self {
        Self::from_segments(&delivered_to(segments, local))
    }

    fn begin(&mut self, endpoint: Endpoint) {
        if self.initiator == Initiator::Unknown {
            self.initiator = Initiator::One(endpoint);
        }
    }

    /// The RST with which it ended.
    #[must_use]
    pub fn reset(&self) -> Option<&ClosingSegment> {
        self.segments.last().filter(|segment| segment.0.flags.rst)
    }

    fn was_reset(&self) -> bool {
        self.reset().is_some()
    }

    /// The path in tcpclose's words; `None` while the close is going on.
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

    /// How many FINs this endpoint has sent again.
    #[must_use]
    pub fn repeated_by(&self, endpoint: Endpoint) -> usize {
        let repeated = self.repeated.iter();
        repeated
            .filter(|segment| segment.0.from == endpoint)
            .count()
    }
}

impl fmt::Display for ClosingSegment {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Segment { seq, ack, len, .. } = self.0;
        write!(out, "{} seq {seq} ack {ack} len {len}", self.flags())
    }
}

impl fmt::Display for Closing {
    /// The closing in one line: `client FIN,ACK; server ACK; …`
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, segment) in self.segments.iter().enumerate() {
            let separator = if number == 0 { "" } else { "; " };
            write!(out, "{separator}{} {}", segment.0.from, segment.flags())?;
        }
        Ok(())
    }
}
