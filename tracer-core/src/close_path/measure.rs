//! Measures a close: segments, times, bytes.

use tcpclose_common::TcpState;

use super::{Ending, Outcome, Reconstruction, before};
use crate::event::Evidence;
use crate::finding::{Bytes, ClosePath, HalfClose, ResetReason, Side, States, Step};
use crate::types::Nanos;

impl Reconstruction<'_> {
    pub(super) fn segments(
        &self,
        path: ClosePath,
        reset: Option<ResetReason>,
        steps: &[Step],
    ) -> Option<u32> {
        let complete = match path {
            ClosePath::FourWay | ClosePath::Simultaneous => steps.len() == 4,
            ClosePath::ThreeWay => steps.len() == 3,
            // The data that was refused may have carried the peer's FIN.
            ClosePath::Reset if reset == Some(ResetReason::DataAfterClose) => {
                self.seen_whole() && self.refused().is_some_and(|refused| self.is_all(&refused))
            }
            ClosePath::Reset => {
                self.seen_whole()
                    && self.last.evidence.is_some()
                    && self.knows_ack_of_peer_fin(Ending::Reset)
                    && !self.may_hold_an_ack()
            }
            ClosePath::ConnectFailed => self.last.evidence.is_some(),
            ClosePath::Destroyed => {
                self.seen_whole()
                    && steps.last().is_some_and(Step::is_reset)
                    && self.knows_ack_of_peer_fin(Ending::Destroyed)
            }
            ClosePath::Timeout | ClosePath::Unknown => false,
        };
        let closing = self.endpoint.closing.as_deref();
        let repeated = closing.map_or(0, |closing| closing.fin_retransmits);
        // What was sent again since the FIN must all be FINs that were seen to be: else one may
        // have been missed.
        let again = self
            .fin
            .and_then(|change| change.evidence)
            .zip(self.last.evidence);
        let all_seen = again
            .is_none_or(|(fin, end)| end.retransmits.wrapping_sub(fin.retransmits) == repeated);
        (complete && all_seen && !self.gap()).then(|| steps.len() as u32 + repeated)
    }

    /// Returns whether the ACK of this end's FIN may have come unnoticed: a process that aborts has
    /// the socket's lock, and segments that arrive meanwhile stay in its backlog.
    fn may_hold_an_ack(&self) -> bool {
        let fin = self.fin.and_then(|change| change.evidence);
        self.last.old == TcpState::FinWait1
            && fin
                .zip(self.last.evidence)
                .is_some_and(|(fin, end)| end.owned && end.error == 0 && end.segs_in != fin.segs_in)
    }

    /// Returns whether no part of the close came before the first change.
    fn seen_whole(&self) -> bool {
        use TcpState::{Established, SynRecv, SynSent};
        matches!(self.first_old(), Established | SynRecv | SynSent)
    }

    /// Returns the states from ESTABLISHED on, or all states of a connection that was never
    /// established.
    pub(super) fn states(&self) -> States {
        let changes = self
            .endpoint
            .closing
            .as_ref()
            .map_or(&[][..], |closing| &closing.changes);
        let mut states: States = changes
            .iter()
            .map(|change| (change.old, change.dwell))
            .collect();
        if let Some((TcpState::FinWait2, dwell)) = states.last_mut() {
            *dwell = match self.outcome {
                // Without evidence it is not known whether the wait ended here or went on in a
                // minisocket.
                Outcome::Seen if self.last.evidence.is_none() => None,
                Outcome::Seen => *dwell,
                Outcome::Lost(_) => None,
                Outcome::PeerFin(end)
                | Outcome::FinTimeout(end)
                | Outcome::ResetByUs(end)
                | Outcome::ResetByPeer(end) => dwell.map(|dwell| dwell + (end - self.last.at)),
            };
        }
        states
    }

    /// Returns the application bytes: the sequence space in each direction, less SYN and FIN.
    pub(super) fn bytes(&self) -> Bytes {
        let Some(evidence) = &self.last.evidence else {
            return Bytes::default();
        };
        let received = evidence
            .bytes_received
            .saturating_sub(u64::from(evidence.done));
        let sent = self.endpoint.origin.iss.map(|_| {
            let end = self.end_of_data(evidence);
            // One less than nothing when the FIN has been acknowledged.
            let in_flight = i64::from(end.wrapping_sub(evidence.snd_una) as i32);
            let acked = evidence
                .bytes_acked
                .saturating_sub(self.endpoint.origin.acked_base.into());
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
    fn end_of_data(&self, end: &Evidence) -> u32 {
        let fin = self.fin.and_then(|change| change.evidence);
        let fin = fin.map(|at_fin| at_fin.write_seq);
        fin.filter(|fin| before(*fin, end.snd_nxt))
            .unwrap_or(end.snd_nxt)
    }

    pub(super) fn half_close(&self, path: ClosePath, end: Nanos) -> Option<HalfClose> {
        let gave_up = matches!(path, ClosePath::ConnectFailed | ClosePath::Simultaneous);
        if gave_up {
            return None;
        }
        if let Some(began) = self.peer_fin {
            let until = self.fin.unwrap_or(&self.last);
            let (before, end) = (began.evidence?, self.last.evidence?);
            let sent = self.end_of_data(&end).wrapping_sub(before.snd_nxt);
            return (sent > 0).then(|| HalfClose {
                by: Side::Peer,
                lasted: until.at - began.at,
                bytes_sent: sent.into(),
                bytes_received: 0,
            });
        }
        let (began, acked) = (self.fin?, self.fin_acked?);
        let (before, after) = (began.evidence?, self.last.evidence?);
        let done = u32::from(after.done);
        let received = after
            .rcv_nxt
            .wrapping_sub(before.rcv_nxt)
            .wrapping_sub(done);
        // With close() no process is left to read (SOCK_DEAD); after shutdown(SHUT_WR) the process
        // stays.
        let kept =
            acked.evidence.is_some_and(|evidence| !evidence.dead) && path != ClosePath::ThreeWay;
        (kept || received > 0).then(|| HalfClose {
            by: Side::Local,
            lasted: end - began.at,
            bytes_sent: 0,
            bytes_received: received.into(),
        })
    }
}
