//! What outputs are given to write.

use tcpclose_core::finding::Finding;
use tcpclose_core::types::Nanos;

use crate::summary::Summary;

/// One record of the program's output.
#[derive(Clone, Debug)]
pub enum Record {
    /// A finding of the core.
    Finding(Finding),
    /// The summary of an interval.
    Summary(Box<Summary>),
}

impl Record {
    /// Returns when it became known.
    #[must_use]
    pub fn at(&self) -> Nanos {
        match self {
            Self::Finding(finding) => finding.at(),
            Self::Summary(summary) => summary.connections.to,
        }
    }
}

impl From<Finding> for Record {
    fn from(finding: Finding) -> Self {
        Self::Finding(finding)
    }
}
