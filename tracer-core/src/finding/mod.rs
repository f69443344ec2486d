//! What the core reports. docs/json.md describes the same findings as JSON.

mod cause;
mod close;
mod time_wait;

use serde::{Deserialize, Serialize};
use strum::{Display, IntoStaticStr, VariantArray};

use super::stuck::StuckSocket;
use super::types::Nanos;

pub use super::endpoint::{Endpoint, InitialSequenceNumbers};
pub use cause::Cause;
pub use close::{
    Bytes, Close, ClosePath, HalfClose, Initiator, Lost, Reset, ResetReason, SegmentFlags, Side,
    StateDurations, Step, Steps,
};
pub use time_wait::{EndSource, TimeWait, TimeWaitEnd};

/// One finding, in the order in which it became known.
#[derive(Clone, Debug)]
pub enum Finding {
    /// An endpoint has closed and its path is known as well as it ever will be.
    Close(Box<Close>),
    /// An endpoint has left TIME_WAIT.
    TimeWait(Box<TimeWait>),
    /// A socket is stuck, or is no longer.
    Stuck(Box<StuckSocket>),
    /// Records, connections or findings that were lost.
    Loss(Loss),
}

impl Finding {
    /// Returns when the finding was made.
    #[must_use]
    pub fn at(&self) -> Nanos {
        match self {
            Self::Close(close) => close.at,
            Self::TimeWait(time_wait) => time_wait.at,
            Self::Stuck(stuck) => stuck.at,
            Self::Loss(loss) => loss.at,
        }
    }

    /// Returns whether it is about a connection of the
    /// [self-test](super::types::SELF_TEST_ADDRESS).
    #[must_use]
    pub fn is_self_test(&self) -> bool {
        let endpoint = match self {
            Self::Close(close) => &close.endpoint,
            Self::TimeWait(time_wait) => &time_wait.endpoint,
            Self::Stuck(stuck) => &stuck.endpoint,
            Self::Loss(_) => return false,
        };
        endpoint.tuple.is_self_test()
    }
}

/// A loss of records, connections or findings. Every loss is reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loss {
    /// When the loss was noticed.
    pub at: Nanos,
    /// The number of lost items; `location` shows their kind.
    pub lost: u64,
    /// Where the loss occurred.
    pub location: LossLocation,
    /// Whether the core has been resynced with the kernel's sockets since.
    pub repaired: bool,
    /// For how long nothing was traced; only of [`LossLocation::Restart`]. Recordings hold no such
    /// loss: it follows from their inputs.
    #[serde(skip)]
    pub duration: Option<Nanos>,
}

/// The location of a loss, which also shows what was lost.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    Deserialize,
    Display,
    IntoStaticStr,
    VariantArray,
)]
#[strum(serialize_all = "snake_case")]
pub enum LossLocation {
    /// Records that found the kernel's ring buffer full.
    Ring,
    /// Runs of the eBPF programs that the kernel skipped, because they were running on that CPU
    /// already. What it did not count is included: transitions that are missing, since those before
    /// and after them do not join.
    Program,
    /// Live connections evicted from the full table.
    Table,
    /// Findings that a slow output could not take.
    Output,
    /// Records that could not be decoded.
    Decode,
    /// Entries that a recording lacks, because the disk was too slow.
    Recording,
    /// Requests for the state of sockets that were not answered, because the thread that probes
    /// them has panicked.
    Probe,
    /// Endpoints that were open before a restart of the tracer and ended before it traced again.
    /// What opened and closed in between is not known.
    Restart,
}
