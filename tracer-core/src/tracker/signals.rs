//! What happens to sockets beside their transitions.

use super::Tracker;
use crate::close_path::Outcome;
use crate::event::{Segment, Signal, SignalKind};
use crate::live_endpoint::ResetSent;
use crate::orphan::Orphan;

impl Tracker {
    pub(super) fn signal(&mut self, signal: &Signal) {
        self.unpark(signal);
        if self.minisocket(signal) {
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
            && let Some(mut endpoint) = self.awaiting_reset.remove(&signal.id)
        {
            endpoint.closing.get_or_insert_default().reset_sent = reset_sent;
            self.conclude(endpoint, signal.at);
        }
    }

    /// A minisocket of an end that is thought to live: the records of its end were missed.
    fn unpark(&mut self, signal: &Signal) {
        let (id, at) = (signal.id, signal.at);
        match signal.kind {
            // The FIN may have come again, to an end that closed in any way.
            SignalKind::MinisocketSegment {
                time_wait: true, ..
            } => {
                if let Some(mut endpoint) = self.take_missed(id, at) {
                    endpoint.miss_end(at, false);
                    self.emit(&endpoint, Outcome::PeerFin(at));
                }
            }
            // It waited for the peer's FIN.
            SignalKind::MinisocketSegment { .. }
            | SignalKind::ResetSent {
                minisocket: true, ..
            } => {
                if let Some(mut endpoint) = self.take_missed(id, at) {
                    endpoint.miss_end(at, true);
                    self.park(endpoint, at);
                }
            }
            _ => {}
        }
    }

    /// Takes a signal of a minisocket; false when it is of a socket that lives.
    fn minisocket(&mut self, signal: &Signal) -> bool {
        let (id, at) = (signal.id, signal.at);
        if let Some(orphan) = self.orphans.get_mut(id) {
            if let Some(outcome) = outcome(orphan, signal, self.sees_segments)
                && let Some(orphan) = self.orphans.remove(id)
            {
                self.emit(&orphan.endpoint, outcome);
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
fn outcome(orphan: &mut Orphan, signal: &Signal, sees_segments: bool) -> Option<Outcome> {
    let at = signal.at;
    let closing = orphan.endpoint.closing.get_or_insert_default();
    match signal.kind {
        // The peer sent data to it.
        SignalKind::ResetSent { .. } => {
            closing.reset_sent = reset_sent(signal);
            Some(Outcome::ResetByUs(at))
        }
        SignalKind::MinisocketSegment { segment, time_wait } if segment.rst => {
            // The FIN was missed that put it into TIME_WAIT.
            if time_wait {
                return Some(Outcome::Lost(at));
            }
            closing.minisocket_segment = Some(segment);
            Some(Outcome::ResetByPeer(at))
        }
        SignalKind::MinisocketSegment { segment, time_wait } => {
            let evidence = closing.changes.last().and_then(|change| change.evidence);
            let is_next = |segment: &Segment| {
                evidence.is_none_or(|evidence| segment.end == evidence.rcv_nxt.wrapping_add(1))
            };
            if !time_wait || !is_next(&segment) {
                return None;
            }
            closing.minisocket_segment = Some(segment);
            Some(Outcome::PeerFin(at))
        }
        SignalKind::MinisocketArmed { time_wait: true } if !sees_segments => {
            Some(Outcome::PeerFin(at))
        }
        SignalKind::MinisocketDescheduled if !sees_segments => Some(Outcome::Lost(at)),
        SignalKind::MinisocketDescheduled => {
            orphan.over = Some(at);
            None
        }
        SignalKind::MinisocketKilled if orphan.over.is_none() => Some(Outcome::FinTimeout(at)),
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
