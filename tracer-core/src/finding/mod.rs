//! What the core has found out. The output writes these down; the names are DESIGN.md's words.

mod close;
mod time_wait;

use serde::{Deserialize, Serialize};
use strum::{Display, IntoStaticStr, VariantArray};

use super::stuck::StuckSocket;
use super::types::Nanos;

pub use super::endpoint::Endpoint;
pub use close::{
    Bytes, Close, ClosePath, HalfClose, Initiator, Reset, ResetReason, SegmentFlags, Side, States,
    Step, Steps,
};
pub use time_wait::{Measured, TimeWait, TimeWaitEnd};

/// One finding, in the order in which it became known.
#[derive(Clone, Debug)]
pub enum Finding {
    /// A connection end has closed and its path is known as well as it ever will be.
    Close(Box<Close>),
    /// A connection end has left TIME_WAIT.
    TimeWait(Box<TimeWait>),
    /// A socket is stuck, or is no longer.
    Stuck(Box<StuckSocket>),
    /// Something that should have been seen was not.
    Loss(Loss),
}

impl Finding {
    /// When it became known.
    #[must_use]
    pub fn at(&self) -> Nanos {
        match self {
            Self::Close(close) => close.at,
            Self::TimeWait(time_wait) => time_wait.at,
            Self::Stuck(stuck) => stuck.at,
            Self::Loss(loss) => loss.at,
        }
    }
}

/// Records or connections that were lost: nothing is lost in silence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loss {
    /// When it was noticed.
    pub at: Nanos,
    /// How many.
    pub lost: u64,
    /// Where.
    pub location: LossLocation,
    /// The table of live ends has been compared with the kernel's since.
    pub repaired: bool,
}

/// Where something was lost.
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
    /// already.
    Program,
    /// Live connections evicted from the full table.
    Table,
    /// Findings that a slow output could not take.
    Output,
    /// Records that could not be understood.
    Decode,
    /// What a recording lacks, because the disk was too slow.
    Recording,
    /// Requests for the state of sockets that were not answered, because the thread that asks the
    /// kernel has panicked.
    Probe,
}
