//! Measures a close: segments, times, bytes.

use tcpclose_common::TcpState;

use super::facts::{CloseFacts, Ending, before};
use super::minisocket_outcome::MinisocketOutcome;
use crate::close_progress::StateChange;
use crate::errno::ECONNREFUSED;
use crate::event::Evidence;
use crate::finding::{Bytes, ClosePath, HalfClose, Reset, ResetReason, Side, StateDurations, Step};
use crate::kernel_timing::MAX_TICK;
use crate::types::Nanos;

impl CloseFacts<'_> {
    pub(super) fn segments(
        &self,
        path: ClosePath,
        reset: Option<&Reset>,
        steps: &[Step],
    ) -> Option<u32> {
        let reset_was_seen =
            steps.last().is_some_and(Step::is_reset) || self.dropped_reset(reset).is_some();
        let reason = reset.and_then(|reset| reset.reason);
        let complete = match path {
            ClosePath::Simultaneous if self.endpoint.tuple.is_of_one_endpoint() => steps.len() == 2,
            ClosePath::FourWay | ClosePath::Simultaneous => steps.len() == 4,
            ClosePath::ThreeWay => steps.len() == 3,
            // The data that was refused may have carried the peer's FIN.
            ClosePath::Reset if reason == Some(ResetReason::DataAfterClose) => {
                self.seen_from_established()
                    && self
                        .refused_segment()
                        .is_some_and(|refused| self.covers_all_segments(&refused))
            }
            ClosePath::Reset => {
                self.seen_from_established()
                    && self.last.evidence.is_some()
                    && self.knows_ack_of_peer_fin(Ending::Reset)
                    && !self.may_hold_an_ack()
            }
            // ICMP refuses a connect() in the same way as a RST whose record was lost, but is no
            // segment.
            ClosePath::ConnectFailed => self.last.evidence.is_some_and(|evidence| {
                evidence.tcp.error != ECONNREFUSED || evidence.tcp.segs_in == 0 || reset_was_seen
            }),
            ClosePath::Destroyed => {
                self.seen_from_established()
                    && reset_was_seen
                    && self.knows_ack_of_peer_fin(Ending::Destroyed)
            }
            ClosePath::Timeout | ClosePath::Unknown => false,
        };
        let repeated = self.endpoint.fin_retransmits();
        // What was sent again since the FIN must all be FINs that were seen to be: else one may
        // have been missed. A FIN that never left was not sent again either.
        let again = self
            .fin
            .and_then(|change| change.evidence)
            .zip(self.last.evidence);
        let all_seen = again.is_none_or(|(fin, end)| {
            let none_dropped = self.dropped_fins().next().is_none();
            end.tcp.retransmits.wrapping_sub(fin.tcp.retransmits) == repeated && none_dropped
                || !self.fin_was_sent()
        });
        // What waited in the backlog may have been segments of the close.
        let by_reset = matches!(path, ClosePath::Reset | ClosePath::Destroyed);
        let waited = self.fin.is_none() && self.peer_fin_waited_first();
        let unprocessed = (self.peer_may_have_begun() && !waited)
            || (by_reset && (self.fin_met_backlog() || self.abort_met_backlog()));
        (complete && all_seen && !unprocessed && !self.endpoint.has_gap())
            .then(|| steps.len() as u32 + repeated)
    }

    /// Returns whether the ACK of the local FIN may have come unnoticed: a process that aborts has
    /// the socket's lock, and segments that arrive meanwhile stay in its backlog.
    fn may_hold_an_ack(&self) -> bool {
        let fin = self.fin.and_then(|change| change.evidence);
        self.last.old == TcpState::FinWait1
            && fin.zip(self.last.evidence).is_some_and(|(fin, end)| {
                end.flags.lock_owned && end.tcp.error == 0 && end.tcp.segs_in != fin.tcp.segs_in
            })
    }

    /// Returns whether no part of the close came before the first change.
    fn seen_from_established(&self) -> bool {
        use TcpState::{Established, SynRecv, SynSent};
        matches!(self.first_old(), Established | SynRecv | SynSent)
    }

    /// Returns the states from ESTABLISHED on, or all states of a connection that was never
    /// established.
    pub(super) fn states(&self) -> StateDurations {
        let changes = self.endpoint.changes().iter();
        let mut states: StateDurations = changes.map(|change| (change.old, change.dwell)).collect();
        if let Some((TcpState::FinWait2, dwell)) = states.last_mut() {
            *dwell = match self.outcome {
                // Without evidence it is not known whether the wait ended here or went on in a
                // minisocket.
                MinisocketOutcome::SeenInTransitions if self.last.evidence.is_none() => None,
                MinisocketOutcome::SeenInTransitions => *dwell,
                MinisocketOutcome::Unseen(_) => None,
                MinisocketOutcome::PeerFin(end)
                | MinisocketOutcome::FinTimeout(end)
                | MinisocketOutcome::ResetByLocal(end)
                | MinisocketOutcome::ResetByPeer(end) => {
                    dwell.map(|dwell| dwell + (end - self.last.at))
                }
            };
        }
        states
    }

    /// Returns the application bytes: the sequence space in each direction, less SYN and FIN.
    pub(super) fn bytes(&self) -> Bytes {
        let evidence = self.last.evidence.as_ref();
        let Some(evidence) = evidence.filter(|_| !self.endpoint.initial.restored) else {
            return Bytes::default();
        };
        let received = evidence
            .tcp
            .bytes_received
            .saturating_sub(u64::from(evidence.flags.done));
        let sent = self.endpoint.initial.iss.get().map(|_| {
            let end = self.end_of_data(evidence);
            // One less than nothing when the FIN has been acknowledged.
            let in_flight = i64::from(end.wrapping_sub(evidence.tcp.snd_una) as i32);
            let acked = evidence
                .tcp
                .bytes_acked
                .saturating_sub(self.endpoint.initial.syn_in_bytes_acked.into());
            acked.saturating_add_signed(in_flight)
        });
        // A connection that never opened has at most a SYN in flight, which is no byte.
        let never_opened = matches!(self.last.old, TcpState::SynSent | TcpState::SynRecv);
        let sent = if never_opened { Some(0) } else { sent };
        Bytes {
            sent,
            received: Some(received),
        }
    }

    /// Returns the sequence number after the last byte that was sent: the FIN's, if the FIN was
    /// sent.
    pub(super) fn end_of_data(&self, end: &Evidence) -> u32 {
        let fin = self.fin.and_then(|change| change.evidence);
        let fin = fin.map(|at_fin| at_fin.tcp.write_seq);
        fin.filter(|fin| before(*fin, end.tcp.snd_nxt))
            .unwrap_or(end.tcp.snd_nxt)
    }

    /// Returns the time from the first FIN to the second, or to the end, and the bytes of that
    /// time. It is known only where it is known when the local FIN left, if it did.
    pub(super) fn half_close(&self, path: ClosePath, end: Nanos) -> Option<HalfClose> {
        let gave_up = matches!(path, ClosePath::ConnectFailed | ClosePath::Simultaneous);
        if gave_up || self.peer_may_have_begun() {
            return None;
        }
        if let Some(began) = self.peer_fin {
            return self.half_close_by_peer(began);
        }
        match self.crossed {
            Some(crossed) if self.peer_fin_came_first() => self.half_close_by_peer(crossed),
            _ => self.half_close_by_local(path, end),
        }
    }

    fn half_close_by_peer(&self, began: &StateChange) -> Option<HalfClose> {
        let until = match self.fin {
            Some(fin) if fin.evidence.is_none() => fin.at,
            Some(_) if self.fin_was_sent() => self.fin_left()?,
            _ => self.last.at,
        };
        let (before, end) = (began.evidence?, self.last.evidence?);
        // The FIN may have come earlier, and have waited for data in front of it.
        if before.tcp.out_of_order != 0 {
            return None;
        }
        let sent = self.end_of_data(&end).wrapping_sub(before.tcp.snd_nxt);
        (sent > 0).then(|| HalfClose {
            by: Side::Peer,
            lasted: until - began.at,
            bytes_sent: sent.into(),
            bytes_received: 0,
        })
    }

    fn half_close_by_local(&self, path: ClosePath, end: Nanos) -> Option<HalfClose> {
        let acked = self.fin_acked?;
        let began = self.fin_left()?;
        let (at_fin, after) = (self.fin?.evidence?, self.last.evidence?);
        let in_order = at_fin.tcp.out_of_order == after.tcp.out_of_order;
        if self.outcome == MinisocketOutcome::SeenInTransitions && !in_order {
            return None;
        }
        let received_before = if self.fin_time_is_known() {
            at_fin.tcp.rcv_nxt
        } else {
            received_before_fin(&at_fin, &acked.evidence?)?
        };
        let done = u32::from(after.flags.done);
        let received = after
            .tcp
            .rcv_nxt
            .wrapping_sub(received_before)
            .wrapping_sub(done);
        // With close() no process is left to read (SOCK_DEAD); after shutdown(SHUT_WR) the process
        // stays.
        let kept = acked.evidence.is_some_and(|evidence| !evidence.flags.dead)
            && path != ClosePath::ThreeWay
            && !self.may_be_three_way(path);
        (kept || received > 0).then(|| HalfClose {
            by: Side::Local,
            lasted: end - began,
            bytes_sent: 0,
            bytes_received: received.into(),
        })
    }
}

/// Returns `rcv_nxt` when a FIN left that had to wait, if what the socket shows when its process
/// closed it and when the peer has acknowledged the FIN proves it: either nothing came between the
/// two, or all that came did so before the FIN left.
fn received_before_fin(at_fin: &Evidence, acked: &Evidence) -> Option<u32> {
    let nothing_came = at_fin.tcp.rcv_nxt == acked.tcp.rcv_nxt;
    let came_before = || {
        let fin_and_tick = acked.since_fin_sent()? + MAX_TICK;
        Some(acked.since_received()? > fin_and_tick)
    };
    (nothing_came || came_before() == Some(true)).then_some(acked.tcp.rcv_nxt)
}
