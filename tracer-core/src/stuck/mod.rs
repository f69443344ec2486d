//! Stuck sockets: sockets that stay in a state which their process or its peer should
//! have ended.
//!
//! There is one description of them, [`StuckSocket`], whether they are found by scans of the host
//! ([`ScanHistory`]), by the tracer, which has an endpoint probed when it has been in its state for
//! long ([`ProbeRequest`](crate::ProbeRequest)), or in a recording. One rule decides whether a
//! socket is stuck ([`PollHistory`]). A [`Report`] has all that are stuck at one moment.
//!
//! What ends a state, and so what is missing where a socket stays in it, is a property of the state
//! (`rule.rs`); ages and verdicts are made of the evidence that belongs to it.

mod age;
mod by_owner;
mod deadlines;
mod observed;
mod owner;
mod owner_key;
mod poll_history;
mod probe;
mod report;
mod resolution;
mod rule;
mod scan_history;
mod socket;
#[cfg(test)]
mod tests;
mod trend;
mod verdict;
pub mod why;

use std::time::Duration;

pub use age::{Age, AgeCertainty};
pub use by_owner::{
    OwnerCount, OwnerGroup, Peer, TOP_VALUES, VerdictCount, by_owner, count_by_owner,
};
pub(super) use deadlines::Deadlines;
pub use observed::{Activity, ObservedSocket, Unanswered, UnansweredKind};
pub use owner::{Holder, HolderCoverage, OwnerProcess, OwnerUnknown};
pub use owner_key::OwnerKey;
pub use poll_history::PollHistory;
pub use probe::{ProbedSocket, StuckProbeResponse};
pub use report::{Changes, Report};
pub use resolution::Resolution;
pub use rule::STUCK_STATES;
pub(super) use rule::is_timed_from_entry;
pub use scan_history::{ScanHistory, ScanOutcome};
pub(super) use socket::StuckTracking;
pub use socket::{StuckEvent, StuckSocket};
pub use trend::{Fit, Forecast, MIN_SAMPLES, Sample, TrendLines, Trends};
pub use verdict::Verdict;

/// The shortest time after which a socket may be called stuck. Every connection that its peer
/// closes first is in CLOSE_WAIT for a moment: probing all of them would cost too much.
pub const MIN_STUCK_AFTER: Duration = Duration::from_millis(100);
