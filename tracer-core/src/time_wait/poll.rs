//! Polls of minisockets: requests and responses.

use serde::{Deserialize, Serialize};

use crate::kernel_ids::zero_is_none;
use crate::types::{EndpointId, Nanos, NetNs, Tuple};

/// A poll of a namespace's minisockets that is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PollRequest {
    /// The namespace; `None` where the sockets' namespace is not known.
    pub netns: Option<NetNs>,
    /// The minisockets to look up: addresses and ports, and the cookie where there is one. Empty
    /// when there are so many that listing all of the namespace is cheaper.
    pub minisockets: Vec<(Tuple, Option<EndpointId>)>,
}

/// The response to a poll of a namespace's minisockets.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PollResponse {
    /// The namespace, as in the [`PollRequest`].
    #[serde(with = "zero_is_none")]
    pub netns: Option<NetNs>,
    /// When the poll began.
    pub began: Nanos,
    /// When the poll ended.
    pub ended: Nanos,
    /// The CPU time that it took.
    pub cost: Nanos,
    /// Whether the namespace could be entered. If not, it is gone, or only its last process is.
    pub reached: bool,
    /// Whether nothing was left out. If something was, a minisocket that is missing may still
    /// exist.
    pub complete: bool,
    /// How much `TCPTimeWaitOverflow` has grown since the last poll.
    pub overflows: u64,
    /// The minisockets in TIME_WAIT, at least the requested ones.
    pub found: Vec<PolledMinisocket>,
}

/// A minisocket in TIME_WAIT.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct PolledMinisocket {
    /// The socket's cookie.
    pub cookie: EndpointId,
    /// The local and peer addresses and ports.
    pub tuple: Tuple,
    /// The remaining time of the timer; zero if it is due.
    pub left: Nanos,
}

/// The number of a poll, which wraps around: an entry's is never older than that of the poll
/// before.
pub(super) type PollNumber = u8;

/// The response to a poll that is being applied, in slices.
#[derive(Debug)]
pub(super) struct PendingPoll {
    pub poll: PollResponse,
    /// The number of found minisockets that have been marked.
    pub marked: usize,
    /// The number of entries that are still to be judged; `None` until all found minisockets are
    /// marked.
    pub unchecked: Option<usize>,
    /// When the entries that are left are due for the next poll.
    pub next: Option<Nanos>,
}
