//! The records that outputs write.

use tcpclose_core::event::Transition;
use tcpclose_core::finding::Finding;
use tcpclose_core::summary::Rollup;
use tcpclose_core::types::Nanos;

use crate::summary::IntervalSummary;

/// One record of the program's output.
#[derive(Clone, Debug)]
pub enum Record {
    /// A finding of the core.
    Finding(Finding),
    /// The summary of an interval.
    Summary(Box<IntervalSummary>),
    /// The closes of one service in an interval.
    Rollup(Box<Rollup>),
}

impl Record {
    /// Returns when the record became known.
    #[must_use]
    pub fn at(&self) -> Nanos {
        match self {
            Self::Finding(finding) => finding.at(),
            Self::Summary(summary) => summary.connections.to,
            Self::Rollup(rollup) => rollup.to,
        }
    }
}

impl From<Finding> for Record {
    fn from(finding: Finding) -> Self {
        Self::Finding(finding)
    }
}

/// A transition as the kernel reported it, with the time that the socket spent in the old state.
#[derive(Clone, Copy, Debug)]
pub struct RawTransition {
    /// The transition as it was recorded.
    pub transition: Transition,
    /// The time in the old state; `None` if the socket was not seen entering that state.
    pub time_in_old_state: Option<Nanos>,
}
