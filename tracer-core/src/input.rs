//! What goes into the core, and all of it: whoever keeps these in their order can have the same findings again.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use super::event::Event;
use super::finding::Loss;
use super::orphan::Minisocket;
use super::snapshot::SnapshotSocket;
use super::stuck::ProbeResponse;
use super::time_wait::Poll;
use super::types::{EndpointId, Nanos, NetNs};

/// One thing that the core is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Input {
    /// The kernel said something about one socket.
    Event(Event),
    /// Time has passed: see [`Tracker::tick`](crate::Tracker::tick).
    Time(Nanos),
    /// What a socket that was asked for has become: see [`Tracker::probed`](crate::Tracker::probed).
    Probed {
        /// Which.
        id: EndpointId,
        /// The answer.
        minisocket: Minisocket,
        /// When it was given.
        at: Nanos,
    },
    /// A look at a namespace's minisockets: see [`Tracker::apply_poll`](crate::Tracker::apply_poll).
    Polled(Poll),
    /// What a look at ends in CLOSE_WAIT has shown: see [`Tracker::apply_stuck_probe`](crate::Tracker::apply_stuck_probe).
    StuckProbed(ProbeResponse),
    /// The sockets of a snapshot: see [`Tracker::seed`](crate::Tracker::seed).
    SnapshotSocket {
        /// Listeners first.
        sockets: Vec<SnapshotSocket>,
        /// When the snapshot was taken.
        at: Nanos,
    },
    /// Who was alive in a snapshot after a loss: see [`Tracker::resync`](crate::Tracker::resync).
    Alive {
        /// The namespaces of which all is known.
        namespaces: HashSet<NetNs>,
        /// The cookies of all their sockets.
        alive: HashSet<EndpointId>,
        /// When the snapshot was begun.
        began: Nanos,
    },
    /// Records were lost before they came here: see [`Tracker::lose`](crate::Tracker::lose).
    Lost(Loss),
}
