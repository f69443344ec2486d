//! The inputs of the core. The same inputs in the same order always give the same findings.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use super::event::Event;
use super::finding::Loss;
use super::parked::MinisocketState;
use super::saved::{RestoreEnd, SavedEndpoints};
use super::snapshot::SnapshotSocket;
use super::stuck::StuckProbeResponse;
use super::time_wait::PollResponse;
use super::types::{EndpointId, Nanos, NetNs};

/// One input of the core.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Input {
    /// The kernel reported something about one socket.
    Event(Event),
    /// Time has passed; all earlier events have been applied. Waits that are over by then end.
    Time(Nanos),
    /// The result of a probe of a minisocket, which
    /// [`Tracker::due_probes`](crate::Tracker::due_probes) requested.
    MinisocketProbe {
        /// The endpoint that was probed.
        id: EndpointId,
        /// What the lookup has found.
        minisocket: MinisocketState,
        /// When the result was obtained.
        at: Nanos,
    },
    /// The result of a poll of a namespace's minisockets, which
    /// [`Tracker::due_polls`](crate::Tracker::due_polls) requested. Times that follow apply the
    /// rest of a large one.
    Poll(PollResponse),
    /// The response to a probe of sockets that may be stuck, which
    /// [`Tracker::due_stuck_probes`](crate::Tracker::due_stuck_probes) requested.
    StuckProbe(StuckProbeResponse),
    /// The sockets of a snapshot. Those that are not known yet are added; of the others, role and
    /// owner are taken where no record has shown them. A snapshot may come in parts, and after
    /// records that are newer: [`SnapshotJoin`](crate::SnapshotJoin) then selects its sockets.
    Snapshot {
        /// The sockets, listeners first; where only owners are new, listeners last.
        sockets: Vec<SnapshotSocket>,
        /// When the snapshot was taken.
        at: Nanos,
    },
    /// The sockets that were alive in a snapshot after a loss. The others may have closed unseen,
    /// and are probed.
    AliveSockets {
        /// The namespaces whose sockets were all read.
        namespaces: HashSet<NetNs>,
        /// The cookies of all their sockets.
        alive: HashSet<EndpointId>,
        /// When the snapshot was begun.
        began: Nanos,
    },
    /// Records were lost before they reached the core. The loss is reported in order with the other
    /// findings.
    Loss(Loss),
    /// Endpoints that an earlier tracker of this boot has [saved](crate::Tracker::save). Each is
    /// taken over once a snapshot or a record shows that its socket is still there.
    Restore(SavedEndpoints),
    /// All sockets that were open after the restart were looked at. The time between is reported,
    /// and what has ended in it.
    RestoreEnd(RestoreEnd),
    /// What follows does not continue what came before, of which nothing is known any more. Closes
    /// that still wait for their peer's are reported.
    StartOver,
    /// Endpoints that another tracker knew at this moment ([saved](crate::Tracker::save)): this one
    /// goes on with them as they are.
    Resume {
        /// The endpoints.
        saved: SavedEndpoints,
        /// The moment.
        at: Nanos,
    },
}
