//! What a record of an agent that samples says of that.

use serde::Serialize;

use crate::sampling::{KeptFor, Sampling};

/// The rate of an agent that samples, and why it kept the record.
#[derive(Clone, Copy, Serialize)]
pub(in crate::output::json) struct Sample {
    rate: f64,
    kept_for: &'static str,
}

impl Sample {
    pub(in crate::output::json) fn new(sampling: &Sampling, kept_for: KeptFor) -> Self {
        Self {
            rate: sampling.rate(),
            kept_for: kept_for.into(),
        }
    }

    /// For a record of a kind that is always kept; `None` where nothing is sampled.
    pub(in crate::output::json) fn always(sampling: Option<&Sampling>) -> Option<Self> {
        sampling.map(|sampling| Self::new(sampling, KeptFor::Always))
    }
}
