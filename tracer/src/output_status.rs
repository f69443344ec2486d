//! Whether an output works, and what became of its records.

use std::ops::{AddAssign, Sub};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use tcpclose_core::types::Nanos;

/// An output's counts, and whether it works.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputStatus {
    /// The name of the output in messages and metrics.
    pub name: Arc<str>,
    /// What became of the records that it was offered.
    pub counts: OutputCounts,
    /// Whether it works now.
    pub state: OutputState,
}

/// What has become of the records that an output was offered. Counted from the start, `offered` is
/// always the sum of the others up to `queued`. The names of the fields are those of the JSON.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputCounts {
    /// Records that were offered, and `loss` records of the output about itself.
    pub offered: u64,
    /// Records that were handed to the receiver, which is responsible for them from then on.
    pub written: u64,
    /// Records that the output's kinds or its filter left out.
    pub filtered: u64,
    /// Records over the rate limit.
    #[serde(rename = "cut")]
    pub rate_limited: u64,
    /// Records that were lost because the queue was full, or that the output held when it was
    /// removed.
    pub dropped: u64,
    /// Records that the receiver refused for good.
    pub failed: u64,
    /// Records that wait for the receiver now.
    pub queued: u64,
    /// Of the written, failed, dropped and queued records, those that were sent and whose answer
    /// was lost: the receiver may have them once more than the other counts say. Not part of the
    /// sum. Recordings do not hold it.
    #[serde(skip)]
    pub uncertain: u64,
}

/// Whether an output works.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum OutputState {
    /// What was sent lately has arrived.
    #[default]
    Up,
    /// It does not work.
    Down {
        /// Since when it has not worked.
        since: Nanos,
        /// Why it does not work.
        reason: String,
    },
    /// The configuration no longer has it.
    Removed,
}

impl OutputStatus {
    /// Returns the outputs with counts since an earlier moment.
    pub fn all_since<'a>(now: &'a [Self], earlier: &'a [Self]) -> impl Iterator<Item = Self> + 'a {
        now.iter().map(|output| {
            let before = earlier.iter().find(|before| before.name == output.name);
            Self {
                counts: output.counts - before.map_or_else(OutputCounts::default, |it| it.counts),
                ..output.clone()
            }
        })
    }
}

impl OutputCounts {
    /// Returns whether anything happened to any record.
    #[must_use]
    pub fn did_something(&self) -> bool {
        self.offered + self.written + self.filtered + self.rate_limited + self.lost() > 0
    }

    /// Returns how many records were lost.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.dropped + self.failed
    }
}

impl AddAssign for OutputCounts {
    fn add_assign(&mut self, other: Self) {
        self.offered += other.offered;
        self.written += other.written;
        self.filtered += other.filtered;
        self.rate_limited += other.rate_limited;
        self.dropped += other.dropped;
        self.failed += other.failed;
        self.queued += other.queued;
        self.uncertain += other.uncertain;
    }
}

/// Returns the counts since an earlier moment, with the records that are queued now. Counts only
/// ever grow, also over changes of the output's configuration.
impl Sub for OutputCounts {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self {
            offered: self.offered.saturating_sub(earlier.offered),
            written: self.written.saturating_sub(earlier.written),
            filtered: self.filtered.saturating_sub(earlier.filtered),
            rate_limited: self.rate_limited.saturating_sub(earlier.rate_limited),
            dropped: self.dropped.saturating_sub(earlier.dropped),
            failed: self.failed.saturating_sub(earlier.failed),
            queued: self.queued,
            uncertain: self.uncertain.saturating_sub(earlier.uncertain),
        }
    }
}
