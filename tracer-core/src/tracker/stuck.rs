//! Stuck sockets, as the tracker finds them: when an endpoint has been in its state for long the
//! core has it probed, and the response shows whether it is stuck.

use super::Tracker;
use super::stuck_detector::StuckDetector;
use crate::finding::Finding;
use crate::live_endpoint::LiveEndpoint;
use crate::probe_request::ProbeRequest;
use crate::stuck::{Resolution, StuckProbeResponse, StuckSocket};
use crate::types::{EndpointId, Nanos};

impl Tracker {
    /// Finds the endpoints that are stuck in their state for so long: they are probed
    /// ([`Tracker::due_stuck_probes`]), and reported.
    #[must_use]
    pub fn with_stuck_after(mut self, after: Nanos) -> Self {
        self.stuck = Some(StuckDetector::new(after));
        self
    }

    /// Fills `requests` with the sockets to be probed now. One response answers them all
    /// ([`Input::StuckProbe`](crate::Input::StuckProbe)); until then there are no others.
    pub fn due_stuck_probes(&mut self, now: Nanos, requests: &mut Vec<ProbeRequest>) {
        requests.clear();
        if let Some(detector) = &mut self.stuck {
            detector.take_due(now, &self.table, requests);
        }
    }

    /// Takes the response to a probe.
    pub(super) fn apply_stuck_probe(&mut self, response: &StuckProbeResponse) {
        if let Some(detector) = &mut self.stuck {
            detector.note_change();
            let found = detector.apply(response, &mut self.table);
            for mut stuck in found {
                self.add_peer_owner(&mut stuck);
                self.findings.push_back(Finding::Stuck(stuck));
            }
        }
    }

    /// Names the process at the other end of a socket that was just found to be stuck.
    fn add_peer_owner(&mut self, stuck: &mut StuckSocket) {
        let id = stuck.endpoint.id;
        let endpoint = self.table.get(id);
        stuck.endpoint.peer_owner = endpoint.and_then(|endpoint| self.peer_owner(endpoint));
        let endpoint = self.table.get_mut(id);
        if let Some(reported) = endpoint.and_then(LiveEndpoint::reported_stuck_mut) {
            reported
                .endpoint
                .peer_owner
                .clone_from(&stuck.endpoint.peer_owner);
        }
    }

    /// Returns how many endpoints were reported to be stuck and are not resolved, as of the last
    /// probe.
    #[must_use]
    pub fn stuck(&self) -> usize {
        self.stuck.as_ref().map_or(0, StuckDetector::len)
    }

    /// Returns those endpoints, each as it was reported; `None` without
    /// [`Tracker::with_stuck_after`].
    pub fn stuck_sockets(&self) -> Option<impl Iterator<Item = &StuckSocket>> {
        let reported = self.stuck.as_ref()?.reported(&self.table);
        Some(reported.chain(self.unconfirmed.stuck()))
    }

    /// Notes that an endpoint has entered a state in which it can be stuck.
    pub(super) fn note_stuck_state(&mut self, id: EndpointId, at: Nanos) {
        if let Some(detector) = &mut self.stuck {
            detector.note_change();
            detector.add(at, id, &self.table);
        }
    }

    /// Notes that an endpoint has been closing for long: it may be stuck in its state. Most closes
    /// are over at once, and cost nothing here.
    pub(super) fn note_long_closing(&mut self, id: EndpointId, since: Option<Nanos>, now: Nanos) {
        // What was assessed is probed again when its time has come.
        let is_assessed = |endpoint: &LiveEndpoint| endpoint.stuck_tracking().is_some();
        if let Some(detector) = &mut self.stuck
            && !self.table.get(id).is_some_and(is_assessed)
        {
            detector.probe_when_old(since.unwrap_or(now), id, now);
        }
    }

    /// Probes an endpoint that a snapshot shows in such a state: only a probe shows since when.
    pub(super) fn probe_stuck_state(&mut self, id: EndpointId, at: Nanos) {
        if let Some(detector) = &mut self.stuck {
            detector.probe_at(at, id);
        }
    }

    /// Reports that an endpoint is no longer stuck.
    pub(super) fn resolve_stuck(&mut self, mut stuck: Box<StuckSocket>, at: Nanos, by: Resolution) {
        if let Some(detector) = &mut self.stuck {
            detector.note_change();
        }
        stuck.resolve(at, by);
        self.findings.push_back(Finding::Stuck(stuck));
    }

    pub(super) fn drop_outdated_stuck_deadlines(&mut self) {
        if let Some(detector) = &mut self.stuck {
            detector.drop_outdated(&self.table);
        }
    }

    pub(super) fn next_stuck_probe(&self) -> Option<Nanos> {
        self.stuck.as_ref()?.next_probe()
    }
}
