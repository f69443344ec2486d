//! Closes by how they ended.

use serde::Serialize;

use super::counts_by_word::CountsByWord;
use tcpclose_core::finding::{Cause, ClosePath, Initiator};
use tcpclose_core::summary::Counts;

/// The object `closes` of summaries and rollups.
#[derive(Serialize)]
pub(super) struct CloseCounts {
    path: CountsByWord<ClosePath>,
    initiator: CountsByWord<Initiator>,
    cause: CountsByWord<Option<Cause>>,
}

impl CloseCounts {
    /// Returns the counts of all closes, and of the causes of the abnormal ones.
    pub(super) fn new(
        closes: &Counts<(ClosePath, Initiator)>,
        causes: &Counts<Option<Cause>>,
    ) -> Self {
        Self {
            path: CountsByWord(closes.by(|(path, _)| path), ClosePath::into),
            initiator: CountsByWord(closes.by(|(_, initiator)| initiator), Initiator::into),
            cause: CountsByWord(causes.clone(), |cause| cause.map_or("unknown", Into::into)),
        }
    }
}
