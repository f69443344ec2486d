//! What sock_diag shows of minisockets, and of endpoints whose last records were missed.

use super::Tracker;
use super::transitions::is_closing;
use crate::close_path::Outcome;
use crate::live_endpoint::LiveEndpoint;
use crate::orphan::{Lookup, Minisocket};
use crate::stuck::Resolution;
use crate::time_wait::TIME_WAIT;
use crate::types::{EndpointId, Nanos};

/// Lookups handed out at one time: some milliseconds of work.
const LOOKUPS: usize = 1024;

impl Tracker {
    /// Collects the probes that are due now; each must be answered by [`Tracker::probed`].
    pub fn due_probes(&mut self, now: Nanos, lookups: &mut Vec<Lookup>) {
        lookups.clear();
        self.orphans.take_due(now, LOOKUPS, lookups);
        let table = &self.table;
        while lookups.len() < LOOKUPS
            && let Some(id) = self.stale_closing.next(now, |id| table.get(id).is_some())
            && let Some(endpoint) = table.get(id)
        {
            lookups.push(Lookup {
                id,
                netns: endpoint.netns,
                tuple: endpoint.tuple,
                cookie: endpoint.cookie(),
            });
        }
    }

    /// Takes the result of a probe, obtained at `now`.
    pub fn probed(&mut self, id: EndpointId, minisocket: Minisocket, now: Nanos) {
        if !self.orphans.contains(id) {
            self.apply_stale_closing_probe(id, minisocket, now);
            return;
        }
        let Some(orphan) = self.orphans.get_mut(id) else {
            return;
        };
        let over = orphan.over.unwrap_or(now);
        let outcome = match minisocket {
            Minisocket::FinWait2(left) => {
                orphan.deadline = Some(now + left);
                self.orphans.probe_again(id, now);
                return;
            }
            // The segment that ended the wait may be on its way through the ring.
            Minisocket::TimeWait(_) | Minisocket::Gone
                if self.sees_segments && orphan.over.is_none() =>
            {
                orphan.over = Some(now);
                self.orphans.probe_again(id, now);
                return;
            }
            // The timer started anew with TIME_WAIT; it is exact to a tick of the kernel's clock.
            Minisocket::TimeWait(left) => {
                let restarted = now - (TIME_WAIT - left);
                Outcome::PeerFin(restarted.min(over).max(orphan.parked))
            }
            // A socket that has taken the same addresses and ports.
            Minisocket::Gone | Minisocket::Alive => match orphan.deadline {
                Some(deadline) if deadline <= over => {
                    Outcome::FinTimeout(deadline.max(orphan.parked))
                }
                _ => Outcome::Lost(over),
            },
            Minisocket::Unreachable => Outcome::Lost(now),
        };
        if let Some(orphan) = self.orphans.remove(id) {
            self.emit(&orphan.endpoint, outcome);
        }
    }

    /// An end that has been closing for long.
    fn apply_stale_closing_probe(&mut self, id: EndpointId, minisocket: Minisocket, now: Nanos) {
        let Some(endpoint) = self.table.get(id) else {
            return;
        };
        match minisocket {
            Minisocket::Alive | Minisocket::Unreachable if is_closing(endpoint.state) => {
                self.stale_closing.alive(id, endpoint.since.get(), now);
                return;
            }
            Minisocket::Alive | Minisocket::Unreachable => return,
            // Its records may be on their way through the ring.
            _ if !self.stale_closing.is_gone(id, now) => return,
            _ => {}
        }
        let parked = matches!(minisocket, Minisocket::FinWait2(_));
        let Some(mut endpoint) = self.take_missed(id, now) else {
            return;
        };
        let last_seen = endpoint.since.get().unwrap_or_default();
        endpoint.miss_end(now, parked);
        match minisocket {
            Minisocket::FinWait2(_) => self.park(endpoint, now),
            Minisocket::TimeWait(left) => {
                let began = (now - (TIME_WAIT - left)).max(last_seen);
                self.emit(&endpoint, Outcome::PeerFin(began));
            }
            _ => self.emit(&endpoint, Outcome::Lost(now)),
        }
    }

    /// Takes an end out of the table whose last records were missed.
    pub(super) fn take_missed(&mut self, id: EndpointId, now: Nanos) -> Option<LiveEndpoint> {
        let mut endpoint = self.table.remove(id)?;
        let closing = endpoint.closing.as_deref_mut();
        let watched = closing.and_then(|closing| closing.watched.take());
        if let Some(stuck) = watched.and_then(|watched| watched.reported) {
            self.resolve_stuck(stuck, now, Resolution::Unknown);
        }
        Some(endpoint)
    }
}
