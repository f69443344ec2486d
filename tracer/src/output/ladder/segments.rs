//! The segments of a ladder: those of one endpoint, or those of both, of which each has seen its
//! part.

use tcpclose_core::finding::{SegmentFlags, Side, Step};
use tcpclose_core::types::{Certainty, Nanos};

/// A segment between the left end and the right one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    /// Whether the left end has sent it.
    pub from_left: bool,
    pub flags: SegmentFlags,
    pub seq: Option<u32>,
    pub ack: Option<u32>,
    pub known: Certainty,
    /// Which of the ends' own segments it is.
    pub left: Option<Seen>,
    pub right: Option<Seen>,
}

/// A segment as one endpoint has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    /// Its place among the end's own segments.
    pub number: usize,
    pub at: Option<Nanos>,
}

/// Returns the segments of one endpoint, which is the left one.
pub(super) fn of_one_endpoint(steps: &[Step]) -> Vec<Segment> {
    let steps = steps.iter().enumerate();
    steps
        .map(|(number, step)| one(number, step, true))
        .collect()
}

/// Returns the segments of both endpoints, each once, in an order that is that of either end as far
/// as it can be: segments that cross stand in the order in which they were sent.
pub(super) fn of_both_ends(left: &[Step], right: &[Step]) -> Vec<Segment> {
    let mut all = Vec::new();
    let mut rest_of_left: Vec<(usize, &Step)> = left.iter().enumerate().collect();
    let mut rest_of_right: Vec<(usize, &Step)> = right.iter().enumerate().collect();
    loop {
        let (next_left, next_right) = (rest_of_left.first(), rest_of_right.first());
        // What only one endpoint has comes before what both have; else the one that its end has
        // sent.
        let takes_left = match (next_left, next_right) {
            (None, None) => return all,
            (None, Some(_)) => false,
            (Some(_), None) => true,
            (Some((_, left)), Some((_, right))) => {
                let is_in = |step: &Step, steps: &[(usize, &Step)]| {
                    steps.iter().any(|(_, other)| is_same(step, other))
                };
                match (is_in(left, &rest_of_right), is_in(right, &rest_of_left)) {
                    (false, _) => true,
                    (true, false) => false,
                    (true, true) => is_same(left, right) || left.from == Side::Local,
                }
            }
        };
        let (taken, others) = match takes_left {
            true => (rest_of_left.remove(0), &mut rest_of_right),
            false => (rest_of_right.remove(0), &mut rest_of_left),
        };
        let (number, step) = taken;
        let mut segment = one(number, step, takes_left);
        let place = others.iter().position(|(_, other)| is_same(step, other));
        if let Some(place) = place {
            let (number, other) = others.remove(place);
            let other = one(number, other, !takes_left);
            // What one endpoint has only inferred the other one may have observed.
            let (known, less) = match segment.known {
                Certainty::Observed => (segment, other),
                Certainty::Inferred => (other, segment),
            };
            segment = Segment {
                seq: known.seq.or(less.seq),
                ack: known.ack.or(less.ack),
                left: segment.left.or(other.left),
                right: segment.right.or(other.right),
                ..known
            };
        }
        all.push(segment);
    }
}

fn one(number: usize, step: &Step, is_left: bool) -> Segment {
    let seen = Some(Seen {
        number,
        at: step.at,
    });
    Segment {
        from_left: (step.from == Side::Local) == is_left,
        flags: step.flags,
        seq: step.seq,
        ack: step.ack,
        known: step.known,
        left: seen.filter(|_| is_left),
        right: seen.filter(|_| !is_left),
    }
}

/// Returns whether two ends have the same segment: one has sent it, and the other received it. A
/// RST that was received does not show whether it had an ACK.
fn is_same(one: &Step, other: &Step) -> bool {
    let may_be =
        |one: Option<u32>, other: Option<u32>| one.is_none() || other.is_none() || one == other;
    let is_alike = match one.is_reset() {
        true => other.is_reset(),
        false => one.flags == other.flags && may_be(one.seq, other.seq),
    };
    one.from != other.from && is_alike
}
