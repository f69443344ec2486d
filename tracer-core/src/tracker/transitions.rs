//! A transition of one socket: which entry it moves, and what follows from that.

use tcpclose_common::TcpState;

use super::Tracker;
use crate::close_path::Outcome;
use crate::event::Transition;
use crate::live_endpoint::LiveEndpoint;
use crate::stuck::Resolution;
use crate::table::Entry;
use crate::types::{EndpointId, OwnerSource, Role};

impl Tracker {
    pub(super) fn transition(&mut self, transition: &Transition) {
        match (transition.old, transition.new) {
            // This is the listener's own cookie, or none: the child is first seen at ESTABLISHED.
            (TcpState::Listen, TcpState::SynRecv) | (TcpState::Close, TcpState::Close) => {}
            (_, TcpState::Listen) => {
                let owner = self
                    .owners
                    .of(transition.task.as_ref(), OwnerSource::Listen);
                let (netns, tuple) = (transition.netns, &transition.tuple);
                self.listeners.opened(transition.id, netns, tuple, owner);
            }
            (TcpState::Listen, _) => {
                let (netns, tuple) = (transition.netns, &transition.tuple);
                self.listeners.closed(transition.id, netns, tuple);
            }
            (TcpState::Close, TcpState::SynSent) => {
                // The socket's earlier life ended with a →CLOSE that was lost.
                self.take_missed(transition.id, transition.at);
                let mut endpoint = self.begin(transition);
                endpoint.role = Role::Client;
                endpoint.seen_from_start = true;
                let task = transition.task.as_ref();
                endpoint.owner = self.owners.of(task, OwnerSource::Connect);
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
                let entry = match known {
                    Some(entry) if !self.is_stale(entry, transition) => entry,
                    _ => {
                        // Nearly all are new, and need no second search.
                        if known.is_some() {
                            self.take_missed(transition.id, transition.at);
                        }
                        let endpoint = self.endpoint_met(transition);
                        self.insert(transition.id, endpoint)
                    }
                };
                self.advance(transition, entry);
            }
        }
    }

    /// Whether what is known is an earlier socket at the same address: without a cookie, a state
    /// that does not join is more likely another socket's than a transition that was missed.
    fn is_stale(&self, entry: Entry, transition: &Transition) -> bool {
        let Some(known) = self.table.at(entry) else {
            return true;
        };
        // A snapshot showed it before the record of its opening came.
        let overtaken = transition.old == TcpState::SynRecv && !known.seen_from_start;
        overtaken
            || !transition.id.is_cookie()
                && known.state != transition.old
                && transition.old != transition.new
    }

    /// A connection that is met in the middle of its life, or as a child of a listening socket.
    fn endpoint_met(&mut self, transition: &Transition) -> LiveEndpoint {
        let mut endpoint = self.begin(transition);
        if transition.old == TcpState::SynRecv {
            endpoint.role = Role::Server;
            endpoint.seen_from_start = true;
            endpoint.since = transition.at.into();
            let (netns, tuple) = (transition.netns, &transition.tuple);
            endpoint.owner = self.listeners.owner_of(netns, tuple).cloned();
        }
        endpoint
    }

    /// A connection whose first transition this is.
    pub(super) fn begin(&mut self, transition: &Transition) -> LiveEndpoint {
        let id = if transition.id.is_cookie() {
            transition.id
        } else {
            self.last_serial += 1;
            EndpointId(self.last_serial)
        };
        LiveEndpoint::new(id, transition)
    }

    pub(super) fn insert(&mut self, key: EndpointId, endpoint: LiveEndpoint) -> Entry {
        let (entry, evicted) = self.table.insert(key, endpoint);
        self.evicted += u64::from(evicted.is_some());
        entry
    }

    /// Moves a connection that is in the table, and out of it at →CLOSE.
    fn advance(&mut self, transition: &Transition, entry: Entry) {
        let Some(endpoint) = self.table.touch(entry) else {
            return;
        };
        // The owner of a client is known from connect() already.
        let owner = endpoint.owner.as_ref();
        let is_known = owner.is_some_and(|owner| owner.source == OwnerSource::Connect);
        if !is_known
            && let Some(closer) = self.owners.of(transition.task.as_ref(), OwnerSource::Close)
        {
            endpoint.owner = Some(closer);
        }
        let since = endpoint.since.get();
        let closing = endpoint.closing.as_deref_mut();
        let watched = closing.filter(|_| transition.new != TcpState::CloseWait);
        let watched = watched.and_then(|closing| closing.watched.take());
        let was_closing = is_closing(endpoint.state);
        endpoint.advance(transition);
        if is_closing(endpoint.state) && !was_closing {
            self.stale_closing.closing(transition.id, transition.at);
        }
        let entered = endpoint.since.get();
        if transition.new == TcpState::Established && transition.old != TcpState::Established {
            endpoint.establish(transition);
            self.opened += 1;
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
            if let Some(orphan) = self.orphans.take_replaced(netns, &tuple) {
                self.emit(&orphan.endpoint, Outcome::Lost(began));
            }
            let replaced = self.time_waits.replaced(netns, &tuple, role, began);
            self.report_ended(replaced);
        }
        if let Some(stuck) = watched.and_then(|watched| watched.reported) {
            self.resolve_stuck(stuck, transition.at, Resolution::of(transition));
        }
        if transition.new == TcpState::CloseWait
            && transition.old != TcpState::CloseWait
            && let Some(entered) = entered
        {
            self.enters_stuck_state(transition.id, entered);
        }
        if transition.new == TcpState::Close
            && let Some(endpoint) = self.table.take(entry)
        {
            let table = &self.table;
            let lives = |id| table.find(id).is_some();
            self.stale_closing.closed(transition.id, lives);
            self.close(transition.id, endpoint, transition.at);
        }
    }
}

/// Whether this transition shows that a new connection has the addresses and ports for itself.
/// connect() fails without them (`EADDRNOTAVAIL` of `__inet_hash_connect`), after SYN_SENT and
/// before it has sent a SYN.
fn reuses_tuple(transition: &Transition) -> bool {
    match (transition.old, transition.new) {
        (TcpState::SynSent, TcpState::Close) => {
            let evidence = transition.evidence.as_ref();
            evidence.is_some_and(|evidence| evidence.segs_out > 0)
        }
        (old, _) => matches!(old, TcpState::SynSent | TcpState::SynRecv),
    }
}

/// Whether this end has closed and waits for its peer.
pub(super) fn is_closing(state: TcpState) -> bool {
    use TcpState::{Closing, FinWait1, FinWait2, LastAck};
    matches!(state, FinWait1 | FinWait2 | Closing | LastAck)
}
