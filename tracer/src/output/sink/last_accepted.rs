//! What the receiver of metrics has accepted last.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use crate::metrics::Snapshot;

/// The metrics that the receiver has accepted last. Clones share them: they outlive a change of the output's
/// configuration.
#[derive(Clone, Debug, Default)]
pub(super) struct LastAccepted(Arc<Mutex<Option<Accepted>>>);

/// Metrics that were accepted.
#[derive(Clone, Debug)]
pub(super) struct Accepted {
    /// What they were made from.
    pub(super) snapshot: Arc<Snapshot>,
    /// The time that they had.
    pub(super) at: Timestamp,
}

impl LastAccepted {
    pub(super) fn get(&self) -> Option<Accepted> {
        self.lock().clone()
    }

    pub(super) fn set(&self, accepted: Accepted) {
        *self.lock() = Some(accepted);
    }

    fn lock(&self) -> MutexGuard<'_, Option<Accepted>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
