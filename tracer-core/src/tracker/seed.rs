//! Adds sockets from a snapshot of sock_diag: those that are older than the tracer, and those whose
//! records were lost.

use std::collections::HashSet;

use tcpclose_common::TcpState;

use super::Tracker;
use crate::close_progress::CloseProgress;
use crate::kernel_timing::MAX_TICK;
use crate::live_endpoint::LiveEndpoint;
use crate::snapshot::SnapshotSocket;
use crate::stuck::STUCK_STATES;
use crate::time_wait::TIME_WAIT;
use crate::types::{EndpointId, Nanos, NetNs, Opening, Role};

impl Tracker {
    /// Adds the sockets of a snapshot taken at `at` that are not known yet. An endpoint that is
    /// known and of which the snapshot shows a minisocket is not alive any more: it is probed, as
    /// one that the snapshot lacks ([`Self::resync`]), and reported with what the probe shows.
    /// Listeners must come first: without one, a connection that was opened passively may also have
    /// been restored. Owners of listeners may follow: what came in on them and has no owner yet
    /// gets it after all sockets, whose own holders are closer.
    pub(super) fn seed(&mut self, sockets: &[SnapshotSocket], at: Nanos) {
        let mut new = 0;
        for socket in sockets {
            if socket.kind.left().is_none() {
                new += usize::from(self.complete_known(socket));
            }
            if let Some(mut endpoint) = self.confirm_by_snapshot(socket, at) {
                endpoint.merge_snapshot(self.endpoint_of(socket));
                new += usize::from(endpoint.peer.get().is_none());
                self.resume_stuck_tracking(&mut endpoint, at);
                self.insert(socket.cookie, endpoint);
                continue;
            }
            match (socket.state, socket.kind.left()) {
                (TcpState::Listen, _) => {
                    let owner = socket.owner.clone();
                    self.listeners
                        .add(socket.cookie, Some(socket.netns), &socket.tuple, owner);
                }
                // What the kernel shows as SYN_RECV is a request, no socket yet.
                (TcpState::SynRecv | TcpState::NewSynRecv | TcpState::Close, _) => {}
                // Its last transitions were lost, or are still on their way.
                (_, Some(_)) if self.table.get(socket.cookie).is_some() => {
                    self.stale_closing.schedule_probe(socket.cookie, at);
                }
                (TcpState::TimeWait, Some(left)) => self.seed_time_wait(socket, left, at),
                // One that is known to be in its state is probed when it is due.
                (TcpState::CloseWait, _) if self.has_missed_close_wait(socket.cookie) => {
                    self.probe_stuck_state(socket.cookie, at);
                }
                _ if self.is_known(socket.cookie) => {}
                (TcpState::FinWait2, Some(_)) => {
                    let mut endpoint = self.endpoint_of(socket);
                    endpoint.closing = Some(Box::<CloseProgress>::default());
                    self.park(endpoint, at);
                }
                _ => {
                    let endpoint = self.endpoint_of(socket);
                    self.insert(socket.cookie, endpoint);
                    new += 1;
                    if STUCK_STATES.contains(&socket.state) {
                        self.probe_stuck_state(socket.cookie, at);
                    }
                }
            }
        }
        let mut listeners = (sockets.iter()).filter(|socket| socket.state == TcpState::Listen);
        if listeners.any(|listener| listener.owner.is_some()) {
            self.give_owners_of_listeners();
        }
        self.note_unjoined(new, at);
    }

    /// Adds what the snapshot shows of an endpoint that its records did not show: its role where
    /// they began in the middle of its life, and its owner. A socket that was connected anew is
    /// another endpoint. Returns whether something was to be added.
    fn complete_known(&mut self, socket: &SnapshotSocket) -> bool {
        let is_incomplete = |known: &LiveEndpoint| {
            let is_other = known.netns.is_some_and(|netns| netns != socket.netns);
            let lacks_role = known.role == Role::Unknown && !known.seen_from_start;
            known.tuple == socket.tuple && !is_other && (known.owner.is_none() || lacks_role)
        };
        if !self.table.get(socket.cookie).is_some_and(is_incomplete) {
            return false;
        }
        let LiveEndpoint { role, owner, .. } = self.endpoint_of(socket);
        let Some(known) = self.table.get_mut(socket.cookie) else {
            return false;
        };
        if known.role == Role::Unknown && !known.seen_from_start && !known.initial.restored {
            known.role = role;
        }
        // A client's owner called connect(): a listener on its port is another's.
        if socket.owner.is_some() || known.role != Role::Client {
            known.owner = known.owner.take().or(owner);
        }
        true
    }

    /// Gives the endpoints without an owner those of the sockets on which they came in.
    fn give_owners_of_listeners(&mut self) {
        let lacking = self.table.iter();
        let lacking =
            lacking.filter(|(_, known)| known.owner.is_none() && known.role != Role::Client);
        let found = lacking.filter_map(|(key, known)| {
            let owner = self.listeners.owner_of(known.netns, &known.tuple)?;
            Some((key, owner.clone()))
        });
        for (key, owner) in found.collect::<Vec<_>>() {
            if let Some(known) = self.table.get_mut(key) {
                known.owner = Some(owner);
            }
        }
    }

    /// Probes the endpoints in these namespaces that are not in a snapshot, begun at `began`, after
    /// records were lost: their →CLOSE may be among the lost records. An endpoint that is gone is
    /// reported with an unknown path.
    pub(super) fn resync(
        &mut self,
        namespaces: &HashSet<NetNs>,
        alive: &HashSet<EndpointId>,
        began: Nanos,
    ) {
        for (key, endpoint) in self.table.iter() {
            let is_newer = endpoint.since.get().is_some_and(|since| since >= began);
            // Its port may be one that is not wanted, of which no more was to come.
            let may_be_hidden = self.filters_ports && endpoint.state == TcpState::SynSent;
            let may_be_gone = !is_newer && !may_be_hidden;
            if may_be_gone
                && endpoint
                    .netns
                    .is_some_and(|netns| namespaces.contains(&netns))
                && !alive.contains(&key)
            {
                self.stale_closing.schedule_probe(key, began);
            }
        }
    }

    /// Returns whether an endpoint is known to be in a state from which it cannot be in CLOSE_WAIT
    /// yet: its transition was lost, or the record is still to come.
    fn has_missed_close_wait(&self, cookie: EndpointId) -> bool {
        let known = self.table.get(cookie);
        known.is_some_and(|endpoint| endpoint.state != TcpState::CloseWait)
    }

    pub(super) fn is_known(&self, cookie: EndpointId) -> bool {
        self.table.get(cookie).is_some()
            || self.awaiting_reset.contains_key(&cookie)
            || self.awaiting_peer.contains(cookie)
            || self.parked.contains(cookie)
    }

    fn seed_time_wait(&mut self, socket: &SnapshotSocket, left: Nanos, at: Nanos) {
        if self.time_waits.contains(Some(socket.netns), &socket.tuple) {
            return;
        }
        let endpoint = self.endpoint_of(socket).to_endpoint(None);
        let entered = at - (TIME_WAIT - left);
        let cookie = Some(socket.cookie);
        let hooked = self.time_waits.hooked;
        let followed = self
            .time_waits
            .enter(endpoint, None, cookie, entered, MAX_TICK, hooked);
        self.evicted += u64::from(!followed);
    }

    fn endpoint_of(&self, socket: &SnapshotSocket) -> LiveEndpoint {
        let mut endpoint = LiveEndpoint::from_snapshot(socket);
        let (netns, tuple) = (Some(socket.netns), &socket.tuple);
        let listens = self.listeners.is_listening(netns, tuple);
        endpoint.role = match socket.state {
            // Its SYN is still to be acknowledged.
            TcpState::SynSent => Role::Client,
            _ => Opening::role(socket.kind.opening(), listens),
        };
        if endpoint.role != Role::Client && endpoint.owner.is_none() {
            endpoint.owner = self.listeners.owner_of(netns, tuple).cloned();
        }
        endpoint
    }
}
