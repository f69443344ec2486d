//! Goes on with what an earlier tracker has saved, and saves for a later one.

use std::collections::HashSet;

use tcpclose_common::TcpState;

use super::Tracker;
use super::stuck_detector::StuckDetector;
use crate::close_path::MinisocketOutcome;
use crate::ended_while_stopped::EndedWhileStopped;
use crate::event::Transition;
use crate::finding::{Loss, LossLocation};
use crate::live_endpoint::LiveEndpoint;
use crate::parked::MinisocketState;
use crate::saved::{RestoreEnd, SaveScope, Saved, SavedEndpoints, Saver};
use crate::snapshot::SnapshotSocket;
use crate::stuck::{Resolution, STUCK_STATES};
use crate::time_wait::TIME_WAIT;
use crate::types::{Nanos, Role};

/// The most endpoints that are reported at a time to have ended before the restart: some
/// milliseconds of work.
const MAX_REPORTED_AT_ONCE: usize = 1024;

impl Tracker {
    /// Saves endpoints for another tracker, at most `room`, those that may be stuck first, then
    /// those that have been in their state for longest. What an earlier tracker had saved and
    /// nothing has confirmed yet is saved again.
    #[must_use]
    pub fn save(&self, scope: SaveScope, room: usize) -> Saved {
        let mut saver = Saver::new(scope, room);
        let pending = self.unconfirmed.iter();
        // A session that goes on from here would take them for alive.
        let may_be_gone = scope == SaveScope::ToResume;
        let pending = pending.filter(|_| self.unconfirmed.is_pending() && !may_be_gone);
        let candidates = self.stuck.as_ref().map_or_else(Vec::new, |detector| {
            detector.candidates(&self.table).collect::<Vec<_>>()
        });
        for id in &candidates {
            self.table
                .get(*id)
                .into_iter()
                .for_each(|known| saver.add(known));
        }
        pending.for_each(|known| saver.add(known));
        if scope != SaveScope::MayBeStuck {
            let saved: HashSet<_> = candidates.into_iter().collect();
            let others = self.table.in_order();
            let others = others.filter(|(id, _)| !saved.contains(id));
            others.for_each(|(_, known)| saver.add(known));
            self.parked
                .iter()
                .for_each(|parked| saver.add(&parked.endpoint));
        }
        saver.finish()
    }

    /// Returns a number that changes whenever [`SaveScope::MayBeStuck`] may give something else.
    #[must_use]
    pub fn stuck_revision(&self) -> u64 {
        self.stuck.as_ref().map_or(0, StuckDetector::revision)
    }

    pub(super) fn restore(&mut self, saved: &SavedEndpoints) {
        self.evicted += self.unconfirmed.add(saved);
    }

    /// Reports the time between, and what has ended in it.
    pub(super) fn end_restore(&mut self, end: &RestoreEnd) {
        let gone = self.unconfirmed.end(end);
        self.report_loss(Loss {
            at: end.at,
            lost: gone.len() as u64 + self.ended_while_stopped.with_minisocket,
            location: LossLocation::Restart,
            repaired: end.searched_all,
            duration: Some(end.from - end.until),
        });
        self.ended_while_stopped = EndedWhileStopped {
            endpoints: gone.into(),
            at: end.at,
            reports_closes: end.is_complete,
            with_minisocket: 0,
        };
    }

    /// Reports endpoints that ended while nothing was traced, `most` of them.
    pub(super) fn report_ended_while_stopped(&mut self, most: usize) {
        let EndedWhileStopped {
            at, reports_closes, ..
        } = self.ended_while_stopped;
        for _ in 0..most {
            let Some(mut endpoint) = self.ended_while_stopped.endpoints.pop_front() else {
                break;
            };
            if reports_closes {
                self.end_saved(endpoint, MinisocketState::Gone, at);
            } else {
                self.resolve_unseen(&mut endpoint, at);
            }
        }
    }

    pub(super) fn report_some_ended_while_stopped(&mut self) {
        self.report_ended_while_stopped(MAX_REPORTED_AT_ONCE);
    }

    /// Reports an endpoint that ended while nothing was traced. `left`: what is left of it.
    fn end_saved(&mut self, mut endpoint: LiveEndpoint, left: MinisocketState, at: Nanos) {
        self.resolve_unseen(&mut endpoint, at);
        let since = endpoint.since.get().unwrap_or_default();
        let still_parked = matches!(left, MinisocketState::FinWait2(_));
        if !endpoint.is_parked() {
            endpoint.record_missed_end(at, still_parked);
        }
        match left {
            MinisocketState::FinWait2(_) => self.park(endpoint, at),
            MinisocketState::TimeWait(left) => {
                let began = (at - (TIME_WAIT - left)).max(since);
                self.report_close(endpoint, MinisocketOutcome::PeerFin(began));
            }
            _ => self.report_close(endpoint, MinisocketOutcome::Unseen(at)),
        }
    }

    fn resolve_unseen(&mut self, endpoint: &mut LiveEndpoint, at: Nanos) {
        if let Some(stuck) = endpoint.take_reported_stuck() {
            self.resolve_stuck(stuck, at, Resolution::Unknown);
        }
    }

    /// Takes the saved endpoint of a socket in a snapshot, as the snapshot shows it. `None` where
    /// there is none, or where only a minisocket is left of it: that is reported here.
    pub(super) fn confirm_by_snapshot(
        &mut self,
        socket: &SnapshotSocket,
        at: Nanos,
    ) -> Option<LiveEndpoint> {
        if self.is_known(socket.cookie) {
            return None;
        }
        let (netns, tuple) = (Some(socket.netns), &socket.tuple);
        let mut endpoint = self.unconfirmed.take(socket.cookie, netns, tuple)?;
        let left = match (socket.state, socket.kind.left()) {
            (TcpState::TimeWait, Some(left)) => MinisocketState::TimeWait(left),
            (_, Some(left)) => MinisocketState::FinWait2(left),
            (_, None) => {
                self.confirm(&mut endpoint, socket.state, at);
                return Some(endpoint);
            }
        };
        self.ended_while_stopped.with_minisocket += 1;
        self.end_saved(endpoint, left, at);
        None
    }

    /// Takes the saved endpoint of a transition, as it was just before.
    pub(super) fn confirm_by_transition(
        &mut self,
        transition: &Transition,
    ) -> Option<LiveEndpoint> {
        let Transition {
            at,
            id,
            netns,
            tuple,
            old,
            ..
        } = *transition;
        // A connection that is opened is another one.
        if matches!(old, TcpState::SynRecv | TcpState::SynSent) {
            return None;
        }
        let mut endpoint = self.unconfirmed.take(id, netns, &tuple)?;
        self.confirm(&mut endpoint, old, at);
        Some(endpoint)
    }

    fn confirm(&mut self, endpoint: &mut LiveEndpoint, state: TcpState, at: Nanos) {
        if !endpoint.confirm_state(state) {
            self.resolve_unseen(endpoint, at);
        }
    }

    /// Goes on watching a saved endpoint that was found again.
    pub(super) fn resume_stuck_tracking(&mut self, endpoint: &mut LiveEndpoint, at: Nanos) {
        let Some(detector) = &mut self.stuck else {
            return;
        };
        if !STUCK_STATES.contains(&endpoint.state) {
            return;
        }
        let id = endpoint.id;
        match (detector.take_over(endpoint, at), endpoint.since.get()) {
            (true, _) => {}
            (false, Some(since)) if endpoint.stuck_tracking().is_none() => {
                detector.probe_when_old(since, id, at);
            }
            (false, _) => detector.probe_at(at, id),
        }
    }
}

impl LiveEndpoint {
    /// Adds what a snapshot shows of a saved endpoint and was not known of it.
    pub(super) fn merge_snapshot(&mut self, shown: Self) {
        if self.role == Role::Unknown && !self.seen_from_start && !self.initial.restored {
            self.role = shown.role;
        }
        self.owner = self.owner.take().or(shown.owner);
    }
}
