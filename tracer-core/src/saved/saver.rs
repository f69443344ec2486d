//! Takes down endpoints.

use std::sync::Arc;

use foldhash::{HashMap, HashMapExt as _};

use super::endpoint::{SavedEndpoint, SavedProgress, SavedStuck, SavedTracking};
use super::{SaveScope, Saved, SavedEndpoints};
use crate::close_progress::CloseProgress;
use crate::live_endpoint::LiveEndpoint;
use crate::stuck::{StuckSocket, StuckTracking};
use crate::types::SharedOwner;

/// The number of endpoints in a part. With all texts of their processes it has less than 64 MiB.
const PART_LEN: usize = 1024;

/// Saves endpoints one after the other, until there is no room.
#[derive(Debug)]
pub(crate) struct Saver {
    /// Whether endpoints without a local port are saved, too.
    has_unbound: bool,
    room: usize,
    saved: Saved,
    part: SavedEndpoints,
    /// The positions of the part's owners and processes, by their addresses: they are shared.
    owners: HashMap<usize, u32>,
    processes: HashMap<usize, u32>,
}

impl Saver {
    /// Returns one with room for so many endpoints.
    pub fn new(scope: SaveScope, room: usize) -> Self {
        Self {
            has_unbound: scope == SaveScope::ToResume,
            room,
            saved: Saved::default(),
            part: SavedEndpoints::default(),
            owners: HashMap::new(),
            processes: HashMap::new(),
        }
    }

    /// Saves an endpoint, or counts it if there is no room. One that could not be recognized is
    /// left out: without a cookie, or before its local port is chosen.
    pub fn add(&mut self, endpoint: &LiveEndpoint) {
        let is_unbound = endpoint.tuple.local_port.is_none();
        if !endpoint.has_cookie || (is_unbound && !self.has_unbound) {
            return;
        }
        if self.room == 0 {
            self.saved.left_out += 1;
            return;
        }
        self.room -= 1;
        let saved = self.saved_form(endpoint);
        self.part.endpoints.push(saved);
        if self.part.len() == PART_LEN {
            self.end_part();
        }
    }

    /// Returns what was saved.
    pub fn finish(mut self) -> Saved {
        if !self.part.is_empty() {
            self.end_part();
        }
        self.saved
    }

    fn end_part(&mut self) {
        self.owners.clear();
        self.processes.clear();
        self.saved.parts.push(std::mem::take(&mut self.part));
    }

    fn saved_form(&mut self, endpoint: &LiveEndpoint) -> SavedEndpoint {
        let LiveEndpoint {
            id,
            has_cookie: _,
            netns,
            tuple,
            role,
            seen_from_start,
            state,
            since,
            opened,
            initial,
            owner,
            peer,
            closing,
        } = endpoint;
        SavedEndpoint {
            id: *id,
            netns: *netns,
            tuple: *tuple,
            role: *role,
            seen_from_start: *seen_from_start,
            state: *state,
            since: since.get(),
            opened: opened.get(),
            iss: initial.iss.get(),
            irs: initial.irs.get(),
            syn_in_bytes_acked: initial.syn_in_bytes_acked,
            repaired: initial.restored,
            owner: self.owner(owner.as_ref()),
            peer: peer.get(),
            closing: closing
                .as_deref()
                .map(|closing| Box::new(self.progress(closing))),
        }
    }

    fn progress(&mut self, closing: &CloseProgress) -> SavedProgress {
        let CloseProgress {
            changes,
            fin_retransmits,
            // These explain a change of the same moment.
            reset_received: _,
            reset_sent: _,
            minisocket_segment: _,
            dropped,
            more_dropped,
            armed,
            gap,
            stuck_tracking,
            peer_facts,
            // What is not saved is not claimed later.
            closed_by_exit: _,
        } = closing;
        SavedProgress {
            changes: changes.to_vec(),
            fin_retransmits: *fin_retransmits,
            armed: *armed,
            gap: *gap,
            has_dropped: *more_dropped || !dropped.is_empty(),
            peer_owner: self.owner(peer_facts.owner.as_ref()),
            stuck: stuck_tracking.as_deref().map(|tracking| {
                let StuckTracking { polls, reported } = tracking;
                let reported = reported.as_deref().map(|stuck| self.stuck(stuck));
                SavedTracking {
                    polls: *polls,
                    reported,
                }
            }),
        }
    }

    fn stuck(&mut self, stuck: &StuckSocket) -> SavedStuck {
        let StuckSocket {
            at,
            event: _,
            endpoint,
            socket,
            age,
            verdict,
            idle_before_fin,
            owner,
            owner_unknown,
            holders,
            process,
            // Scans alone look for that.
            why: _,
        } = stuck;
        let process = process.as_ref().map(|owner| {
            let known = Arc::as_ptr(&owner.process) as usize;
            let next = self.part.processes.len() as u32;
            let position = *self.processes.entry(known).or_insert(next);
            if position == next {
                self.part.processes.push(Arc::clone(&owner.process));
            }
            (owner.as_of, position)
        });
        SavedStuck {
            at: *at,
            socket: *socket,
            age: *age,
            verdict: *verdict,
            idle_before_fin: *idle_before_fin,
            owner: self.owner(owner.as_ref()),
            owner_unknown: *owner_unknown,
            holders: holders.clone(),
            process,
            peer_owner: self.owner(endpoint.peer_owner.as_ref()),
        }
    }

    fn owner(&mut self, owner: Option<&SharedOwner>) -> Option<u32> {
        let owner = owner?;
        let next = self.part.owners.len() as u32;
        let known = Arc::as_ptr(owner) as usize;
        let position = *self.owners.entry(known).or_insert(next);
        if position == next {
            self.part.owners.push(Arc::clone(owner));
        }
        Some(position)
    }
}
