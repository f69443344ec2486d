//! Which captured segments the socket really received.
//!
//! A capture is made below the socket. A segment may pass the capture and still never reach the
//! socket: it comes when the socket is gone or being closed on another CPU, or the socket refuses
//! it. What the endpoint sends afterwards proves which it was, and only such proofs are used here:
//!
//! - a RST with an ACK is an abort (`tcp_send_active_reset`), and acknowledges all that the socket
//!   had taken: a peer's segment before it that is not acknowledged crossed it, and so did a peer's
//!   RST, which would have ended the socket before it could abort. (A segment behind a hole is
//!   never acknowledged: it has arrived where the endpoint answered it.)
//! - between the client's SYN and the server's there is nothing of this connection but a refusal, a
//!   RST with an ACK: the rest belongs to an earlier connection with the same ports, or answers it
//!   (RFC 9293, 3.10.7.3);
//! - what the endpoint sends behind a peer's RST was sent before the socket took the RST, which
//!   would have ended it too, unless it is a RST itself;
//! - a RST without an ACK in front of such an abort answers a segment that came while the socket
//!   was being aborted on another processor;
//! - what ends before the endpoint's last ACK is dropped with all that it acknowledges
//!   (`tcp_sequence`);
//! - a RST is taken that has exactly the next number expected or the one behind all that has come
//!   (RFC 5961, 3.2; `tcp_validate_incoming`), or one less once the peer's FIN is there
//!   (`tcp_reset_check`). The endpoint's last ACK shows what it expects, where a segment that came
//!   was dropped (an old timestamp). An older one is ignored. A newer one is answered with an ACK,
//!   to which a peer that is really gone sends a RST with the right number. (A minisocket, which
//!   there is only once the endpoint's FIN has been acknowledged, takes any in its window, in
//!   silence.)

use crate::segment::{Endpoint, Segment, is_before};

/// The segments of a capture made at the endpoint `local`, without what its socket never took, and
/// with a RST that the socket took late behind what the socket had sent before.
#[must_use]
pub fn delivered_to(segments: &[Segment], local: Endpoint) -> Vec<Segment> {
    // Each with its place; a late RST shares that of the last segment before it.
    let mut taken = Vec::with_capacity(segments.len());
    let mut expected = Expected::default();
    // Where the opening was not captured, everything counts.
    let mut answered = !segments.first().is_some_and(|segment| segment.flags.syn);
    let mut acknowledged = None;
    let mut own_fin = None;
    let mut own_fin_acked = false;
    for (number, segment) in segments.iter().enumerate() {
        if segment.from == local && segment.flags.fin {
            own_fin = Some(segment.end());
        } else if segment.from != local && segment.flags.ack && !segment.flags.rst {
            own_fin_acked |= own_fin.is_some_and(|end| !is_before(segment.ack, end));
        }
        answered |= segment.flags.syn && segment.from == Endpoint::Server;
        let refusal = segment.flags.rst && segment.flags.ack;
        if !answered && !segment.flags.syn && !refusal {
            continue;
        }
        let behind = &segments[number + 1..];
        let abort = behind.iter().find(|segment| is_abort(segment, local));
        if segment.from == local {
            acknowledged = segment.flags.ack.then_some(segment.ack).or(acknowledged);
            let is_stray = segment.flags.rst && !segment.flags.ack && abort.is_some();
            if !is_stray {
                taken.push((number, *segment));
            }
            continue;
        }
        if segment.flags.rst {
            let is_answer = |segment: &Segment| segment.from == local && !segment.flags.rst;
            let answered = behind.iter().any(is_answer);
            let allowed =
                expected.allows_reset(segment) || (acknowledged == Some(segment.seq) && !answered);
            let refused = !allowed && (expected.is_past(segment) || !own_fin_acked || answered);
            if abort.is_none() && !refused {
                let late = behind.iter().rposition(is_answer);
                taken.push((late.map_or(number, |last| number + 1 + last), *segment));
            }
            continue;
        }
        let is_old = acknowledged.is_some_and(|end| is_before(segment.end(), end));
        let has_content = segment.seq != segment.end();
        let crossed_abort = match behind.iter().find(|segment| segment.from == local) {
            // What leaves a hole is answered at once, unless the socket is gone.
            Some(next) if expected.leaves_hole(segment) => has_content && is_abort(next, local),
            _ => abort.is_some_and(|abort| is_before(abort.ack, segment.end())),
        };
        if !is_old && !crossed_abort {
            expected.take(segment);
            taken.push((number, *segment));
        }
    }
    // Stable: of two with the same place, this endpoint's own goes first.
    taken.sort_by_key(|(place, segment)| (*place, segment.from != local));
    taken.into_iter().map(|(_, segment)| segment).collect()
}

fn is_abort(segment: &Segment, local: Endpoint) -> bool {
    segment.from == local && segment.flags.rst && segment.flags.ack
}

/// Which number the socket expects next of its peer.
#[derive(Default)]
struct Expected {
    /// `None` before the peer's SYN.
    next: Option<u32>,
    has_fin: bool,
    /// Segments behind a hole: where they begin and end, and whether they are the FIN.
    ahead: Vec<(u32, u32, bool)>,
}

impl Expected {
    fn take(&mut self, segment: &Segment) {
        if segment.flags.syn {
            self.next.get_or_insert(segment.seq);
        }
        if segment.seq == segment.end() {
            return;
        }
        self.ahead
            .push((segment.seq, segment.end(), segment.flags.fin));
        while let Some(next) = self.next
            && let Some(fitting) = self
                .ahead
                .iter()
                .position(|&(begin, _, _)| !is_before(next, begin))
        {
            let (_, end, fin) = self.ahead.swap_remove(fitting);
            if is_before(next, end) {
                self.next = Some(end);
                self.has_fin |= fin;
            }
        }
    }

    /// Returns whether something is missing in front of a segment.
    fn leaves_hole(&self, segment: &Segment) -> bool {
        self.next.is_some_and(|next| is_before(next, segment.seq))
    }

    fn allows_reset(&self, reset: &Segment) -> bool {
        self.next.is_none_or(|next| {
            let ahead = self.ahead.iter().map(|&(_, end, _)| end);
            let last = ahead.reduce(|a, b| if is_before(a, b) { b } else { a });
            reset.seq == next
                || last == Some(reset.seq)
                || (self.has_fin && reset.seq.wrapping_add(1) == next)
        })
    }

    /// Returns whether a segment has a number that has come before.
    fn is_past(&self, segment: &Segment) -> bool {
        self.next.is_some_and(|next| is_before(segment.seq, next))
    }
}
