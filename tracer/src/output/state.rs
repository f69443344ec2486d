//! How an output does, and what it did with its records.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use tcpclose_core::types::Nanos;

/// What an output did with the findings that were offered to it, and how it does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// Its name.
    pub name: Arc<str>,
    /// Offered to it, and losses that it told of itself: from the start on the sum of the following, and of `queued`.
    pub offered: u64,
    /// Written.
    pub written: u64,
    /// Not wanted by its filter.
    pub filtered: u64,
    /// Cut by its rate limit.
    pub cut: u64,
    /// Dropped, as its queue was full, or as it was given up with them.
    pub dropped: u64,
    /// Given up after errors.
    pub failed: u64,
    /// Waiting for its receiver, now.
    pub queued: u64,
    /// How it does, now.
    pub state: OutputState,
}

/// How an output does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum OutputState {
    /// It works.
    #[default]
    Up,
    /// It does not.
    Down {
        /// Since when.
        since: Nanos,
        /// Why.
        reason: String,
    },
    /// The configuration has it no more.
    Removed,
}

impl Output {
    /// What has come of each since `earlier`.
    pub fn all_since<'a>(now: &'a [Self], earlier: &'a [Self]) -> impl Iterator<Item = Self> + 'a {
        now.iter().map(|output| {
            let before = earlier.iter().find(|before| before.name == output.name);
            before.map_or_else(|| output.clone(), |before| output.since(before))
        })
    }

    /// What has come since `earlier`. Its counts only ever grow, whatever becomes of its configuration.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            offered: self.offered.saturating_sub(earlier.offered),
            written: self.written.saturating_sub(earlier.written),
            filtered: self.filtered.saturating_sub(earlier.filtered),
            cut: self.cut.saturating_sub(earlier.cut),
            dropped: self.dropped.saturating_sub(earlier.dropped),
            failed: self.failed.saturating_sub(earlier.failed),
            ..self.clone()
        }
    }

    /// Whether anything became of any record.
    #[must_use]
    pub fn did_something(&self) -> bool {
        self.offered + self.written + self.filtered + self.cut + self.lost() > 0
    }

    /// What of it is lost.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.dropped + self.failed
    }
}
