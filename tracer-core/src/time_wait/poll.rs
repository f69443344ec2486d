//! Polls of minisockets: what is asked, and what came back.

use serde::{Deserialize, Serialize};

use crate::kernel_ids::zero_is_none;
use crate::types::{EndpointId, Nanos, NetNs, Tuple};

/// A look at the minisockets of a namespace that is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PollRequest {
    /// The namespace; `None` where the kernel did not say which one the sockets live in.
    pub netns: Option<NetNs>,
    /// Whom to look for: addresses and ports, and the cookie where there is one. Empty when there are so many that a
    /// look at all of them is cheaper.
    pub wanted: Vec<(Tuple, Option<EndpointId>)>,
}

/// The result of a look at the minisockets of a namespace.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Poll {
    /// The namespace, as in the [`PollRequest`].
    #[serde(with = "zero_is_none")]
    pub netns: Option<NetNs>,
    /// When the look began.
    pub began: Nanos,
    /// When it ended.
    pub ended: Nanos,
    /// The CPU time that it took.
    pub cost: Nanos,
    /// There was a way into the namespace. If not, it is gone, or only its last process is.
    pub reached: bool,
    /// Nothing was left out; if not, absence means nothing.
    pub complete: bool,
    /// How much `TCPTimeWaitOverflow` has grown since the last look at it.
    pub overflows: u64,
    /// The minisockets in TIME_WAIT, of those that were wanted at least.
    pub found: Vec<PolledMinisocket>,
}

/// A minisocket in TIME_WAIT.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct PolledMinisocket {
    /// Its cookie.
    pub cookie: EndpointId,
    /// Its addresses and ports.
    pub tuple: Tuple,
    /// What its timer has left; zero when it is due.
    pub left: Nanos,
}

/// The number of a look, counted round: each entry's is that of the look before at the earliest.
pub(super) type Look = u8;

/// A look's result that is being worked through.
#[derive(Debug)]
pub(super) struct Settling {
    pub sweep: Poll,
    /// How many of those found have been noted.
    pub noted: usize,
    /// How many entries are still to be judged; `None` before all those found are noted.
    pub unjudged: Option<usize>,
    /// When the entries that are left want to be looked for.
    pub next: Option<Nanos>,
}
