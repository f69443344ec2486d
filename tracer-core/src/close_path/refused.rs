//! Closes whose closed socket refused a segment.

use super::facts::CloseFacts;
use crate::close_progress::StateChange;
use crate::event::Segment;
use crate::finding::Steps;

impl CloseFacts<'_> {
    /// Returns the steps of a close whose closed socket refused a segment: the socket may have
    /// taken the ACK of the local FIN, and answers what came with or after that with a RST.
    pub(super) fn refused_segment_steps(&self, fin: &StateChange, refused: &Segment) -> Steps {
        let mut steps: Steps = self.fin_step(fin).into_iter().collect();
        if let Some(acked) = self.fin_acked {
            // What waited behind a hole has other numbers.
            let in_order = acked
                .evidence
                .zip(self.last.evidence)
                .is_none_or(|(acked, last)| last.tcp.out_of_order == acked.tcp.out_of_order);
            match self.refused_segment_acked_fin(fin, acked) {
                Some(false) => steps.push(self.ack_of_fin_step(acked, None)),
                // One segment or two: the ACK has the same numbers.
                _ if !refused.fin && in_order => {
                    steps.push(self.segment_step(refused, Some(acked.at)));
                }
                _ => {}
            }
        }
        if refused.fin {
            steps.push(self.segment_step(refused, Some(self.reset_at())));
        }
        steps
    }

    /// Returns whether the steps of a [`Self::refused_segment_steps`] are complete: no other
    /// segment can have carried the peer's FIN or its ACK.
    pub(super) fn covers_all_segments(&self, refused: &Segment) -> bool {
        let in_order = self
            .last
            .evidence
            .is_some_and(|evidence| evidence.tcp.out_of_order == 0);
        let one_or_two = self
            .fin
            .zip(self.fin_acked)
            .map(|(fin, acked)| self.refused_segment_acked_fin(fin, acked));
        in_order && (!refused.fin || one_or_two != Some(None))
    }

    /// Returns whether the refused segment was the one that acknowledged the local FIN.
    fn refused_segment_acked_fin(&self, fin: &StateChange, acked: &StateChange) -> Option<bool> {
        let sent = self.endpoint.reset_sent();
        if sent.is_some_and(|sent| sent.minisocket) {
            Some(false)
        } else {
            self.one_segment_acked_and_closed(fin, acked)
                .filter(|one| !(*one && self.may_miss_ack))
        }
    }
}
