//! The closing segments, one by one.

use tcpclose_common::TcpState;

use super::{Fate, Story};
use crate::lifecycle::connection::{Mark, SAME_MOMENT};
use crate::lifecycle::event::Evidence;
use crate::lifecycle::finding::{Reset, ResetReason, SegmentFlags, Side, Step};
use crate::lifecycle::types::{Known, Nanos};

impl Story<'_> {
    /// This end's FIN. `None` when there is no sign that it was ever sent (a closed window).
    pub(super) fn fin_step(&self, mark: &Mark) -> Option<Step> {
        let Some(evidence) = mark.evidence else {
            return Some(inferred(
                Side::Local,
                SegmentFlags::FinAck,
                None,
                None,
                mark.at,
            ));
        };
        if !self.fin_left() {
            return None;
        }
        let number = evidence.write_seq;
        // Unsent data may take the FIN along in its last segment (tcp_send_fin), whose number is then not known.
        let alone = evidence.snd_nxt == number;
        // A FIN that waited acknowledges what came meanwhile: its ACK number is sure only if that did not move.
        let at_once = evidence.fin_leaves_at_once();
        let after = self.next_after(mark);
        let settled = (at_once && evidence.snd_una == evidence.snd_nxt)
            || mark.new == TcpState::LastAck
            || after.is_some_and(|after| {
                after.rcv_nxt.wrapping_sub(after.done.into()) == evidence.rcv_nxt
            });
        Some(Step {
            from: Side::Local,
            flags: SegmentFlags::FinAck,
            seq: if alone { self.local(number) } else { None },
            ack: if settled {
                self.peer(evidence.rcv_nxt)
            } else {
                None
            },
            at: at_once.then_some(mark.at),
            known: Known::Observed,
        })
    }

    fn next_after(&self, mark: &Mark) -> Option<Evidence> {
        let marks = &self.connection.closing.as_ref()?.marks;
        marks
            .iter()
            .find(|next| next.at >= mark.at && next.old == mark.new)?
            .evidence
    }

    /// The peer's FIN, received at `mark`; its number is `rcv_nxt` - 1 unless data came with it. `start` is the number
    /// of its segment where that is known otherwise.
    pub(super) fn peer_fin_step(&self, mark: &Mark, start: Option<u32>) -> Step {
        let Some(evidence) = mark.evidence else {
            return inferred(Side::Peer, SegmentFlags::FinAck, None, None, mark.at);
        };
        let number = evidence.rcv_nxt.wrapping_sub(1);
        // What stood there at the last transition came before this segment.
        let earlier = self
            .fin_acked
            .or(self.fin)
            .filter(|earlier| earlier.at < mark.at);
        let earlier = earlier.and_then(|mark| mark.evidence);
        let nothing_new = earlier.is_some_and(|before| before.rcv_nxt == number);
        let start = start.or_else(|| (evidence.fin_alone || nothing_new).then_some(number));
        Step {
            from: Side::Peer,
            flags: SegmentFlags::FinAck,
            seq: start.and_then(|start| self.peer(start)),
            ack: self.local(evidence.snd_una),
            at: Some(mark.at),
            // A FIN that waited for a lost segment is seen when that arrives, under that segment's ACK number.
            known: if evidence.out_of_order == 0 {
                Known::Observed
            } else {
                Known::Inferred
            },
        }
    }

    /// This end's ACK of the peer's FIN, sent by tcp_fin() on the spot.
    pub(super) fn local_ack_step(&self, mark: &Mark) -> Step {
        let Some(evidence) = mark.evidence else {
            return inferred(Side::Local, SegmentFlags::Ack, None, None, mark.at);
        };
        Step {
            from: Side::Local,
            flags: SegmentFlags::Ack,
            seq: self.local(evidence.snd_nxt),
            ack: self.peer(evidence.rcv_nxt),
            at: Some(mark.at),
            known: Known::Observed,
        }
    }

    /// The peer's ACK of this end's FIN. tcp_ack keeps its number as `snd_wl1`, before the transition.
    pub(super) fn ack_of_fin_step(&self, mark: &Mark, peer_fin: Option<&Mark>) -> Step {
        let Some(evidence) = mark.evidence else {
            return inferred(Side::Peer, SegmentFlags::Ack, None, None, mark.at);
        };
        // The segment that acknowledged the FIN may have carried data or a FIN that the closed socket refused.
        let refused = match self.fate {
            _ if peer_fin.is_some() => false,
            Fate::Told => self
                .last
                .evidence
                .is_none_or(|last| last.segs_in == evidence.segs_in),
            Fate::ResetByUs(at) => at - self.last.at <= SAME_MOMENT,
            _ => false,
        };
        Step {
            from: Side::Peer,
            flags: SegmentFlags::Ack,
            seq: self.peer(evidence.snd_wl1),
            ack: self.local(evidence.snd_una),
            at: Some(mark.at),
            known: if refused {
                Known::Inferred
            } else {
                Known::Observed
            },
        }
    }

    /// The ACK that ended LAST_ACK or CLOSING. One with an earlier number than what follows the peer's FIN was a segment
    /// sent again, perhaps that FIN.
    pub(super) fn last_ack_step(&self) -> Step {
        let Some(evidence) = self.last.evidence else {
            return inferred(Side::Peer, SegmentFlags::Ack, None, None, self.last.at);
        };
        Step {
            from: Side::Peer,
            flags: SegmentFlags::Ack,
            seq: self.peer(evidence.snd_wl1),
            ack: self.local(evidence.snd_una),
            at: Some(self.last.at),
            known: if evidence.snd_wl1 == evidence.rcv_nxt {
                Known::Observed
            } else {
                Known::Inferred
            },
        }
    }

    /// The RST that ended it.
    pub(super) fn reset_step(&self, reset: &Reset) -> Step {
        let evidence = self.last.evidence.as_ref();
        let (sent, received) = (
            evidence.and_then(|evidence| self.local(evidence.snd_nxt)),
            evidence.and_then(|evidence| self.peer(evidence.rcv_nxt)),
        );
        let at = Some(self.fate.at().unwrap_or(self.last.at));
        let closing = self.connection.closing.as_deref();
        match reset.by {
            Side::Local => {
                // tcp_send_active_reset, or the answer to a segment, which has no ACK and comes after the transition.
                let sent_at = closing
                    .and_then(|closing| closing.reset_sent)
                    .map(|sent| sent.at);
                let answers = reset.reason == Some(ResetReason::DataAfterClose)
                    && sent_at.is_some_and(|sent| sent >= self.last.at);
                Step {
                    from: Side::Local,
                    flags: if answers {
                        SegmentFlags::Rst
                    } else {
                        SegmentFlags::RstAck
                    },
                    seq: if answers { None } else { sent },
                    ack: if answers { None } else { received },
                    at: sent_at.or(at),
                    known: match sent_at {
                        Some(_) if !answers => Known::Observed,
                        _ => Known::Inferred,
                    },
                }
            }
            // Only a RST with an acceptable ACK ends SYN_SENT (tcp_rcv_synsent_state_process). Its sequence number is 0
            // on the wire; Wireshark calls the first number of a side that never sent a SYN 1.
            Side::Peer if self.last.old == TcpState::SynSent => Step {
                from: Side::Peer,
                flags: SegmentFlags::RstAck,
                seq: Some(1),
                ack: Some(1),
                at,
                known: Known::Inferred,
            },
            // An abort carries an ACK, the answer of a socket that is gone does not; the kernel does not tell which
            // one it took. After the peer's FIN, data that it never acknowledged has likely met no socket any more.
            Side::Peer => {
                let unanswered =
                    evidence.is_some_and(|evidence| evidence.snd_una != evidence.snd_nxt);
                let answers = self.peer_fin.is_some() && unanswered;
                Step {
                    from: Side::Peer,
                    flags: if answers {
                        SegmentFlags::Rst
                    } else {
                        SegmentFlags::RstAck
                    },
                    // A RST on either side of the FIN's number is taken (tcp_reset_check).
                    seq: if self.peer_fin.is_some() {
                        None
                    } else {
                        received
                    },
                    ack: None,
                    at: closing.and_then(|closing| closing.reset_received).or(at),
                    known: Known::Inferred,
                }
            }
        }
    }
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
        known: Known::Inferred,
    }
}
