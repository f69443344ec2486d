//! What of a capture the socket at that end really took part in.
//!
//! A capture is made below the socket. A segment may pass the capture and still never reach the socket: it comes when
//! the socket is gone or being closed on another CPU, or the socket refuses it. What the end sends afterwards proves
//! which it was, and only such proofs are used here:
//!
//! - a RST with an ACK is an abort (`tcp_send_active_reset`), and acknowledges all that the socket had taken: a peer's
//!   segment before it that is not acknowledged crossed it, and so did a peer's RST, which would have ended the socket
//!   before it could abort;
//! - between the client's SYN and the server's there is nothing of this connection but a refusal, a RST with an ACK:
//!   the rest belongs to an earlier connection with the same ports, or answers it (RFC 9293, 3.10.7.3);
//! - a FIN behind a peer's RST was sent before the socket took the RST, which would have ended it too;
//! - a RST whose number is not exactly the next one expected (RFC 5961, 3.2; `tcp_validate_incoming`), or one less once
//!   the peer's FIN is there (`tcp_reset_check`), and which the end answers, is not taken: the answer is an ACK, to which a
//!   peer that is really gone sends a RST with the right number. (A minisocket takes any in its window, in silence.)

use crate::segment::{Endpoint, Segment, is_before};

/// The segments of a capture made at the end `local`, without what its socket never took, and with a RST that the socket
/// took late behind what the socket had sent before.
#[must_use]
pub fn delivered_to(segments: &[Segment], local: Endpoint) -> Vec<Segment> {
    // Each with its place; a late RST shares that of the FIN before it.
    let mut taken = Vec::with_capacity(segments.len());
    let mut expected = Expected::default();
    // Where the opening was not captured, everything counts.
    let mut answered = !segments.first().is_some_and(|segment| segment.flags.syn);
    for (number, segment) in segments.iter().enumerate() {
        answered |= segment.flags.syn && segment.from == Endpoint::Server;
        let refusal = segment.flags.rst && segment.flags.ack;
        if !answered && !segment.flags.syn && !refusal {
            continue;
        }
        if segment.from == local {
            taken.push((number, *segment));
            continue;
        }
        let behind = &segments[number + 1..];
        let abort = behind.iter().find(|segment| is_abort(segment, local));
        if segment.flags.rst {
            let is_answer = |segment: &Segment| segment.from == local && !segment.flags.rst;
            let refused = !expected.admits(segment) && behind.iter().any(is_answer);
            if abort.is_none() && !refused {
                let is_own_fin = |segment: &Segment| segment.from == local && segment.flags.fin;
                let late = behind.iter().rposition(is_own_fin);
                taken.push((late.map_or(number, |fin| number + 1 + fin), *segment));
            }
        } else if abort.is_none_or(|abort| !is_before(abort.ack, segment.end())) {
            expected.take(segment);
            taken.push((number, *segment));
        }
    }
    // Stable: of two with the same place the FIN, which is this end's, goes first.
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

    fn admits(&self, reset: &Segment) -> bool {
        self.next.is_none_or(|next| {
            reset.seq == next || (self.has_fin && reset.seq.wrapping_add(1) == next)
        })
    }
}
