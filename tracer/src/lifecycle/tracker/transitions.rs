//! A transition of one socket: which entry it moves, and what follows from that.

use tcpclose_common::TcpState;

use super::Tracker;
use crate::lifecycle::close_path::Fate;
use crate::lifecycle::connection::Connection;
use crate::lifecycle::event::Transition;
use crate::lifecycle::leak::LeakEnd;
use crate::lifecycle::types::{ConnId, OwnerSource, Role};

impl Tracker {
    pub(super) fn transition(&mut self, transition: &Transition) {
        match (transition.old, transition.new) {
            // The listener's own cookie stands here, or none: the child is met at ESTABLISHED.
            (TcpState::Listen, TcpState::SynRecv) | (TcpState::Close, TcpState::Close) => {}
            (_, TcpState::Listen) => {
                let owner = self.owners.of(transition.task, OwnerSource::Listen);
                self.listeners
                    .opened(transition.netns, &transition.tuple, owner);
            }
            (TcpState::Listen, _) => self.listeners.closed(transition.netns, &transition.tuple),
            (TcpState::Close, TcpState::SynSent) => {
                // The socket's earlier life ended with a →CLOSE that was lost.
                self.table.remove(transition.id);
                let mut connection = self.begin(transition);
                connection.role = Role::Client;
                connection.seen_from_start = true;
                connection.owner = self.owners.of(transition.task, OwnerSource::Connect);
                connection.advance(transition);
                // connect() has chosen no port yet; what stands there is that of the socket's earlier life.
                connection.tuple.local_port = 0;
                if self.filters_ports {
                    self.connecting.push_back((transition.at, transition.id));
                }
                self.insert(transition.id, connection);
            }
            (TcpState::SynRecv, _) if self.is_new_or_stale(transition) => {
                self.table.remove(transition.id);
                let mut connection = self.begin(transition);
                connection.role = Role::Server;
                connection.seen_from_start = true;
                connection.since = transition.at.into();
                connection.owner = self
                    .listeners
                    .owner_of(transition.netns, &transition.tuple)
                    .cloned();
                self.insert(transition.id, connection);
                self.advance(transition);
            }
            _ => {
                if self.is_new_or_stale(transition) {
                    self.table.remove(transition.id);
                    let connection = self.begin(transition);
                    self.insert(transition.id, connection);
                }
                self.advance(transition);
            }
        }
    }

    /// Whether nothing is known of the socket, or only of an earlier one at the same address: without a cookie, a state
    /// that does not join is more likely another socket's than a transition that was missed.
    fn is_new_or_stale(&self, transition: &Transition) -> bool {
        let Some(known) = self.table.get(transition.id) else {
            return true;
        };
        // A snapshot showed it before the record of its opening came.
        let overtaken = transition.old == TcpState::SynRecv && !known.seen_from_start;
        overtaken
            || !transition.id.is_cookie()
                && known.state != transition.old
                && transition.old != transition.new
    }

    /// A connection whose first transition this is.
    pub(super) fn begin(&mut self, transition: &Transition) -> Connection {
        let id = if transition.id.is_cookie() {
            transition.id
        } else {
            self.last_serial += 1;
            ConnId(self.last_serial)
        };
        Connection::new(id, transition)
    }

    pub(super) fn insert(&mut self, key: ConnId, connection: Connection) {
        if self.table.insert(key, connection).is_some() {
            self.evicted += 1;
        }
    }

    /// Moves a connection that is in the table, and out of it at →CLOSE.
    fn advance(&mut self, transition: &Transition) {
        // connect() told the owner of a client already.
        let closer = self.owners.of(transition.task, OwnerSource::Close);
        let Some(connection) = self.table.touch(transition.id) else {
            return;
        };
        if let Some(closer) = closer
            && connection
                .owner
                .as_ref()
                .is_none_or(|owner| owner.source != OwnerSource::Connect)
        {
            connection.owner = Some(closer);
        }
        let since = connection.since.get();
        let closing = connection.closing.as_deref_mut();
        let watched = closing.filter(|_| transition.new != TcpState::CloseWait);
        let watched = watched.and_then(|closing| closing.watched.take());
        let was_closing = is_closing(connection.state);
        connection.advance(transition);
        if is_closing(connection.state) && !was_closing {
            self.suspects.closing(transition.id, transition.at);
        }
        let entered = connection.since.get();
        if transition.new == TcpState::Established && transition.old != TcpState::Established {
            connection.establish(transition);
            self.opened += 1;
        }
        if takes_a_place(transition) {
            // connect() took the place of a minisocket right after SYN_SENT, the peer's SYN before this.
            let began = match connection.role {
                Role::Client => since.unwrap_or(transition.at),
                Role::Server | Role::Unknown => transition.at,
            };
            let (netns, role) = (connection.netns, connection.role);
            let tuple = connection.tuple;
            if let Some(orphan) = self.orphans.take_replaced(netns, &tuple) {
                self.emit(&orphan.connection, Fate::Lost(began));
            }
            let replaced = self.time_waits.opened_again(netns, &tuple, role, began);
            self.tell(replaced);
        }
        if let Some(stuck) = watched.and_then(|watched| watched.told) {
            self.resolve(stuck, transition.at, LeakEnd::of(transition));
        }
        if transition.new == TcpState::CloseWait
            && transition.old != TcpState::CloseWait
            && let Some(entered) = entered
        {
            self.waits_for_close(transition.id, entered);
        }
        if transition.new == TcpState::Close
            && let Some(connection) = self.table.remove(transition.id)
        {
            let table = &self.table;
            self.suspects.forget_closed(|id| table.get(id).is_some());
            self.close(transition.id, connection, transition.at);
        }
    }
}

/// Whether this transition shows that a new connection has the addresses and ports for itself. connect() fails without
/// them (`EADDRNOTAVAIL` of `__inet_hash_connect`), after SYN_SENT and before it has sent a SYN.
fn takes_a_place(transition: &Transition) -> bool {
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
