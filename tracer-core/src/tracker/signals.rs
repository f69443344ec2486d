//! What happens to sockets beside their transitions.

use super::Tracker;
use crate::close_path::MinisocketOutcome;
use crate::close_progress::{DroppedSegment, ResetSent};
use crate::event::{Segment, Signal, SignalKind};
use crate::live_endpoint::LiveEndpoint;
use crate::parked::ParkedEndpoint;
use crate::types::EndpointId;

impl Tracker {
    pub(super) fn signal(&mut self, signal: &Signal) {
        if let SignalKind::SegmentDropped { segment, reason } = signal.kind {
            let at = signal.at;
            let dropped = DroppedSegment {
                at,
                segment,
                reason,
            };
            if let Some(endpoint) = self.unreported(signal.id) {
                endpoint.note_dropped(dropped);
            }
            return;
        }
        self.recover_missed_end(signal);
        if self.apply_minisocket_signal(signal) {
            return;
        }
        let reset_sent = reset_sent(signal);
        if let Some(endpoint) = self.table.get_mut(signal.id) {
            let closing = endpoint.closing.get_or_insert_default();
            closing.reset_sent = reset_sent.or(closing.reset_sent);
            if signal.kind == SignalKind::ResetReceived {
                closing.reset_received = Some(signal.at);
            }
            closing.armed |= matches!(signal.kind, SignalKind::MinisocketArmed { .. });
            closing.fin_retransmits += u32::from(signal.kind == SignalKind::FinRetransmitted);
        } else if reset_sent.is_some()
            && let Some(awaiting) = self.awaiting_reset.get_mut(&signal.id)
        {
            let closing = awaiting.endpoint.closing.get_or_insert_default();
            closing.reset_sent = closing.reset_sent.or(reset_sent);
            // The drop of an answer follows; that of an abort has been reported before.
            let is_answer = reset_sent.is_some_and(|sent| sent.answers.is_some());
            let may_be_dropped = self.sees_drops && is_answer;
            if !may_be_dropped && let Some(awaiting) = self.awaiting_reset.remove(&signal.id) {
                self.end_wait_for_reset(awaiting, signal.at);
            }
        }
    }

    /// Returns an endpoint whose close is not reported yet, by the kernel's id of its socket.
    fn unreported(&mut self, id: EndpointId) -> Option<&mut LiveEndpoint> {
        if let Some(slot) = self.table.find(id) {
            return self.table.in_slot_mut(slot);
        }
        let closed = self.awaiting_reset.get_mut(&id);
        let closed = closed.map(|awaiting| &mut awaiting.endpoint);
        let parked = self.parked.get_mut(id).map(|parked| &mut parked.endpoint);
        let waiting = self.awaiting_peer.get_mut(id);
        closed.or(parked).or(waiting)
    }

    /// Applies a minisocket's signal to an endpoint that the table still has: the records of its
    /// close were missed.
    fn recover_missed_end(&mut self, signal: &Signal) {
        let (id, at) = (signal.id, signal.at);
        match signal.kind {
            // The FIN may have come again, to an endpoint that closed in any way.
            SignalKind::MinisocketSegment {
                time_wait: true, ..
            } => {
                if let Some(endpoint) = self.take_missed_end(id, at, false) {
                    self.report_close(endpoint, MinisocketOutcome::PeerFin(at));
                }
            }
            // It waited for the peer's FIN.
            SignalKind::MinisocketSegment { .. }
            | SignalKind::ResetSent {
                minisocket: true, ..
            } => {
                if let Some(endpoint) = self.take_missed_end(id, at, true) {
                    self.park(endpoint, at);
                }
            }
            _ => {}
        }
    }

    /// Applies a signal of a minisocket; returns `false` for a signal of a live socket.
    fn apply_minisocket_signal(&mut self, signal: &Signal) -> bool {
        let (id, at) = (signal.id, signal.at);
        if let Some(parked) = self.parked.get_mut(id) {
            if let Some(outcome) = fin_wait2_end(parked, signal, self.sees_segments)
                && let Some(parked) = self.parked.remove(id)
            {
                let by_local = matches!(outcome, MinisocketOutcome::ResetByLocal(_));
                if by_local && self.sees_drops {
                    self.await_reset(id, parked.endpoint, outcome, at);
                } else {
                    self.report_close(parked.endpoint, outcome);
                }
            }
            return true;
        }
        match signal.kind {
            SignalKind::MinisocketArmed { .. } if self.table.get(id).is_none() => {
                self.time_waits.armed(id, at);
            }
            SignalKind::MinisocketDescheduled => self.time_waits.descheduled(id, at),
            SignalKind::MinisocketKilled => {
                let ended = self.time_waits.killed(id, at);
                self.report_ended(ended);
            }
            SignalKind::MinisocketSegment { segment, .. } if segment.rst => {
                let ended = self.time_waits.assassinated(id, at);
                self.report_ended(ended);
            }
            // A FIN that comes again starts the timer anew; the hooks have reported that already.
            SignalKind::MinisocketSegment { .. } if !self.time_waits.hooked => {
                self.time_waits.armed(id, at);
            }
            SignalKind::MinisocketSegment { .. } => {}
            _ => return false,
        }
        true
    }
}

/// Returns how a parked endpoint ended, if this signal shows it. Where the segment that ends it is
/// seen, it follows the hooks at once, and shows more.
fn fin_wait2_end(
    parked: &mut ParkedEndpoint,
    signal: &Signal,
    sees_segments: bool,
) -> Option<MinisocketOutcome> {
    let at = signal.at;
    let closing = parked.endpoint.closing.get_or_insert_default();
    match signal.kind {
        // The peer sent data to it.
        SignalKind::ResetSent { .. } => {
            closing.reset_sent = reset_sent(signal);
            Some(MinisocketOutcome::ResetByLocal(at))
        }
        SignalKind::MinisocketSegment { segment, time_wait } if segment.rst => {
            // The FIN was missed that put it into TIME_WAIT.
            if time_wait {
                return Some(MinisocketOutcome::Unseen(at));
            }
            closing.minisocket_segment = Some(segment);
            Some(MinisocketOutcome::ResetByPeer(at))
        }
        SignalKind::MinisocketSegment { segment, time_wait } => {
            let evidence = closing.changes.last().and_then(|change| change.evidence);
            let is_next = |segment: &Segment| {
                evidence.is_none_or(|evidence| segment.end == evidence.tcp.rcv_nxt.wrapping_add(1))
            };
            if !time_wait || !is_next(&segment) {
                return None;
            }
            closing.minisocket_segment = Some(segment);
            Some(MinisocketOutcome::PeerFin(at))
        }
        SignalKind::MinisocketArmed { time_wait: true } if !sees_segments => {
            Some(MinisocketOutcome::PeerFin(at))
        }
        SignalKind::MinisocketDescheduled if !sees_segments => Some(MinisocketOutcome::Unseen(at)),
        SignalKind::MinisocketDescheduled => {
            parked.over = Some(at);
            None
        }
        SignalKind::MinisocketKilled if parked.over.is_none() => {
            Some(MinisocketOutcome::FinTimeout(at))
        }
        _ => None,
    }
}

fn reset_sent(signal: &Signal) -> Option<ResetSent> {
    match signal.kind {
        SignalKind::ResetSent {
            reason,
            answers,
            minisocket,
        } => Some(ResetSent {
            at: signal.at,
            kernel_reason: reason,
            answers,
            minisocket,
        }),
        _ => None,
    }
}
