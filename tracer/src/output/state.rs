//! Whether an output works, and what became of its records.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use tcpclose_core::types::Nanos;

/// What became of the records that were offered to an output, and whether it works.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// Its name.
    pub name: Arc<str>,
    /// Records that were offered to it, and its own loss records. Counted from the start, this is the
    /// sum of the counts below, `queued` included.
    pub offered: u64,
    /// Records that were written.
    pub written: u64,
    /// Records that its kinds or its filter left out.
    pub filtered: u64,
    /// Records that its rate limit cut.
    pub cut: u64,
    /// Records that were dropped because its queue was full, or that it held when it was removed.
    pub dropped: u64,
    /// Records that its receiver refused for good.
    pub failed: u64,
    /// Records that wait for its receiver now.
    pub queued: u64,
    /// Whether it works now.
    pub state: OutputState,
}

/// Whether an output works.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum OutputState {
    /// It works.
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

impl Output {
    /// Returns the outputs with counts since an earlier moment.
    pub fn all_since<'a>(now: &'a [Self], earlier: &'a [Self]) -> impl Iterator<Item = Self> + 'a {
        now.iter().map(|output| {
            let before = earlier.iter().find(|before| before.name == output.name);
            before.map_or_else(|| output.clone(), |before| output.since(before))
        })
    }

    /// Returns the output with counts since an earlier moment. Counts only ever grow, also over changes
    /// of its configuration.
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

    /// Returns whether anything happened to any record.
    #[must_use]
    pub fn did_something(&self) -> bool {
        self.offered + self.written + self.filtered + self.cut + self.lost() > 0
    }

    /// Returns how many records were lost.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.dropped + self.failed
    }
}
