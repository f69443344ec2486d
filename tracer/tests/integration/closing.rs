//! How a connection closed according to a capture, and whether a record of tcpclose says the same.
//!
//! Works on plain rows, whatever they were captured with: no socket, file or program is touched here.

use std::collections::HashSet;
use std::fmt;

/// One end of a captured connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    /// The end that connected.
    Client,
    /// The end that accepted.
    Server,
}

impl End {
    fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
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
    fn end(&self) -> u32 {
        self.seq + self.len + u32::from(self.flags.fin)
    }
}

/// A segment that belongs to the closing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment(pub Row);

impl Segment {
    /// Its flags in tcpclose's words.
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
    /// Each end's FIN, the first ACK of each, and each end's first RST (further ones
    /// answer further data), in the capture's order.
    pub segments: Vec<Segment>,
    /// FINs sent again.
    pub repeated: Vec<Segment>,
}

impl Closing {
    /// Finds the closing segments among all segments of one connection, in the capture's order.
    pub fn of(rows: &[Row]) -> Self {
        let mut closing = Self {
            initiator: Initiator::Nobody,
            segments: Vec::new(),
            repeated: Vec::new(),
        };
        // (whose, sequence number behind it)
        let mut fins: Vec<(End, u32)> = Vec::new();
        let mut acknowledged = HashSet::new();
        let mut reset = HashSet::new();
        for row in rows {
            let segment = Segment(*row);
            let acks = row.flags.ack
                && fins
                    .iter()
                    .any(|&(end, behind)| end != row.from && row.ack >= behind)
                && !acknowledged.contains(&row.from.other());
            if row.flags.rst {
                if reset.insert(row.from) {
                    closing.begin(row.from);
                    closing.segments.push(segment);
                }
                continue;
            }
            if acks {
                acknowledged.insert(row.from.other());
            }
            if row.flags.fin && !fins.iter().any(|&(end, _)| end == row.from) {
                let saw_the_others = fins
                    .iter()
                    .any(|&(_, behind)| row.flags.ack && row.ack >= behind);
                if !fins.is_empty() && !saw_the_others {
                    closing.initiator = Initiator::Both;
                }
                closing.begin(row.from);
                fins.push((row.from, row.end()));
                closing.segments.push(segment);
            } else if row.flags.fin {
                closing.repeated.push(segment);
            } else if acks {
                closing.segments.push(segment);
            }
        }
        closing
    }

    fn begin(&mut self, end: End) {
        if self.initiator == Initiator::Nobody {
            self.initiator = Initiator::One(end);
        }
    }

    /// What a record of the end `local` says otherwise than this capture; empty when they agree.
    pub fn differences(&self, local: End, record: &RecordedClose) -> Vec<String> {
        let mut differences = Vec::new();
        let initiator = match self.initiator {
            Initiator::Nobody => "unknown",
            Initiator::One(end) if end == local => "local",
            Initiator::One(_) => "peer",
            Initiator::Both => "both",
        };
        if record.initiator != initiator {
            differences.push(format!(
                "initiator: captured {initiator}, recorded {}",
                record.initiator
            ));
        }
        // An end counts its own repetitions; the peer's it need not have noticed.
        let count = |from: End| {
            self.repeated
                .iter()
                .filter(|segment| segment.0.from == from)
                .count()
        };
        let fewest = self.segments.len() + count(local);
        let most = fewest + count(local.other());
        if let Some(segments) = record.segments
            && !(fewest as u64..=most as u64).contains(&segments)
        {
            differences.push(format!(
                "segments: captured {fewest} to {most}, recorded {segments}"
            ));
        }
        if record.steps.len() != self.segments.len() {
            differences.push(format!(
                "steps: captured {}, recorded {}",
                self.segments.len(),
                record.steps.len()
            ));
        }
        let (mut captured, mut recorded) = (self.segments.clone(), record.steps.clone());
        if self.initiator == Initiator::Both {
            // Which of two crossing segments came first depends on where one stands.
            captured.sort_by_key(|segment| segment.0.from != local);
            recorded.sort_by_key(|step| step.from != "local");
        }
        for (number, (captured, recorded)) in captured.iter().zip(&recorded).enumerate() {
            let from = if captured.0.from == local {
                "local"
            } else {
                "peer"
            };
            if !recorded.agrees(from, captured) {
                differences.push(format!(
                    "step {number}: captured {from} {captured}, recorded {recorded}"
                ));
            }
        }
        differences
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

/// The part of tcpclose's record that a capture can confirm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedClose {
    /// `close.initiator`.
    pub initiator: String,
    /// `close.segments`, where the record knows it.
    pub segments: Option<u64>,
    /// `close.steps`.
    pub steps: Vec<RecordedStep>,
}

/// One of `close.steps`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedStep {
    /// `local` or `peer`.
    pub from: String,
    /// As in [`Segment::flags`].
    pub flags: String,
    /// Relative sequence number, where the record knows it.
    pub seq: Option<u64>,
    /// Relative acknowledgment number, where the record knows it.
    pub ack: Option<u64>,
    /// The record says that it has not seen this segment itself.
    pub inferred: bool,
}

impl RecordedStep {
    /// Whether this step tells the captured segment, sent by the side `from`, as far as it tells anything.
    pub fn agrees(&self, from: &str, captured: &Segment) -> bool {
        let Row {
            flags,
            seq,
            ack,
            len,
            ..
        } = captured.0;
        // A FIN may ride on data: a socket knows the FIN's own number, not where its segment began.
        let numbers = [
            u64::from(seq),
            u64::from(seq + if flags.fin { len } else { 0 }),
        ];
        // A socket learns that the peer's RST came, not whether the RST carried an ACK.
        let is_unseen_reset = self.inferred && flags.rst && self.flags.starts_with("RST");
        self.from == from
            && (self.flags == captured.flags() || is_unseen_reset)
            && self.seq.is_none_or(|seq| numbers.contains(&seq))
            && self
                .ack
                .is_none_or(|recorded| !flags.ack || recorded == u64::from(ack))
    }
}

impl fmt::Display for RecordedStep {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = |number: Option<u64>| {
            number.map_or_else(|| "?".to_owned(), |number| number.to_string())
        };
        write!(
            out,
            "{} {} seq {} ack {}",
            self.from,
            self.flags,
            number(self.seq),
            number(self.ack)
        )
    }
}
