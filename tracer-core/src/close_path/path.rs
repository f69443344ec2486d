//! Finds the path of a close, for the side that closed second and for the one that closed first.

use smallvec::smallvec;
use tcpclose_common::TcpState;

use super::dropped::{may_probe_window, next_seq};
use super::facts::{CloseFacts, Ending};
use super::minisocket_outcome::MinisocketOutcome;
use crate::close_progress::StateChange;
use crate::finding::{ClosePath, SegmentFlags, Side, Step, Steps};
use crate::types::{Certainty, Nanos};

/// `TCP_MIN_MSS` of include/net/tcp.h: no full segment carries fewer bytes.
const TCP_MIN_MSS: u32 = 88;

/// How this host acknowledged the peer's FIN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PeerFinAck {
    /// By its own FIN.
    WithFin,
    /// By an earlier segment, which began with this number where that is known.
    Separate { seq: Option<u32> },
    /// Not at all: the close was over before.
    Never,
}

impl CloseFacts<'_> {
    /// Returns the path and the segments of the close, but for a RST.
    pub(super) fn path(&self, ending: Ending) -> (ClosePath, Steps) {
        // If the last transition was missed, others may have been, too.
        let never_opened = self.endpoint.opened.get().is_none()
            && matches!(self.last.old, TcpState::SynSent | TcpState::SynRecv)
            && !self.last.missed;
        let was_in_fin_wait2 = !self.endpoint.has_gap() || self.last.old == TcpState::FinWait2;
        if let (Some(at), None, true) = (self.outcome.peer_fin(), self.fin, was_in_fin_wait2) {
            // The socket was in its minisocket already when the tracer came, or when a snapshot
            // showed it: FIN and ACK had gone both ways.
            return (ClosePath::FourWay, self.unseen_four_way(at));
        }
        let (orderly, mut steps) =
            if self.peer_fin.is_some() || self.first_old() == TcpState::CloseWait {
                self.passive_close(ending)
            } else if self.fin.is_some() {
                self.active_close(ending)
            } else if self.first_old() == TcpState::Closing {
                (ClosePath::Simultaneous, Steps::new())
            } else {
                (
                    ClosePath::Unknown,
                    self.waiting_fin_step().into_iter().collect(),
                )
            };
        self.reorder_delayed_fin(&mut steps);
        let path = match ending {
            Ending::Orderly if self.peer_may_have_begun() => ClosePath::Unknown,
            _ if never_opened => ClosePath::ConnectFailed,
            Ending::Orderly => orderly,
            Ending::Reset => ClosePath::Reset,
            Ending::Timeout => ClosePath::Timeout,
            Ending::Destroyed => ClosePath::Destroyed,
            Ending::Unknown => ClosePath::Unknown,
        };
        (path, steps)
    }

    /// Returns the four segments of a close of which only the last part was seen.
    pub(super) fn unseen_four_way(&self, peer_fin: Nanos) -> Steps {
        let step = |from: Side, flags: SegmentFlags, at: Option<Nanos>| Step {
            from,
            flags,
            seq: None,
            ack: None,
            at,
            known: Certainty::Inferred,
        };
        smallvec![
            step(Side::Local, SegmentFlags::FinAck, None),
            step(Side::Peer, SegmentFlags::Ack, None),
            step(Side::Peer, SegmentFlags::FinAck, Some(peer_fin)),
            step(Side::Local, SegmentFlags::Ack, Some(peer_fin)),
        ]
    }

    /// Returns path and segments of a close that the peer began.
    pub(super) fn passive_close(&self, ending: Ending) -> (ClosePath, Steps) {
        let mut steps = Steps::new();
        if let Some(change) = self.peer_fin {
            steps.push(self.peer_fin_step(change, None));
        }
        let ack = self.ack_of_peer_fin(ending);
        if let Some(PeerFinAck::Separate { seq }) = ack {
            steps.push(Step {
                from: Side::Local,
                flags: SegmentFlags::Ack,
                seq: seq.and_then(|seq| self.local(seq)),
                ack: self
                    .peer_fin
                    .and_then(|change| self.peer(change.evidence?.tcp.rcv_nxt)),
                at: None,
                known: Certainty::Observed,
            });
        }
        if let Some(change) = self.fin {
            steps.extend(self.fin_step(change));
        }
        if ending == Ending::Orderly && self.last.old == TcpState::LastAck {
            steps.push(self.last_ack_step());
        }
        let path = match ack {
            _ if self.fin.is_none() || self.endpoint.has_gap() => ClosePath::Unknown,
            Some(PeerFinAck::WithFin) => ClosePath::ThreeWay,
            Some(PeerFinAck::Separate { .. }) => ClosePath::FourWay,
            Some(PeerFinAck::Never) | None => ClosePath::Unknown,
        };
        (path, steps)
    }

    /// Returns whether the steps show how the peer's FIN was acknowledged, if one came.
    pub(super) fn knows_ack_of_peer_fin(&self, ending: Ending) -> bool {
        self.peer_fin.is_none() || self.ack_of_peer_fin(ending).is_some()
    }

    /// Returns how the ACK of the peer's FIN was sent: by the first segment after that FIN. The
    /// change that ended CLOSE_WAIT shows whether there was one. (A FIN or RST of this host is sent
    /// after its transition; SOCK_DESTROY's RST before.)
    fn ack_of_peer_fin(&self, ending: Ending) -> Option<PeerFinAck> {
        let peer_fin = self.peer_fin?;
        let came = peer_fin.evidence?;
        let own_fin = self
            .fin
            .filter(|change| change.new == TcpState::LastAck && self.fin_was_sent());
        let leaving = own_fin.unwrap_or(&self.last);
        let left = leaving.evidence?;
        let own_reset = u32::from(ending == Ending::Destroyed && own_fin.is_none());
        let dropped = self.dropped_acks(peer_fin.at, leaving.at)?;
        let sent = left.tcp.segs_out.wrapping_sub(came.tcp.segs_out);
        if sent > own_reset + dropped {
            let repeats = left.tcp.retransmits != came.tcp.retransmits;
            let may_probe = may_probe_window(&came) || may_probe_window(&left);
            let seq = next_seq(&came).filter(|_| !repeats && !may_probe && dropped == 0);
            return Some(PeerFinAck::Separate { seq });
        }
        if own_fin.is_none() {
            return Some(PeerFinAck::Never);
        }
        if left.fin_leaves_at_once() {
            // Where IP did not take it, an ACK may have left before it.
            return self.fin_left_at_once().then_some(PeerFinAck::WithFin);
        }
        // The FIN waited, for the window or behind data that it may have left with. The number of
        // segments sent in all shows it.
        let end = self.last.evidence?;
        // What comes again or in another order is answered with an ACK each.
        if end.tcp.retransmits != came.tcp.retransmits || end.tcp.out_of_order != 0 {
            return None;
        }
        let destroyed = u32::from(ending == Ending::Destroyed);
        if !self.endpoint.dropped().is_empty() {
            return None;
        }
        let sent = end
            .tcp
            .segs_out
            .wrapping_sub(came.tcp.segs_out)
            .wrapping_sub(destroyed);
        let waiting = left.tcp.write_seq.wrapping_sub(left.tcp.snd_nxt);
        match sent {
            0 => None,
            1 => Some(PeerFinAck::WithFin),
            // The kernel may hand segments that follow each other to the network card as one (TSO).
            _ if waiting > (sent - 1).saturating_mul(TCP_MIN_MSS) => None,
            // The first may have been a probe of the window, with a number of its own.
            _ => Some(PeerFinAck::Separate { seq: None }),
        }
    }

    /// Returns whether the peer's FIN was acknowledged by no segment before the local FIN, as far
    /// as the changes up to that show it.
    pub(super) fn acks_with_fin(&self) -> Option<bool> {
        let fin = self.fin.filter(|fin| fin.new == TcpState::LastAck)?;
        let peer_fin = self.peer_fin?;
        let (came, left) = (peer_fin.evidence?, fin.evidence?);
        let dropped = self.dropped_acks(peer_fin.at, fin.at)?;
        let sent = left.tcp.segs_out.wrapping_sub(came.tcp.segs_out);
        if sent > dropped {
            return Some(false);
        }
        // An ACK may leave before one that waits; what leaves before it with data is no such ACK.
        let tried_once = self.fin_left_at_once() || !left.fin_leaves_at_once();
        let at_once = left.all_leaves_surely() && tried_once;
        (at_once && self.dropped_fins().next().is_none()).then_some(true)
    }

    /// Returns path and segments of a close that this host began.
    pub(super) fn active_close(&self, ending: Ending) -> (ClosePath, Steps) {
        let Some(fin) = self.fin else {
            return (ClosePath::Unknown, Steps::new());
        };
        if let Some(refused) = self.refused_segment() {
            return (
                ClosePath::Unknown,
                self.refused_segment_steps(fin, &refused),
            );
        }
        let mut steps = Steps::new();
        if let Some(crossed) = self.crossed
            && self.peer_fin_came_first()
        {
            return self.peer_fin_first_steps(fin, crossed, ending);
        }
        steps.extend(self.fin_step(fin));
        if let Some(crossed) = self.crossed {
            steps.push(self.peer_fin_step(crossed, None));
            // tcp_fin() sends the ACK before it enters CLOSING.
            steps.extend(self.local_ack_step(crossed));
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
            let seq = evidence.and_then(|evidence| self.peer(evidence.tcp.rcv_nxt));
            let took = self.endpoint.minisocket_segment();
            // All that this host sent has been acknowledged: what the FIN acknowledges is what this
            // host sends next.
            let acked = took.map(|fin| fin.ack);
            let end = evidence.map(|evidence| evidence.tcp.snd_nxt).or(acked);
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
                    Certainty::Observed
                } else {
                    Certainty::Inferred
                },
            };
            steps.push(match took {
                Some(fin) => self.segment_step(&fin, Some(at)),
                None => step(Side::Peer, SegmentFlags::FinAck, seq, end),
            });
            let behind = evidence.map(|evidence| evidence.tcp.rcv_nxt.wrapping_add(1));
            let behind = behind.or(took.map(|fin| fin.end));
            if !behind.is_some_and(|behind| self.ack_was_dropped(behind, at)) {
                steps.push(step(Side::Local, SegmentFlags::Ack, end, next));
            }
            return (ClosePath::FourWay, steps);
        }
        let done = self.last.old == TcpState::FinWait2
            && self
                .last
                .evidence
                .is_some_and(|evidence| evidence.flags.done);
        if !done || self.outcome != MinisocketOutcome::SeenInTransitions {
            steps.push(self.ack_of_fin_step(acked, None));
            return (ClosePath::Unknown, steps);
        }
        match self.one_segment_acked_and_closed(fin, acked) {
            Some(true) => {
                // The ACK was taken before the FIN in the same segment: rcv_nxt was still the
                // segment's own number.
                steps.push(self.peer_fin_step(
                    &self.last,
                    acked.evidence.map(|evidence| evidence.tcp.rcv_nxt),
                ));
                steps.extend(self.local_ack_step(&self.last));
                let path = if self.may_miss_ack {
                    ClosePath::Unknown
                } else {
                    ClosePath::ThreeWay
                };
                (path, steps)
            }
            Some(false) => {
                steps.push(self.ack_of_fin_step(acked, Some(&self.last)));
                steps.push(self.peer_fin_step(&self.last, None));
                steps.extend(self.local_ack_step(&self.last));
                (ClosePath::FourWay, steps)
            }
            None => (ClosePath::Unknown, steps),
        }
    }

    /// Returns the peer's FIN that waited behind a hole when the connection was reset. Its numbers
    /// are not known.
    fn waiting_fin_step(&self) -> Option<Step> {
        self.peer_fin_waited_first().then_some(Step {
            from: Side::Peer,
            flags: SegmentFlags::FinAck,
            seq: None,
            ack: None,
            at: None,
            known: Certainty::Inferred,
        })
    }

    /// Moves the peer's FIN to where it arrived, if it waited behind a hole meanwhile: before this
    /// host's FIN or before the ACK of that, whichever was the first to find it waiting.
    fn reorder_delayed_fin(&self, steps: &mut Steps) {
        let waits = |change: &StateChange| {
            let evidence = change.evidence;
            evidence.is_some_and(|evidence| evidence.flags.fin_out_of_order)
        };
        let Some(met) = self.endpoint.changes().iter().find(|change| waits(change)) else {
            return;
        };
        let find = |from: Side, flags: SegmentFlags| {
            let mut steps = steps.iter();
            steps.position(|step| step.from == from && step.flags == flags)
        };
        let place = match met.new {
            TcpState::FinWait1 => find(Side::Local, SegmentFlags::FinAck),
            TcpState::FinWait2 => find(Side::Peer, SegmentFlags::Ack),
            _ => None,
        };
        let arrived = find(Side::Peer, SegmentFlags::FinAck);
        if let (Some(place), Some(arrived)) = (place, arrived)
            && place < arrived
        {
            let fin = &mut steps[arrived];
            // It acknowledges nothing that left later, and one that was seen itself came again.
            let came_again = fin.known == Certainty::Observed;
            *fin = Step {
                seq: fin.seq.filter(|_| !came_again),
                ack: None,
                at: None,
                known: Certainty::Inferred,
                ..*fin
            };
            steps[place..=arrived].rotate_right(1);
        }
    }

    /// Reconstructs a close in which the peer's FIN came before the local FIN could be sent: the
    /// peer closed first, although the states are those of an active close.
    fn peer_fin_first_steps(
        &self,
        fin: &StateChange,
        crossed: &StateChange,
        ending: Ending,
    ) -> (ClosePath, Steps) {
        let mut steps = smallvec![self.peer_fin_step(crossed, None)];
        steps.extend(self.local_ack_step(crossed));
        if let Some(step) = self.fin_step(fin) {
            let ack = crossed
                .evidence
                .and_then(|evidence| self.peer(evidence.tcp.rcv_nxt));
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

    /// Returns whether a path is unknown because the peer may have acknowledged the local FIN by a
    /// segment before its own.
    pub(super) fn may_be_three_way(&self, path: ClosePath) -> bool {
        let acked = self.fin.zip(self.fin_acked);
        path == ClosePath::Unknown
            && self.may_miss_ack
            && self.outcome == MinisocketOutcome::SeenInTransitions
            && acked.and_then(|(fin, acked)| self.one_segment_acked_and_closed(fin, acked))
                == Some(true)
    }

    /// Returns whether the segment that acknowledged the local FIN was the peer's FIN, too. A
    /// segment is counted in `segs_in` when it arrives, but in the backlog of a locked socket it is
    /// processed later. Two segments may wait there and appear as one, unless only one has come
    /// since the local FIN.
    pub(super) fn one_segment_acked_and_closed(
        &self,
        fin: &StateChange,
        acked: &StateChange,
    ) -> Option<bool> {
        let (before, acked, last) = (fin.evidence?, acked.evidence?, self.last.evidence?);
        // The FIN may have come with the ACK, and have waited for data before it.
        if last.tcp.out_of_order != acked.tcp.out_of_order {
            return None;
        }
        if last.tcp.segs_in != acked.tcp.segs_in {
            return Some(false);
        }
        (!acked.flags.lock_owned || acked.tcp.segs_in.wrapping_sub(before.tcp.segs_in) == 1)
            .then_some(true)
    }
}
