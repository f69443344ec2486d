//! What goes into the core, and all of it: whoever keeps these in their order can have the same findings again.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use super::event::Event;
use super::finding::Loss;
use super::leak::Answers;
use super::orphan::Minisocket;
use super::time_wait::Sweep;
use super::tracker::{Existing, Tracker};
use super::types::{ConnId, Nanos, NetNs};

/// One thing that the core is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Input {
    /// The kernel said something about one socket.
    Event(Event),
    /// Time has passed: see [`Tracker::tick`].
    Time(Nanos),
    /// What a socket that was asked for has become: see [`Tracker::looked_up`].
    LookedUp {
        /// Which.
        id: ConnId,
        /// The answer.
        minisocket: Minisocket,
        /// When it was given.
        at: Nanos,
    },
    /// A look at a namespace's minisockets: see [`Tracker::swept`].
    Swept(Sweep),
    /// What a look at ends in CLOSE_WAIT has shown: see [`Tracker::answered`].
    Answered(Answers),
    /// The sockets of a snapshot: see [`Tracker::seed`].
    Existing {
        /// Listeners first.
        sockets: Vec<Existing>,
        /// When the snapshot was taken.
        at: Nanos,
    },
    /// Who was alive in a snapshot after a loss: see [`Tracker::doubt_missing`].
    Alive {
        /// The namespaces of which all is known.
        namespaces: HashSet<NetNs>,
        /// The cookies of all their sockets.
        alive: HashSet<ConnId>,
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
            Input::LookedUp { id, minisocket, at } => self.looked_up(*id, *minisocket, *at),
            Input::Answered(answers) => self.answered(answers),
            Input::Swept(sweep) => self.swept(sweep),
            Input::Existing { sockets, at } => self.seed(sockets, *at),
            Input::Alive {
                namespaces,
                alive,
                began,
            } => self.doubt_missing(namespaces, alive, *began),
            Input::Lost(loss) => self.lose(*loss),
        }
    }
}
