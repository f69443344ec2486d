//! Everything that goes into the core: the same inputs in the same order give the same findings
//! again.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use super::event::Event;
use super::finding::Loss;
use super::orphan::Minisocket;
use super::snapshot::SnapshotSocket;
use super::stuck::ProbeResponse;
use super::time_wait::Poll;
use super::types::{EndpointId, Nanos, NetNs};

/// One input of the core.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Input {
    /// The kernel reported something about one socket.
    Event(Event),
    /// Time has passed: see [`Tracker::tick`](crate::Tracker::tick).
    Time(Nanos),
    /// What a socket that was asked for has become: see
    /// [`Tracker::probed`](crate::Tracker::probed).
    Probed {
        /// Which.
        id: EndpointId,
        /// The answer.
        minisocket: Minisocket,
        /// When it was given.
        at: Nanos,
    },
    /// The result of a poll of a namespace's minisockets: see
    /// [`Tracker::apply_poll`](crate::Tracker::apply_poll).
    Polled(Poll),
    /// The response to a probe of sockets that may be stuck: see
    /// [`Tracker::apply_stuck_probe`](crate::Tracker::apply_stuck_probe).
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
