//! Joins a snapshot of sockets with the records that come while it is taken, so that no endpoint
//! comes to life again that has closed meanwhile, and none is taken for older than it is.

use std::collections::{HashMap, HashSet};

use tcpclose_common::TcpState;

use super::event::{Event, Transition};
use super::snapshot::SnapshotSocket;
use super::types::{EndpointId, NetNs, Tuple};

/// The most sockets of which it is kept by default what the records showed, and the most addresses.
const MAX_NOTED: usize = 1 << 20;

/// What the records that came since a snapshot was begun have shown of sockets. Each method that
/// takes sockets of the snapshot returns those that the core is to get.
#[derive(Debug)]
pub struct SnapshotJoin {
    max_noted: usize,
    sockets: HashMap<EndpointId, Noted>,
    /// The addresses and ports in the records of transitions.
    tuples: HashSet<(Option<NetNs>, Tuple)>,
    is_full: bool,
}

/// What the records of one socket have shown.
#[derive(Clone, Copy, Debug, Default)]
struct Noted {
    /// A connection of it was opened, or it began to listen.
    opened: bool,
    /// Its last life has ended.
    ended: bool,
}

impl Default for SnapshotJoin {
    fn default() -> Self {
        Self::new(MAX_NOTED)
    }
}

impl SnapshotJoin {
    /// Returns one for the records of at most so many sockets.
    #[must_use]
    pub fn new(max_noted: usize) -> Self {
        Self {
            max_noted,
            sockets: HashMap::new(),
            tuples: HashSet::new(),
            is_full: false,
        }
    }

    /// Notes a record.
    pub fn note(&mut self, event: &Event) {
        if self.sockets.len().max(self.tuples.len()) >= self.max_noted {
            self.is_full = true;
            return;
        }
        let transition = match event {
            Event::Transition(transition) => transition,
            Event::Signal(signal) => {
                self.sockets.entry(signal.id).or_default();
                return;
            }
        };
        // This has the listener's cookie, or none.
        if (transition.old, transition.new) == (TcpState::Listen, TcpState::SynRecv) {
            return;
        }
        let noted = self.sockets.entry(transition.id).or_default();
        noted.opened |= is_opening(transition);
        noted.ended = transition.new == TcpState::Close;
        self.tuples.insert((transition.netns, transition.tuple));
    }

    /// Returns whether there were more records than can be noted. What the snapshot shows of
    /// connections is then left out, so that nothing false is reported, and another one is needed.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.is_full
    }

    /// Returns the sockets of which no record has come: what the snapshot shows of the others may
    /// be older than their records.
    #[must_use]
    pub fn untouched(&self, sockets: Vec<SnapshotSocket>) -> Vec<SnapshotSocket> {
        self.select(sockets, |socket, noted| {
            noted.is_none() && !self.is_in_records(socket)
        })
    }

    /// Returns the sockets for a core that gets the records afterwards. They show how each
    /// connection goes on that was open, and tell all of one that was opened since.
    #[must_use]
    pub fn before_records(&self, sockets: Vec<SnapshotSocket>) -> Vec<SnapshotSocket> {
        self.select(sockets, |socket, noted| match noted {
            _ if socket.state == TcpState::Listen => true,
            None => true,
            Some(_) if socket.kind.left().is_some() => false,
            Some(noted) => !noted.opened,
        })
    }

    /// Returns the sockets for a core that got the records before: those that may still be open. Of
    /// one that is known the core takes only what its records did not show.
    #[must_use]
    pub fn after_records(&self, sockets: Vec<SnapshotSocket>) -> Vec<SnapshotSocket> {
        self.select(sockets, |socket, noted| match noted {
            _ if socket.state == TcpState::Listen => noted.is_none_or(|noted| !noted.ended),
            // Another socket has its addresses by now.
            None => !self.is_in_records(socket),
            Some(noted) => socket.kind.left().is_none() && !noted.ended,
        })
    }

    fn is_in_records(&self, socket: &SnapshotSocket) -> bool {
        self.tuples.contains(&(Some(socket.netns), socket.tuple))
    }

    fn select(
        &self,
        mut sockets: Vec<SnapshotSocket>,
        is_wanted: impl Fn(&SnapshotSocket, Option<Noted>) -> bool,
    ) -> Vec<SnapshotSocket> {
        sockets.retain(|socket| {
            let noted = self.sockets.get(&socket.cookie).copied();
            let is_certain = !self.is_full || socket.state == TcpState::Listen;
            is_certain && is_wanted(socket, noted)
        });
        sockets
    }
}

/// Returns whether a transition begins a life of its socket.
const fn is_opening(transition: &Transition) -> bool {
    matches!(
        (transition.old, transition.new),
        (TcpState::Close, TcpState::SynSent | TcpState::Listen) | (TcpState::SynRecv, _)
    )
}
