//! A transition of one socket: which endpoint it moves, and what follows from that.

use tcpclose_common::TcpState;

use super::Tracker;
use crate::arena::Slot;
use crate::close_path::MinisocketOutcome;
use crate::event::Transition;
use crate::live_endpoint::LiveEndpoint;
use crate::stuck::{Resolution, is_timed_from_entry};
use crate::types::{EndpointId, OwnerSource, Role, SharedOwner};

impl Tracker {
    pub(super) fn transition(&mut self, transition: &Transition) {
        match (transition.old, transition.new) {
            // This is the listener's own cookie, or none: the child is first seen at ESTABLISHED.
            (TcpState::Listen, TcpState::SynRecv) | (TcpState::Close, TcpState::Close) => {}
            (_, TcpState::Listen) => {
                let owner = self
                    .owners
                    .find_or_add(transition.task.as_ref(), OwnerSource::Listen);
                let (netns, tuple) = (transition.netns, &transition.tuple);
                self.listeners.add(transition.id, netns, tuple, owner);
            }
            (TcpState::Listen, _) => {
                let (netns, tuple) = (transition.netns, &transition.tuple);
                self.listeners.remove(transition.id, netns, tuple);
            }
            (TcpState::Close, TcpState::SynSent) => {
                // The socket's earlier life ended with a →CLOSE that was lost.
                if let Some(earlier) = self.take_missed(transition.id, transition.at) {
                    let may_be_hidden = self.filters_ports && earlier.state == TcpState::SynSent;
                    let missing = u64::from(!may_be_hidden);
                    self.uncounted.note_missing(missing, transition.at);
                }
                let mut endpoint = self.begin(transition);
                // Under TCP_REPAIR connect() restores a connection that either side has opened.
                if transition
                    .evidence
                    .is_some_and(|evidence| evidence.flags.repair)
                {
                    endpoint.initial.restored = true;
                } else {
                    endpoint.role = Role::Client;
                    endpoint.seen_from_start = true;
                }
                let task = transition.task.as_ref();
                endpoint.owner = self.owners.find_or_add(task, OwnerSource::Connect);
                endpoint.advance(transition);
                // connect() has chosen no port yet; this one is of the socket's earlier life.
                endpoint.tuple.local_port = None;
                if self.filters_ports {
                    self.connecting.push_back((transition.at, transition.id));
                }
                self.insert(transition.id, endpoint);
            }
            _ => {
                let known = self.table.find(transition.id);
                let slot = match known {
                    Some(slot) if !self.is_stale(slot, transition) => slot,
                    _ => {
                        // Nearly all are new, and need no second search.
                        if known.is_some() {
                            self.take_missed(transition.id, transition.at);
                            // With a cookie it is the same socket, which a snapshot showed.
                            let missing = u64::from(!transition.id.is_cookie());
                            self.uncounted.note_missing(missing, transition.at);
                        }
                        let saved = self.confirm_by_transition(transition);
                        let endpoint =
                            saved.unwrap_or_else(|| self.new_endpoint_mid_life(transition));
                        self.insert(transition.id, endpoint)
                    }
                };
                self.advance(transition, slot);
            }
        }
    }

    /// Returns whether what is known is an earlier socket at the same address: without a cookie, a
    /// state that does not join is more likely another socket's than a transition that was missed.
    fn is_stale(&self, slot: Slot, transition: &Transition) -> bool {
        let Some(known) = self.table.in_slot(slot) else {
            return true;
        };
        // A snapshot showed it before the record of its opening came.
        let overtaken = transition.old == TcpState::SynRecv
            && !known.seen_from_start
            && known.role != Role::Client;
        overtaken
            || !transition.id.is_cookie()
                && known.state != transition.old
                && transition.old != transition.new
    }

    /// Returns an endpoint that is first seen in the middle of its life, or as a child of a
    /// listening socket.
    fn new_endpoint_mid_life(&mut self, transition: &Transition) -> LiveEndpoint {
        let mut endpoint = self.begin(transition);
        if transition.old == TcpState::SynRecv {
            endpoint.role = Role::Server;
            endpoint.seen_from_start = true;
            endpoint.since = transition.at.into();
            let (netns, tuple) = (transition.netns, &transition.tuple);
            endpoint.owner = self.listeners.owner_of(netns, tuple).cloned();
        } else if transition.old == TcpState::SynSent {
            let evidence = transition.evidence.as_ref();
            endpoint.initial.restored = evidence.is_some_and(|evidence| evidence.flags.repair);
            if !endpoint.initial.restored {
                endpoint.role = Role::Client;
            }
        }
        endpoint
    }

    /// Returns a new endpoint, whose first transition this is.
    pub(super) fn begin(&mut self, transition: &Transition) -> LiveEndpoint {
        let id = if transition.id.is_cookie() {
            transition.id
        } else {
            self.last_serial += 1;
            EndpointId(self.last_serial)
        };
        LiveEndpoint::new(id, transition)
    }

    pub(super) fn insert(&mut self, key: EndpointId, endpoint: LiveEndpoint) -> Slot {
        let (slot, evicted) = self.table.insert(key, endpoint);
        self.evicted += u64::from(evicted.is_some());
        slot
    }

    /// Applies a transition to an endpoint in the table, and removes it at →CLOSE.
    fn advance(&mut self, transition: &Transition, slot: Slot) {
        let Some(endpoint) = self.table.renew(slot) else {
            return;
        };
        // The owner of a client is known from connect() already.
        let owner = endpoint.owner.as_ref();
        let is_known = owner.is_some_and(|owner| owner.source == OwnerSource::Connect);
        if !is_known
            && let Some(closer) = self
                .owners
                .find_or_add(transition.task.as_ref(), OwnerSource::Close)
        {
            let is_other = |owner: &SharedOwner| {
                owner.source == OwnerSource::Listen && owner.pid != closer.pid
            };
            if owner.is_some_and(is_other) {
                self.listeners
                    .note_closer(endpoint.netns, &endpoint.tuple, &closer);
            }
            endpoint.owner = Some(closer);
        }
        let since = endpoint.since.get();
        let mut resolved = None;
        // A probe may have shown the new state before its record came.
        if endpoint
            .stuck_tracking()
            .is_some_and(|tracking| tracking.polls.state != transition.new)
        {
            resolved = endpoint.take_reported_stuck();
        }
        let was_closing = is_closing(endpoint.state);
        if endpoint.advance(transition) {
            self.uncounted.note_missing(1, transition.at);
        }
        if is_closing(endpoint.state) && !was_closing {
            self.stale_closing
                .note_closing(transition.id, transition.at);
        }
        let entered = endpoint.since.get();
        let is_opened =
            transition.new == TcpState::Established && transition.old != TcpState::Established;
        if is_opened {
            endpoint.establish(transition);
            let is_counted = !endpoint.initial.restored && !endpoint.tuple.is_self_test();
            self.opened += u64::from(is_counted);
        }
        if reuses_tuple(transition) {
            // connect() took the place of a minisocket right after SYN_SENT, the peer's SYN before
            // this.
            let began = match endpoint.role {
                Role::Client => since.unwrap_or(transition.at),
                Role::Server | Role::Unknown => transition.at,
            };
            let (netns, role) = (endpoint.netns, endpoint.role);
            let tuple = endpoint.tuple;
            if let Some(parked) = self.parked.take_replaced(netns, &tuple) {
                self.report_close(parked.endpoint, MinisocketOutcome::Unseen(began));
            }
            let replaced = self.time_waits.replaced(netns, &tuple, role, began);
            self.report_ended(replaced);
        }
        if is_opened {
            self.join_opened(transition.id, slot, transition.at);
        }
        if let Some(stuck) = resolved {
            self.resolve_stuck(
                stuck,
                transition.at,
                Resolution::from_transition(transition),
            );
        }
        if is_timed_from_entry(transition.new)
            && transition.old != transition.new
            && let Some(entered) = entered
        {
            self.note_stuck_state(transition.id, entered);
        }
        if transition.new == TcpState::Close
            && let Some(endpoint) = self.table.take(slot)
        {
            let table = &self.table;
            let lives = |id| table.find(id).is_some();
            self.stale_closing.note_closed(transition.id, lives);
            self.close(transition.id, endpoint, transition.at);
        }
    }
}

/// Returns whether this transition shows that a new connection has the addresses and ports for
/// itself. connect() fails without them (`EADDRNOTAVAIL` of `__inet_hash_connect`), after SYN_SENT
/// and before it has sent a SYN.
fn reuses_tuple(transition: &Transition) -> bool {
    match (transition.old, transition.new) {
        (TcpState::SynSent, TcpState::Close) => {
            let evidence = transition.evidence.as_ref();
            evidence.is_some_and(|evidence| evidence.tcp.segs_out > 0)
        }
        (old, _) => matches!(old, TcpState::SynSent | TcpState::SynRecv),
    }
}

/// Returns whether the local side has closed and waits for the peer.
pub(super) fn is_closing(state: TcpState) -> bool {
    use TcpState::{Closing, FinWait1, FinWait2, LastAck};
    matches!(state, FinWait1 | FinWait2 | Closing | LastAck)
}
