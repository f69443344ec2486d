//! The interface between an output's thread and the protocol of its receiver.

use std::sync::Arc;
use std::time::Duration;

use super::destination_error::DestinationError;
use crate::record::Record;

/// The largest number of records in one delivery to most receivers.
pub(super) const DEFAULT_MAX_BATCH: usize = 512;

/// Delivers records to a receiver. Runs in the output's own thread, and may block there.
pub(super) trait Transport: Send {
    /// Delivers records from the front of `records`, which is never empty: as many as suit the
    /// protocol, and at least one if nothing fails. Records that the receiver may have got must not
    /// be counted as undelivered.
    fn deliver(&mut self, records: &[Arc<Record>]) -> Delivered;

    /// Prepares the first delivery. Called again until it succeeds.
    ///
    /// # Errors
    /// What failed.
    fn open(&mut self) -> Result<(), DestinationError> {
        Ok(())
    }

    /// Opens again what may have been renamed, replaced or restarted. On failure the transport goes
    /// on as before.
    ///
    /// # Errors
    /// What failed.
    fn reopen(&mut self) -> Result<(), DestinationError> {
        Ok(())
    }

    /// Returns the largest number of records in one delivery.
    fn max_batch(&self) -> usize {
        DEFAULT_MAX_BATCH
    }

    /// Returns how long to wait for more records before a delivery, for protocols whose requests
    /// are expensive.
    fn batch_delay(&self) -> Duration {
        Duration::ZERO
    }
}

/// The outcome of a delivery.
#[derive(Debug, Default)]
pub(super) struct Delivered {
    /// This many records from the front are delivered.
    pub(super) written: usize,
    /// This many records after those were refused for good: a retry would not help. The rest is
    /// still undelivered.
    pub(super) failed: usize,
    /// The answer to a request with this many records from the front was lost: the receiver may
    /// have got them, whatever else became of them in this delivery or becomes of them in the next.
    pub(super) uncertain: usize,
    /// Why records were refused.
    pub(super) refusal: Option<String>,
    /// Why the rest could not be delivered now.
    pub(super) unavailable: Option<Unavailable>,
}

/// The receiver takes no records at the moment.
#[derive(Debug)]
pub(super) struct Unavailable {
    /// Which operation failed, and why.
    pub(super) reason: String,
    /// The pause that the receiver asked for, if any.
    pub(super) retry_after: Option<Duration>,
}

impl From<String> for Unavailable {
    fn from(reason: String) -> Self {
        Self {
            reason,
            retry_after: None,
        }
    }
}
