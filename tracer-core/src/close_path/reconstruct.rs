//! Finds the path of a close, for the side that closed second and for the one that closed first.

use smallvec::smallvec;
use tcpclose_common::TcpState;

use super::{Ending, Outcome, Reconstruction};
use crate::event::Segment;
use crate::finding::{ClosePath, SegmentFlags, Side, Step, Steps};
use crate::live_endpoint::StateChange;
use crate::types::{Known, Nanos};

/// `TCP_MIN_MSS` of include/net/tcp.h: no full segment carries fewer bytes.
const TCP_MIN_MSS: u32 = 88;

/// How this end acknowledged the peer's FIN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PeerFinAck {
    /// By its own FIN.
    WithFin,
    /// By an earlier segment, which began with this number where that is known.
    Apart { seq: Option<u32> },
    /// Not at all: the close was over before.
    Never,
}

impl Reconstruction<'_> {
    /// The four segments of a close of which only the end was met.
    pub(super) fn unseen_four_way(&self, peer_fin: Nanos) -> Steps {
        let step = |from: Side, flags: SegmentFlags, at: Option<Nanos>| Step {
            from,
            flags,
            seq: None,
            ack: None,
            at,
            known: Known::Inferred,
        };
        smallvec![
            step(Side::Local, SegmentFlags::FinAck, None),
            step(Side::Peer, SegmentFlags::Ack, None),
            step(Side::Peer, SegmentFlags::FinAck, Some(peer_fin)),
            step(Side::Local, SegmentFlags::Ack, Some(peer_fin)),
        ]
    }

    /// The peer closed first.
    pub(super) fn passive(&self, ending: Ending) -> (ClosePath, Steps) {
        let mut steps = Steps::new();
        if let Some(change) = self.peer_fin {
            steps.push(self.peer_fin_step(change, None));
        }
        let ack = self.ack_of_peer_fin(ending);
        if let Some(PeerFinAck::Apart { seq }) = ack {
            steps.push(Step {
                from: Side::Local,
                flags: SegmentFlags::Ack,
                seq: seq.and_then(|seq| self.local(seq)),
                ack: self
                    .peer_fin
                    .and_then(|change| self.peer(change.evidence?.rcv_nxt)),
                at: None,
                known: Known::Observed,
            });
        }
        if let Some(change) = self.fin {
            steps.extend(self.fin_step(change));
        }
        if ending == Ending::Orderly && self.last.old == TcpState::LastAck {
            steps.push(self.last_ack_step());
        }
        let path = match ack {
            _ if self.fin.is_none() || self.gap() => ClosePath::Unknown,
            Some(PeerFinAck::WithFin) => ClosePath::ThreeWay,
            Some(PeerFinAck::Apart { .. }) => ClosePath::FourWay,
            Some(PeerFinAck::Never) | None => ClosePath::Unknown,
        };
        (path, steps)
    }

    /// Returns whether the steps show how the peer's FIN was acknowledged, if one came.
    pub(super) fn knows_ack_of_peer_fin(&self, ending: Ending) -> bool {
        self.peer_fin.is_none() || self.ack_of_peer_fin(ending).is_some()
    }

    /// Returns how the ACK of the peer's FIN was sent: by the first segment after that FIN. The
    /// change that ended CLOSE_WAIT shows whether there was one. (A FIN or RST of this end is sent
    /// after its transition; SOCK_DESTROY's RST before.)
    fn ack_of_peer_fin(&self, ending: Ending) -> Option<PeerFinAck> {
        let came = self.peer_fin?.evidence?;
        let own_fin = self
            .fin
            .filter(|change| change.new == TcpState::LastAck && self.fin_left());
        let left = own_fin.unwrap_or(&self.last).evidence?;
        let own_reset = u32::from(ending == Ending::Destroyed && own_fin.is_none());
        let sent = left.segs_out.wrapping_sub(came.segs_out);
        if sent > own_reset {
            let repeats = left.retransmits != came.retransmits;
            let seq = (!repeats).then_some(came.snd_nxt);
            return Some(PeerFinAck::Apart { seq });
        }
        if own_fin.is_none() {
            return Some(PeerFinAck::Never);
        }
        if left.fin_leaves_at_once() {
            return Some(PeerFinAck::WithFin);
        }
        // The FIN waited, for the window or behind data that it may have left with. The number of
        // segments sent in all shows it.
        let end = self.last.evidence?;
        if end.retransmits != came.retransmits {
            return None;
        }
        let destroyed = u32::from(ending == Ending::Destroyed);
        let sent = end
            .segs_out
            .wrapping_sub(came.segs_out)
            .wrapping_sub(destroyed);
        let waiting = left.write_seq.wrapping_sub(left.snd_nxt);
        match sent {
            0 => None,
            1 => Some(PeerFinAck::WithFin),
            // The kernel may hand segments that follow each other to the network card as one (TSO).
            _ if waiting > (sent - 1).saturating_mul(TCP_MIN_MSS) => None,
            // The first may have been a probe of the window, with a number of its own.
            _ => Some(PeerFinAck::Apart { seq: None }),
        }
    }

    /// This end closed first.
    pub(super) fn active(&self, ending: Ending) -> (ClosePath, Steps) {
        let Some(fin) = self.fin else {
            return (ClosePath::Unknown, Steps::new());
        };
        if let Some(refused) = self.refused() {
            return (ClosePath::Unknown, self.refusal(fin, &refused));
        }
        let mut steps = Steps::new();
        if let Some(crossed) = self.crossed
            && self.was_overtaken()
        {
            return self.overtaken(fin, crossed, ending);
        }
        steps.extend(self.fin_step(fin));
        if let Some(crossed) = self.crossed {
            steps.push(self.peer_fin_step(crossed, None));
            // tcp_fin() sends the ACK before it enters CLOSING.
            steps.push(self.local_ack_step(crossed));
            if ending == Ending::Orderly {
                steps.push(self.last_ack_step());
            }
            return (ClosePath::Simultaneous, steps);
        }
        let Some(acked) = self.fin_acked else {
            return (ClosePath::Unknown, steps);
        };
        if let Some(at) = self.outcome.peer_fin() {
            steps.push(self.ack_of_fin_step(acked, None));
            // Only a FIN without data, with exactly the next number, turns the minisocket to
            // TIME_WAIT (tcp_timewait_state_process).
            let evidence = self.last.evidence.as_ref();
            let seq = evidence.and_then(|evidence| self.peer(evidence.rcv_nxt));
            let took = self.minisocket_segment();
            // All of this end's has been acknowledged: what the FIN acknowledges is what this end
            // sends next.
            let acked = took.map(|fin| fin.ack);
            let end = evidence.map(|evidence| evidence.snd_nxt).or(acked);
            let end = end.and_then(|end| self.local(end));
            let next = seq.map(|seq| seq.wrapping_add(1));
            let next = next.or(took.and_then(|fin| self.peer(fin.end)));
            let step = |from, flags, seq, ack| Step {
                from,
                flags,
                seq,
                ack,
                at: Some(at),
                known: if took.is_some() {
                    Known::Observed
                } else {
                    Known::Inferred
                },
            };
            steps.push(match took {
                Some(fin) => self.segment_step(&fin, Some(at)),
                None => step(Side::Peer, SegmentFlags::FinAck, seq, end),
            });
            steps.push(step(Side::Local, SegmentFlags::Ack, end, next));
            return (ClosePath::FourWay, steps);
        }
        let done = self.last.old == TcpState::FinWait2
            && self.last.evidence.is_some_and(|evidence| evidence.done);
        if !done || self.outcome != Outcome::Seen {
            steps.push(self.ack_of_fin_step(acked, None));
            return (ClosePath::Unknown, steps);
        }
        match self.one_segment_acked_and_closed(fin, acked) {
            Some(true) => {
                // The ACK was taken before the FIN in the same segment: rcv_nxt was still the
                // segment's own number.
                steps.push(
                    self.peer_fin_step(&self.last, acked.evidence.map(|evidence| evidence.rcv_nxt)),
                );
                steps.push(self.local_ack_step(&self.last));
                (ClosePath::ThreeWay, steps)
            }
            Some(false) => {
                steps.push(self.ack_of_fin_step(acked, Some(&self.last)));
                steps.push(self.peer_fin_step(&self.last, None));
                steps.push(self.local_ack_step(&self.last));
                (ClosePath::FourWay, steps)
            }
            None => (ClosePath::Unknown, steps),
        }
    }

    /// A closed socket took this end's FIN's ACK, perhaps, and refused what came with or after it.
    fn refusal(&self, fin: &StateChange, refused: &Segment) -> Steps {
        let mut steps: Steps = self.fin_step(fin).into_iter().collect();
        if let Some(acked) = self.fin_acked {
            match self.acked_by_refused(fin, acked) {
                Some(false) => steps.push(self.ack_of_fin_step(acked, None)),
                // One segment or two: the ACK has the same numbers.
                _ if !refused.fin => steps.push(self.segment_step(refused, Some(acked.at))),
                _ => {}
            }
        }
        if refused.fin {
            steps.push(self.segment_step(refused, Some(self.reset_at())));
        }
        steps
    }

    /// Returns whether the steps of a [`Self::refusal`] are complete: no other segment can have
    /// carried the peer's FIN or its ACK.
    pub(super) fn is_all(&self, refused: &Segment) -> bool {
        let in_order = self
            .last
            .evidence
            .is_some_and(|evidence| evidence.out_of_order == 0);
        let one_or_two = self
            .fin
            .zip(self.fin_acked)
            .map(|(fin, acked)| self.acked_by_refused(fin, acked));
        in_order && (!refused.fin || one_or_two != Some(None))
    }

    /// Returns whether the refused segment was the one that acknowledged this end's FIN.
    fn acked_by_refused(&self, fin: &StateChange, acked: &StateChange) -> Option<bool> {
        let closing = self.endpoint.closing.as_deref();
        let sent = closing.and_then(|closing| closing.reset_sent);
        if sent.is_some_and(|sent| sent.minisocket) {
            Some(false)
        } else {
            self.one_segment_acked_and_closed(fin, acked)
        }
    }

    /// Reconstructs a close in which the peer's FIN came before this end's could be sent: the peer
    /// closed first, although the states are those of an active close.
    fn overtaken(
        &self,
        fin: &StateChange,
        crossed: &StateChange,
        ending: Ending,
    ) -> (ClosePath, Steps) {
        let mut steps = smallvec![
            self.peer_fin_step(crossed, None),
            self.local_ack_step(crossed),
        ];
        if let Some(step) = self.fin_step(fin) {
            let ack = crossed
                .evidence
                .and_then(|evidence| self.peer(evidence.rcv_nxt));
            steps.push(Step {
                ack,
                at: None,
                ..step
            });
        }
        if ending == Ending::Orderly {
            steps.push(self.last_ack_step());
        }
        (ClosePath::FourWay, steps)
    }

    /// Returns whether the segment that acknowledged this end's FIN was the peer's FIN, too. A
    /// segment is counted in `segs_in` when it arrives, but in the backlog of a locked socket it is
    /// processed later. Two segments may wait there and appear as one, unless only one has come
    /// since this end's FIN.
    fn one_segment_acked_and_closed(&self, fin: &StateChange, acked: &StateChange) -> Option<bool> {
        let (before, acked, last) = (fin.evidence?, acked.evidence?, self.last.evidence?);
        if last.segs_in != acked.segs_in {
            return Some(false);
        }
        (!acked.owned || acked.segs_in.wrapping_sub(before.segs_in) == 1).then_some(true)
    }
}
