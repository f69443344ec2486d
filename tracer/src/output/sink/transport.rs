//! What an output's protocol does for the courier that brings it records.

use std::sync::Arc;
use std::time::Duration;

use crate::record::Record;

/// Hands records to a receiver. Runs in the output's own thread, and may block there.
pub(super) trait Transport: Send {
    /// Hands over records from the front of `records`, which is never empty: as many as suit the protocol, at least one
    /// where nothing fails. What a receiver may have got must not be counted as still to be done.
    fn deliver(&mut self, records: &[Arc<Record>]) -> Delivered;

    /// Comes before everything else, again and again until it works.
    ///
    /// # Errors
    /// A sentence that says what failed.
    fn open(&mut self) -> Result<(), String> {
        Ok(())
    }

    /// Starts anew with what can be renamed, replaced or restarted under it. Goes on as it was where that fails.
    ///
    /// # Errors
    /// A sentence that says what failed.
    fn reopen(&mut self) -> Result<(), String> {
        Ok(())
    }

    /// How long to wait for more records before some are handed over: where each request costs much.
    fn patience(&self) -> Duration {
        Duration::ZERO
    }
}

/// What became of the records that were to be delivered.
#[derive(Debug, Default)]
pub(super) struct Delivered {
    /// This many from the front are delivered…
    pub(super) written: usize,
    /// …or refused for good: trying again would not help. The rest is still to be done.
    pub(super) failed: usize,
    /// Why some were refused.
    pub(super) refusal: Option<String>,
    /// Why no more could be done now.
    pub(super) down: Option<Unavailable>,
}

/// The receiver does not take records at the moment.
#[derive(Debug)]
pub(super) struct Unavailable {
    /// What failed, on what.
    pub(super) reason: String,
    /// How long the receiver wants to be left alone, where it says.
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
