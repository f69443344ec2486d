//! Stuck sockets, as the tracker finds them: when an endpoint has been in its state for long the
//! core has it probed, and the response shows whether it is stuck.

use super::Tracker;
use super::stuck_watch::StuckWatch;
use crate::finding::Finding;
use crate::stuck::{ProbeRequest, ProbeResponse, Resolution, StuckSocket};
use crate::types::{EndpointId, Nanos};

impl Tracker {
    /// Finds the endpoints that are stuck in their state for so long: they are probed
    /// ([`Tracker::due_stuck_probes`]), and reported.
    #[must_use]
    pub fn with_stuck_after(mut self, after: Nanos) -> Self {
        self.stuck = Some(StuckWatch::new(after));
        self
    }

    /// Fills `requests` with the sockets to be probed now. One response answers them all
    /// ([`Tracker::apply_stuck_probe`]); until then there are no others.
    pub fn due_stuck_probes(&mut self, now: Nanos, requests: &mut Vec<ProbeRequest>) {
        requests.clear();
        if let Some(watch) = &mut self.stuck {
            watch.take_due(now, &self.table, requests);
        }
    }

    /// Takes the response to a probe.
    pub fn apply_stuck_probe(&mut self, response: &ProbeResponse) {
        if let Some(watch) = &mut self.stuck {
            let found = watch.apply(response, &mut self.table);
            let found = found.into_iter().map(Finding::Stuck);
            self.findings.extend(found);
        }
    }

    /// Returns how many endpoints were reported to be stuck and are not resolved, as of the last
    /// probe.
    #[must_use]
    pub fn stuck(&self) -> usize {
        self.stuck.as_ref().map_or(0, StuckWatch::len)
    }

    /// Returns those endpoints, each as it was reported; `None` without
    /// [`Tracker::with_stuck_after`].
    pub fn stuck_sockets(&self) -> Option<impl Iterator<Item = &StuckSocket>> {
        Some(self.stuck.as_ref()?.reported(&self.table))
    }

    /// An endpoint has entered a state in which it can be stuck.
    pub(super) fn enters_stuck_state(&mut self, id: EndpointId, at: Nanos) {
        if let Some(watch) = &mut self.stuck {
            watch.entered(at, id, &self.table);
        }
    }

    /// A snapshot shows an endpoint in such a state. Since when it is, only a probe shows.
    pub(super) fn is_in_stuck_state(&mut self, id: EndpointId, at: Nanos) {
        if let Some(watch) = &mut self.stuck {
            watch.probe_at(at, id);
        }
    }

    /// An endpoint that was reported to be stuck is no longer.
    pub(super) fn resolve_stuck(&mut self, mut stuck: Box<StuckSocket>, at: Nanos, by: Resolution) {
        stuck.resolve(at, by);
        self.findings.push_back(Finding::Stuck(stuck));
    }

    pub(super) fn pass_stuck_deadlines(&mut self) {
        if let Some(watch) = &mut self.stuck {
            watch.pass(&self.table);
        }
    }

    pub(super) fn next_stuck_probe(&self) -> Option<Nanos> {
        self.stuck.as_ref()?.next_probe()
    }
}
