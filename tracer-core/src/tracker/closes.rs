//! What becomes of an endpoint whose last transition was seen: its close is reported at once, or
//! waits for the record of a RST, for the peer's FIN, or for the peer's close.

use super::peers::{add_peer_cause, set_from_path};
use super::{AwaitingReset, Tracker};
use crate::close_path::{MinisocketOutcome, is_discarded_child, reconstruct, reset_may_follow};
use crate::close_progress::StateChange;
use crate::closes_awaiting_peer::WaitingClose;
use crate::finding::Finding;
use crate::kernel_timing::MAX_TICK;
use crate::live_endpoint::LiveEndpoint;
use crate::types::{EndpointId, Nanos};

impl Tracker {
    /// Handles the last transition of an endpoint. One that may still have sent a RST waits for its
    /// record.
    pub(super) fn close(&mut self, key: EndpointId, endpoint: LiveEndpoint, now: Nanos) {
        let may_reset = reset_may_follow(&endpoint);
        if may_reset && endpoint.reset_sent().is_none() {
            self.await_reset(key, endpoint, MinisocketOutcome::SeenInTransitions, now);
        } else {
            self.finish_close(endpoint, now);
        }
    }

    /// Has a close wait for the record of a RST, or of its drop.
    pub(super) fn await_reset(
        &mut self,
        key: EndpointId,
        endpoint: LiveEndpoint,
        outcome: MinisocketOutcome,
        now: Nanos,
    ) {
        self.share_owner_with_peer(&endpoint);
        self.awaiting_reset_order.push_back((now, key));
        let awaiting = AwaitingReset { endpoint, outcome };
        if let Some(earlier) = self.awaiting_reset.insert(key, awaiting) {
            self.end_wait_for_reset(earlier, now);
        }
    }

    pub(super) fn end_wait_for_reset(&mut self, awaiting: AwaitingReset, now: Nanos) {
        let AwaitingReset { endpoint, outcome } = awaiting;
        if outcome == MinisocketOutcome::SeenInTransitions {
            self.finish_close(endpoint, now);
        } else {
            self.report_close(endpoint, outcome);
        }
    }

    /// Reports an endpoint of which no more records will follow, or waits for the peer's FIN.
    fn finish_close(&mut self, endpoint: LiveEndpoint, now: Nanos) {
        let last = endpoint.last_change();
        if last.is_some_and(StateChange::is_parking) && endpoint.reset_sent().is_none() {
            self.park(endpoint, now);
        } else if !is_discarded_child(&endpoint) {
            self.report_close(endpoint, MinisocketOutcome::SeenInTransitions);
        }
    }

    pub(super) fn park(&mut self, endpoint: LiveEndpoint, now: Nanos) {
        self.share_owner_with_peer(&endpoint);
        if let Some(evicted) = self.parked.park(endpoint, now) {
            self.evicted += 1;
            self.report_close(evicted.endpoint, MinisocketOutcome::Unseen(now));
        }
    }

    /// Reports a close, or has it wait for that of its peer.
    pub(super) fn report_close(&mut self, endpoint: LiveEndpoint, outcome: MinisocketOutcome) {
        if self.is_to_wait_for_peer(&endpoint, outcome) {
            let last = endpoint.last_change().map(|last| last.at);
            let at = outcome.at().or(last).unwrap_or_default();
            self.share_owner_with_peer(&endpoint);
            if let Some(earlier) = self.awaiting_peer.add(endpoint, outcome, at) {
                self.report_waiting(earlier, false);
            }
            return;
        }
        self.report(&endpoint, outcome, false);
    }

    pub(super) fn report_waiting(&mut self, waiting: WaitingClose, from_path: bool) {
        self.report(&waiting.endpoint, waiting.outcome, from_path);
    }

    /// Reports a close, and that of its peer if it has waited for this one. `from_path`: whether
    /// the RST that ended it came from neither end.
    fn report(&mut self, endpoint: &LiveEndpoint, outcome: MinisocketOutcome, from_path: bool) {
        let may_miss_ack = self.may_miss_ack_of_fin(endpoint);
        let mut close = reconstruct(endpoint, outcome, may_miss_ack);
        close.endpoint.peer_owner = self.peer_owner(endpoint);
        add_peer_cause(&mut close, endpoint);
        if from_path {
            set_from_path(&mut close);
        }
        let last = endpoint.last_change();
        let took = endpoint.minisocket_segment().is_some();
        let entered = match outcome {
            MinisocketOutcome::PeerFin(at) => Some((at, if took { Nanos(0) } else { MAX_TICK })),
            MinisocketOutcome::SeenInTransitions => last
                .filter(|last| last.is_time_wait())
                .map(|last| (last.at, Nanos(0))),
            MinisocketOutcome::FinTimeout(_)
            | MinisocketOutcome::ResetByLocal(_)
            | MinisocketOutcome::ResetByPeer(_)
            | MinisocketOutcome::Unseen(_) => None,
        };
        if let Some((at, error)) = entered {
            let (ended, owner) = (close.endpoint.clone(), close.owner.clone());
            // No hook has seen its minisocket: there is none, or the record was lost. Polls will
            // show.
            let armed = endpoint.has_armed_minisocket();
            let hooked = self.time_waits.hooked
                && (armed || outcome != MinisocketOutcome::SeenInTransitions);
            let cookie = endpoint.cookie();
            let followed = self
                .time_waits
                .enter(ended, owner, cookie, at, error, hooked);
            self.evicted += u64::from(!followed);
        }
        let peer = self.share_with_peer(endpoint, &close);
        self.findings.push_back(Finding::Close(Box::new(close)));
        if let Some(peer) = peer {
            self.report_waiting(peer, false);
        }
    }
}
