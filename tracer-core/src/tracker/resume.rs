//! Begins in the middle of what happens, as parts of a recording do that can be read on their own.

use super::Tracker;
use super::stuck_detector::StuckDetector;
use crate::saved::SavedEndpoints;
use crate::snapshot::SnapshotSocket;
use crate::types::Nanos;

impl Tracker {
    /// Returns the listening sockets, as a snapshot shows them, for
    /// [`Input::Snapshot`](crate::Input::Snapshot).
    #[must_use]
    pub fn listening(&self) -> Vec<SnapshotSocket> {
        self.listeners.as_snapshot()
    }

    /// Forgets all endpoints. What was found is still to be reported.
    pub(super) fn start_over(&mut self) {
        self.end_waits();
        let mut anew = Self::new(self.table.capacity());
        anew.time_waits.hooked = self.time_waits.hooked;
        anew.time_waits.by_cookies = self.time_waits.by_cookies;
        anew.stuck = self.stuck.as_ref().map(StuckDetector::anew);
        anew.filters_ports = self.filters_ports;
        anew.sees_segments = self.sees_segments;
        anew.sees_drops = self.sees_drops;
        anew.findings = std::mem::take(&mut self.findings);
        anew.evicted = self.evicted;
        anew.opened = self.opened;
        anew.last_serial = self.last_serial;
        *self = anew;
    }

    /// Goes on with endpoints as they are at this moment.
    pub(super) fn resume(&mut self, saved: &SavedEndpoints, at: Nanos) {
        for mut endpoint in saved.to_live() {
            if self.is_known(endpoint.id) {
                continue;
            }
            if endpoint.is_parked() {
                let parked_at = endpoint.last_change().map_or(at, |last| last.at);
                self.park(endpoint, parked_at);
                continue;
            }
            self.resume_stuck_tracking(&mut endpoint, at);
            self.insert(endpoint.id, endpoint);
        }
    }
}
