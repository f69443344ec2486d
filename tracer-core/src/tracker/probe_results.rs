//! What sock_diag shows of minisockets, and of endpoints whose last records were missed.

use super::Tracker;
use super::transitions::is_closing;
use crate::close_path::MinisocketOutcome;
use crate::live_endpoint::LiveEndpoint;
use crate::parked::MinisocketState;
use crate::probe_request::ProbeRequest;
use crate::stuck::Resolution;
use crate::time_wait::TIME_WAIT;
use crate::types::{EndpointId, Nanos};

/// The most probes that are requested at one time: some milliseconds of work.
const MAX_PROBES_AT_ONCE: usize = 1024;

impl Tracker {
    /// Collects the probes that are due now; each must be answered by an
    /// [`Input::MinisocketProbe`](crate::Input::MinisocketProbe).
    pub fn due_probes(&mut self, now: Nanos, requests: &mut Vec<ProbeRequest>) {
        requests.clear();
        self.parked.take_due(now, MAX_PROBES_AT_ONCE, requests);
        let table = &self.table;
        while requests.len() < MAX_PROBES_AT_ONCE
            && let Some(id) = self
                .stale_closing
                .take_due(now, |id| table.get(id).is_some())
            && let Some(endpoint) = table.get(id)
        {
            requests.push(endpoint.probe_request(id));
        }
        while requests.len() < MAX_PROBES_AT_ONCE
            && let Some(id) = self.awaiting_peer.take_probe()
        {
            let endpoint = self.table.get(id);
            requests.extend(endpoint.map(|endpoint| endpoint.probe_request(id)));
        }
    }

    /// Takes the result of a probe, obtained at `now`.
    pub(super) fn apply_minisocket_probe(
        &mut self,
        id: EndpointId,
        minisocket: MinisocketState,
        now: Nanos,
    ) {
        self.apply_peer_probe(id, minisocket, now);
        if !self.parked.contains(id) {
            self.apply_stale_closing_probe(id, minisocket, now);
            return;
        }
        let Some(parked) = self.parked.get_mut(id) else {
            return;
        };
        let over = parked.over.unwrap_or(now);
        let outcome = match minisocket {
            MinisocketState::FinWait2(left) => {
                parked.deadline = Some(now + left);
                self.parked.probe_again(id, now);
                return;
            }
            // The segment that ended the wait may be on its way through the ring.
            MinisocketState::TimeWait(_) | MinisocketState::Gone
                if self.sees_segments && parked.over.is_none() =>
            {
                parked.over = Some(now);
                self.parked.probe_again(id, now);
                return;
            }
            // The timer started anew with TIME_WAIT; it is exact to a tick of the kernel's clock.
            MinisocketState::TimeWait(left) => {
                let restarted = now - (TIME_WAIT - left);
                MinisocketOutcome::PeerFin(restarted.min(over).max(parked.parked_at))
            }
            // A socket that has taken the same addresses and ports.
            MinisocketState::Gone | MinisocketState::FullSocket => match parked.deadline {
                Some(deadline) if deadline <= over => {
                    MinisocketOutcome::FinTimeout(deadline.max(parked.parked_at))
                }
                _ => MinisocketOutcome::Unseen(over),
            },
            MinisocketState::Unreachable => MinisocketOutcome::Unseen(now),
        };
        if let Some(parked) = self.parked.remove(id) {
            self.report_close(parked.endpoint, outcome);
        }
    }

    /// Applies the result for an endpoint that has been closing for long.
    fn apply_stale_closing_probe(
        &mut self,
        id: EndpointId,
        minisocket: MinisocketState,
        now: Nanos,
    ) {
        let Some(endpoint) = self.table.get(id) else {
            return;
        };
        match minisocket {
            MinisocketState::FullSocket | MinisocketState::Unreachable
                if is_closing(endpoint.state) =>
            {
                let since = endpoint.since.get();
                self.stale_closing.found_alive(id, since, now);
                if minisocket == MinisocketState::FullSocket {
                    self.note_long_closing(id, since, now);
                }
                return;
            }
            MinisocketState::FullSocket | MinisocketState::Unreachable => return,
            // Its records may be on their way through the ring.
            _ if !self.stale_closing.confirm_gone(id, now) => return,
            _ => {}
        }
        let last_seen = endpoint.since.get().unwrap_or_default();
        let parked = matches!(minisocket, MinisocketState::FinWait2(_));
        let Some(endpoint) = self.take_missed_end(id, now, parked) else {
            return;
        };
        match minisocket {
            MinisocketState::FinWait2(_) => self.park(endpoint, now),
            MinisocketState::TimeWait(left) => {
                let began = (now - (TIME_WAIT - left)).max(last_seen);
                self.report_close(endpoint, MinisocketOutcome::PeerFin(began));
            }
            _ => self.report_close(endpoint, MinisocketOutcome::Unseen(now)),
        }
    }

    /// Removes and returns an endpoint whose last records were missed, and which has ended by `now`
    /// or is in a FIN_WAIT2 minisocket (`parked`).
    pub(super) fn take_missed_end(
        &mut self,
        id: EndpointId,
        now: Nanos,
        parked: bool,
    ) -> Option<LiveEndpoint> {
        let mut endpoint = self.take_missed(id, now)?;
        let missing = endpoint.record_missed_end(now, parked);
        self.uncounted.note_missing(missing, now);
        Some(endpoint)
    }

    /// Removes and returns an endpoint whose last records were missed.
    pub(super) fn take_missed(&mut self, id: EndpointId, now: Nanos) -> Option<LiveEndpoint> {
        let mut endpoint = self.table.remove(id)?;
        if let Some(stuck) = endpoint.take_reported_stuck() {
            self.resolve_stuck(stuck, now, Resolution::Unknown);
        }
        Some(endpoint)
    }
}
