//! The inputs of the core. The same inputs in the same order always give the same findings.

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
    /// The result of a probe of a minisocket: see
    /// [`Tracker::probed`](crate::Tracker::probed).
    Probed {
        /// The endpoint that was probed.
        id: EndpointId,
        /// The result.
        minisocket: Minisocket,
        /// When the result was obtained.
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
        /// The sockets, listeners first.
        sockets: Vec<SnapshotSocket>,
        /// When the snapshot was taken.
        at: Nanos,
    },
    /// The sockets that were alive in a snapshot after a loss: see
    /// [`Tracker::resync`](crate::Tracker::resync).
    Alive {
        /// The namespaces whose sockets were all read.
        namespaces: HashSet<NetNs>,
        /// The cookies of all their sockets.
        alive: HashSet<EndpointId>,
        /// When the snapshot was begun.
        began: Nanos,
    },
    /// Records were lost before they reached the core: see [`Tracker::lose`](crate::Tracker::lose).
    Lost(Loss),
}
