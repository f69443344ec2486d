//! The last metrics that an output's receiver has accepted.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use crate::metrics::MetricsSnapshot;

/// The last metrics that the receiver has accepted. Clones share them, so that they outlive a
/// change of the output's configuration.
#[derive(Clone, Debug, Default)]
pub(super) struct LastAccepted(Arc<Mutex<Option<Accepted>>>);

/// Metrics that a receiver has accepted.
#[derive(Clone, Debug)]
pub(super) struct Accepted {
    /// The snapshot that they were made from.
    pub(super) snapshot: Arc<MetricsSnapshot>,
    /// The time of their points.
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
