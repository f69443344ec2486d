//! The closing segments, one by one.

use tcpclose_common::TcpState;

use super::dropped::next_seq;
use super::facts::{CloseFacts, before};
use super::minisocket_outcome::MinisocketOutcome;
use crate::close_progress::StateChange;
use crate::event::{Evidence, Segment, TcpFields};
use crate::finding::{Reset, ResetReason, SegmentFlags, Side, Step};
use crate::types::{Certainty, Nanos};

impl CloseFacts<'_> {
    /// Returns the FIN of the local side; `None` when there is no sign that it was ever sent (a
    /// closed window).
    pub(super) fn fin_step(&self, change: &StateChange) -> Option<Step> {
        let Some(evidence) = change.evidence else {
            return Some(inferred(
                Side::Local,
                SegmentFlags::FinAck,
                None,
                None,
                change.at,
            ));
        };
        if !self.fin_was_sent() {
            return None;
        }
        let number = evidence.tcp.write_seq;
        // Unsent data may take the FIN along in its last segment (tcp_send_fin), whose number is
        // then not known.
        let alone = evidence.tcp.snd_nxt == number;
        // A FIN that waited acknowledges what came meanwhile: its ACK number is sure only if that
        // did not move.
        let at_once = self.fin_left_at_once();
        let after = self.next_after(change);
        let settled = (at_once && evidence.tcp.snd_una == evidence.tcp.snd_nxt)
            || change.new == TcpState::LastAck
            || after.is_some_and(|after| {
                after.tcp.rcv_nxt.wrapping_sub(after.flags.done.into()) == evidence.tcp.rcv_nxt
            });
        Some(Step {
            from: Side::Local,
            flags: SegmentFlags::FinAck,
            seq: if alone { self.local(number) } else { None },
            ack: if settled {
                self.peer(evidence.tcp.rcv_nxt)
            } else {
                None
            },
            at: self.fin_left(),
            known: if self.dropped_fins().next().is_none() || self.fin_is_acknowledged() {
                Certainty::Observed
            } else {
                Certainty::Inferred
            },
        })
    }

    fn next_after(&self, change: &StateChange) -> Option<Evidence> {
        let mut changes = self.endpoint.changes().iter();
        changes
            .find(|next| next.at >= change.at && next.old == change.new)?
            .evidence
    }

    /// Returns the peer's FIN, received at `change`; its number is `rcv_nxt` - 1 unless data came
    /// with it. `start` is the number of its segment where that is known otherwise.
    pub(super) fn peer_fin_step(&self, change: &StateChange, start: Option<u32>) -> Step {
        let Some(evidence) = change.evidence else {
            return inferred(Side::Peer, SegmentFlags::FinAck, None, None, change.at);
        };
        let number = evidence.tcp.rcv_nxt.wrapping_sub(1);
        // What stood there at the last transition came before this segment.
        let earlier = self
            .fin_acked
            .or(self.fin)
            .filter(|earlier| earlier.at < change.at);
        let earlier = earlier.and_then(|change| change.evidence);
        let nothing_new = earlier.is_some_and(|before| before.tcp.rcv_nxt == number);
        let start =
            start.or_else(|| (evidence.flags.fin_without_data || nothing_new).then_some(number));
        Step {
            from: Side::Peer,
            flags: SegmentFlags::FinAck,
            seq: start.and_then(|start| self.peer(start)),
            // One that came before may have been dropped (an old timestamp).
            ack: self
                .local(evidence.tcp.snd_una)
                .filter(|_| !evidence.flags.fin_ack_differs && evidence.tcp.out_of_order == 0),
            at: Some(change.at),
            // A FIN that waited for a lost segment is seen when that arrives, under that segment's
            // ACK number.
            known: if evidence.tcp.out_of_order == 0 {
                Certainty::Observed
            } else {
                Certainty::Inferred
            },
        }
    }

    /// Returns whether the count of segments shows that tcp_fin() has sent no ACK before this
    /// change: without memory for it, it leaves that to a timer (__tcp_send_ack).
    fn lacks_ack_of_fin(&self, change: &StateChange) -> bool {
        let mut changes = self.endpoint.changes().iter();
        let before_it = changes.rfind(|earlier| earlier.new == change.old);
        let Some((earlier, now)) = before_it
            .and_then(|earlier| earlier.evidence)
            .zip(change.evidence)
        else {
            return false;
        };
        let since =
            |count: fn(&TcpFields) -> u32| count(&now.tcp).wrapping_sub(count(&earlier.tcp));
        // Its FIN follows the transition to FIN_WAIT1.
        let own_fin =
            change.old == TcpState::FinWait1 && before(earlier.tcp.write_seq, now.tcp.snd_nxt);
        let others = since(|tcp| tcp.retransmits) + u32::from(own_fin);
        since(|tcp| tcp.segs_out) <= others
    }

    /// Returns the local ACK of the peer's FIN, sent by tcp_fin() on the spot; `None` if this host
    /// dropped it or never sent it.
    pub(super) fn local_ack_step(&self, change: &StateChange) -> Option<Step> {
        let Some(evidence) = change.evidence else {
            let flags = SegmentFlags::Ack;
            return Some(inferred(Side::Local, flags, None, None, change.at));
        };
        if self.ack_was_dropped(evidence.tcp.rcv_nxt, change.at) || self.lacks_ack_of_fin(change) {
            return None;
        }
        Some(Step {
            from: Side::Local,
            flags: SegmentFlags::Ack,
            seq: next_seq(&evidence).and_then(|seq| self.local(seq)),
            ack: self.peer(evidence.tcp.rcv_nxt),
            at: Some(change.at),
            known: Certainty::Observed,
        })
    }

    /// Returns the peer's ACK of the local FIN. tcp_ack keeps its number as `snd_wl1`, before the
    /// transition.
    pub(super) fn ack_of_fin_step(
        &self,
        change: &StateChange,
        peer_fin: Option<&StateChange>,
    ) -> Step {
        let Some(evidence) = change.evidence else {
            return unread_ack(change);
        };
        // The segment that acknowledged the FIN may have carried data or a FIN that the closed
        // socket refused.
        let refused = match self.outcome {
            _ if peer_fin.is_some() || self.refused_segment().is_some() => false,
            MinisocketOutcome::SeenInTransitions => self
                .last
                .evidence
                .is_none_or(|last| last.tcp.segs_in == evidence.tcp.segs_in),
            MinisocketOutcome::ResetByLocal(_) => true,
            _ => false,
        };
        Step {
            from: Side::Peer,
            flags: SegmentFlags::Ack,
            seq: self.peer(evidence.tcp.snd_wl1),
            ack: self.local(evidence.tcp.snd_una),
            at: Some(change.at),
            known: if refused {
                Certainty::Inferred
            } else {
                Certainty::Observed
            },
        }
    }

    /// Returns the ACK that ended LAST_ACK or CLOSING. One with an earlier number than what follows
    /// the peer's FIN was a segment sent again, possibly that FIN.
    pub(super) fn last_ack_step(&self) -> Step {
        let Some(evidence) = self.last.evidence else {
            return unread_ack(&self.last);
        };
        Step {
            from: Side::Peer,
            flags: SegmentFlags::Ack,
            seq: self.peer(evidence.tcp.snd_wl1),
            ack: self.local(evidence.tcp.snd_una),
            at: Some(self.last.at),
            known: if evidence.tcp.snd_wl1 == evidence.tcp.rcv_nxt {
                Certainty::Observed
            } else {
                Certainty::Inferred
            },
        }
    }

    /// Returns the step of a segment of the peer that was seen itself.
    pub(super) fn segment_step(&self, segment: &Segment, at: Option<Nanos>) -> Step {
        Step {
            from: Side::Peer,
            flags: match (segment.rst, segment.fin, segment.has_ack) {
                (true, _, true) => SegmentFlags::RstAck,
                (true, _, false) => SegmentFlags::Rst,
                (false, true, _) => SegmentFlags::FinAck,
                (false, false, _) => SegmentFlags::Ack,
            },
            seq: self.peer(segment.seq),
            ack: self.local(segment.ack).filter(|_| segment.has_ack),
            at,
            known: Certainty::Observed,
        }
    }

    /// Returns the RST that ended the connection.
    pub(super) fn reset_step(&self, reset: &Reset) -> Step {
        match reset.by {
            Side::Local => self.local_reset(reset),
            Side::Peer => match self.endpoint.minisocket_segment() {
                Some(rst) => self.segment_step(&rst, Some(self.reset_at())),
                None => self.reset_by_peer(),
            },
        }
    }

    /// Returns when the RST was sent or received.
    pub(super) fn reset_at(&self) -> Nanos {
        let sent = self.endpoint.reset_sent().map(|sent| sent.at);
        let known = sent.or(self.endpoint.reset_received());
        known.or(self.outcome.at()).unwrap_or(self.last.at)
    }

    /// Returns the RST of this host: an abort (tcp_send_active_reset), or the answer to a segment
    /// (tcp_v4_send_reset): that has the number which the segment acknowledges, and no ACK.
    fn local_reset(&self, reset: &Reset) -> Step {
        let sent = self.endpoint.reset_sent();
        let evidence = self.last.evidence.as_ref();
        let (flags, seq, ack) = match sent.and_then(|sent| sent.answers) {
            Some(answered) if answered.has_ack => {
                (SegmentFlags::Rst, self.local(answered.ack), None)
            }
            Some(answered) => (SegmentFlags::RstAck, None, self.peer(answered.end)),
            // The answer comes after the transition.
            None if reset.reason == Some(ResetReason::DataAfterClose) => {
                (SegmentFlags::Rst, None, None)
            }
            None => (
                SegmentFlags::RstAck,
                evidence.and_then(next_seq).and_then(|seq| self.local(seq)),
                evidence.and_then(|evidence| self.peer(evidence.tcp.rcv_nxt)),
            ),
        };
        let guessed = seq.is_none() && ack.is_none();
        Step {
            from: Side::Local,
            flags,
            seq,
            ack,
            at: Some(self.reset_at()),
            known: if sent.is_some() && !guessed {
                Certainty::Observed
            } else {
                Certainty::Inferred
            },
        }
    }

    /// Returns the peer's RST, which tcp_reset() took. The socket does not keep its flags and
    /// numbers, so they are inferred: its number is the one that was expected
    /// (tcp_validate_incoming), and an abort, which carries an ACK, differs from the answer of a
    /// socket that is gone by its timestamp, where the connection uses them.
    fn reset_by_peer(&self) -> Step {
        let step = |flags, seq, ack| Step {
            from: Side::Peer,
            flags,
            seq,
            ack,
            at: Some(self.reset_at()),
            known: Certainty::Inferred,
        };
        // Only a RST with an acceptable ACK ends SYN_SENT (tcp_rcv_synsent_state_process). Its
        // sequence number is 0 on the wire; Wireshark calls the first number of a side that never
        // sent a SYN 1.
        if self.last.old == TcpState::SynSent {
            return step(SegmentFlags::RstAck, Some(1), Some(1));
        }
        let Some(evidence) = &self.last.evidence else {
            return step(SegmentFlags::RstAck, None, None);
        };
        let fin_came = self.peer_fin.is_some() || self.crossed.is_some();
        let all_acked = evidence.tcp.snd_una == evidence.tcp.snd_nxt;
        let aborts = if evidence.flags.timestamps {
            evidence.flags.saw_timestamp
        } else {
            // After the peer's FIN, data that it never acknowledged has likely met no socket any
            // more.
            !fin_came || all_acked
        };
        // Behind a hole, the number after all that has come is as good as the expected one
        // (tcp_validate_incoming, the right-most SACK block).
        let in_order = evidence.tcp.out_of_order == 0;
        let expected = self.peer(evidence.tcp.rcv_nxt).filter(|_| in_order);
        if aborts {
            // It acknowledges all that has come, which is all that was sent where nothing is on its
            // way.
            let acked = self.local(evidence.tcp.snd_una).filter(|_| all_acked);
            step(SegmentFlags::RstAck, expected, acked)
        } else {
            // After its FIN a RST on either side of the FIN's number is taken (tcp_reset_check):
            // what it answers may have crossed the FIN.
            let seq = expected.filter(|_| !fin_came);
            step(SegmentFlags::Rst, seq, None)
        }
    }
}

/// Returns an ACK of the peer of which only the state change is known: no numbers.
fn unread_ack(change: &StateChange) -> Step {
    let step = inferred(Side::Peer, SegmentFlags::Ack, None, None, change.at);
    let at = step.at.filter(|_| !change.missed);
    Step { at, ..step }
}

pub(super) fn inferred(
    from: Side,
    flags: SegmentFlags,
    seq: Option<u32>,
    ack: Option<u32>,
    at: Nanos,
) -> Step {
    Step {
        from,
        flags,
        seq,
        ack,
        at: Some(at),
        known: Certainty::Inferred,
    }
}
