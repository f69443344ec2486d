//! What goes into the core, and all of it: whoever keeps these in their order can have the same findings again.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use super::event::Event;
use super::finding::Loss;
use super::orphan::Minisocket;
use super::stuck::ProbeResponse;
use super::time_wait::Poll;
use super::tracker::{SnapshotSocket, Tracker};
use super::types::{EndpointId, Nanos, NetNs};

/// One thing that the core is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Input {
    /// The kernel said something about one socket.
    Event(Event),
    /// Time has passed: see [`Tracker::tick`].
    Time(Nanos),
    /// What a socket that was asked for has become: see [`Tracker::probed`].
    Probed {
        /// Which.
        id: EndpointId,
        /// The answer.
        minisocket: Minisocket,
        /// When it was given.
        at: Nanos,
    },
    /// A look at a namespace's minisockets: see [`Tracker::apply_poll`].
    Polled(Poll),
    /// What a look at ends in CLOSE_WAIT has shown: see [`Tracker::apply_stuck_probe`].
    StuckProbed(ProbeResponse),
    /// The sockets of a snapshot: see [`Tracker::seed`].
    SnapshotSocket {
        /// Listeners first.
        sockets: Vec<SnapshotSocket>,
        /// When the snapshot was taken.
        at: Nanos,
    },
    /// Who was alive in a snapshot after a loss: see [`Tracker::resync`].
    Alive {
        /// The namespaces of which all is known.
        namespaces: HashSet<NetNs>,
        /// The cookies of all their sockets.
        alive: HashSet<EndpointId>,
        /// When the snapshot was begun.
        began: Nanos,
    },
    /// Records were lost before they came here: see [`Tracker::lose`].
    Lost(Loss),
}

impl Tracker {
    /// Takes one input.
    pub fn take(&mut self, input: &Input) {
        match input {
            Input::Event(event) => self.ingest(event),
            Input::Time(now) => self.tick(*now),
            Input::Probed { id, minisocket, at } => self.probed(*id, *minisocket, *at),
            Input::StuckProbed(answers) => self.apply_stuck_probe(answers),
            Input::Polled(sweep) => self.apply_poll(sweep),
            Input::SnapshotSocket { sockets, at } => self.seed(sockets, *at),
            Input::Alive {
                namespaces,
                alive,
                began,
            } => self.resync(namespaces, alive, *began),
            Input::Lost(loss) => self.lose(*loss),
        }
    }
}
