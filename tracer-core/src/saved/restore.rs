//! Makes endpoints of what was saved.

use std::sync::Arc;

use super::SavedEndpoints;
use super::endpoint::{SavedEndpoint, SavedProgress, SavedStuck, SavedTracking};
use crate::close_progress::{CloseProgress, MAX_CHANGES};
use crate::live_endpoint::{InitialNumbers, LiveEndpoint};
use crate::peer::PeerFacts;
use crate::stuck::{OwnerProcess, StuckEvent, StuckSocket, StuckTracking};
use crate::types::{OptionalId, OptionalNanos, SharedOwner};

impl SavedEndpoints {
    /// Returns the endpoints as they were.
    pub(crate) fn to_live(&self) -> impl Iterator<Item = LiveEndpoint> {
        self.endpoints.iter().map(|saved| self.live(saved))
    }

    fn live(&self, saved: &SavedEndpoint) -> LiveEndpoint {
        let SavedEndpoint {
            id,
            netns,
            tuple,
            role,
            seen_from_start,
            state,
            since,
            opened,
            iss,
            irs,
            syn_in_bytes_acked,
            repaired,
            owner,
            peer,
            closing,
        } = saved;
        let mut endpoint = LiveEndpoint {
            id: *id,
            has_cookie: true,
            netns: *netns,
            tuple: *tuple,
            role: *role,
            seen_from_start: *seen_from_start,
            state: *state,
            since: since.map_or(OptionalNanos::UNKNOWN, OptionalNanos::from),
            opened: opened.map_or(OptionalNanos::UNKNOWN, OptionalNanos::from),
            initial: InitialNumbers {
                iss: (*iss).into(),
                irs: (*irs).into(),
                syn_in_bytes_acked: *syn_in_bytes_acked,
                restored: *repaired,
            },
            owner: self.owner(*owner),
            peer: peer.map_or_else(OptionalId::default, OptionalId::from),
            closing: None,
        };
        if let Some(progress) = closing {
            let mut closing = self.progress(progress);
            if let Some(tracking) = &progress.stuck {
                closing.stuck_tracking = Some(Box::new(self.tracking(tracking, &endpoint)));
            }
            endpoint.closing = Some(Box::new(closing));
        }
        endpoint
    }

    fn owner(&self, position: Option<u32>) -> Option<SharedOwner> {
        self.owners.get(position? as usize).cloned()
    }

    fn progress(&self, saved: &SavedProgress) -> CloseProgress {
        let SavedProgress {
            changes,
            fin_retransmits,
            armed,
            gap,
            has_dropped,
            peer_owner,
            stuck: _,
        } = saved;
        CloseProgress {
            changes: changes.iter().copied().take(MAX_CHANGES).collect(),
            fin_retransmits: *fin_retransmits,
            armed: *armed,
            gap: *gap,
            // Which ones is not known any more.
            more_dropped: *has_dropped,
            peer_facts: PeerFacts {
                owner: self.owner(*peer_owner),
                ..PeerFacts::default()
            },
            ..CloseProgress::default()
        }
    }

    fn tracking(&self, saved: &SavedTracking, endpoint: &LiveEndpoint) -> StuckTracking {
        let reported = saved.reported.as_ref();
        StuckTracking {
            polls: saved.polls,
            reported: reported.map(|stuck| Box::new(self.stuck(stuck, endpoint))),
        }
    }

    fn stuck(&self, saved: &SavedStuck, endpoint: &LiveEndpoint) -> StuckSocket {
        let SavedStuck {
            at,
            socket,
            age,
            verdict,
            idle_before_fin,
            owner,
            owner_unknown,
            holders,
            process,
            peer_owner,
        } = saved;
        let mut of_finding = endpoint.to_endpoint(None);
        of_finding.netns = socket.netns;
        of_finding.peer_owner = self.owner(*peer_owner);
        let process = process.and_then(|(as_of, position)| {
            let process = self.processes.get(position as usize)?;
            Some(OwnerProcess::new(Arc::clone(process), as_of))
        });
        StuckSocket {
            at: *at,
            // It was reported before.
            event: StuckEvent::Ongoing,
            endpoint: of_finding,
            socket: *socket,
            age: *age,
            verdict: *verdict,
            idle_before_fin: *idle_before_fin,
            owner: self.owner(*owner),
            owner_unknown: *owner_unknown,
            holders: holders.clone(),
            process,
            why: Vec::new(),
        }
    }
}
