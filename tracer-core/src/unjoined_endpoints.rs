//! When endpoints that a snapshot has shown are joined with their peers: a join walks all
//! endpoints, so it is not done for each part of a large snapshot.

use super::types::Nanos;

/// A join takes place once the endpoints that wait for it add up to this part of all, or after
/// [`JOIN_DELAY`].
const JOIN_FRACTION: usize = 4;

/// How long endpoints that are few wait for a join.
const JOIN_DELAY: Nanos = Nanos::from_secs(1);

/// The endpoints that were added since the last join.
#[derive(Debug, Default)]
pub(super) struct UnjoinedEndpoints {
    count: usize,
    /// When they are to be joined.
    due: Option<Nanos>,
}

impl UnjoinedEndpoints {
    /// Adds so many endpoints. Returns whether they are to be joined now: there are enough, of
    /// `all`.
    pub fn add(&mut self, count: usize, all: usize, at: Nanos) -> bool {
        if count == 0 {
            return false;
        }
        self.count += count;
        let is_now = self.count.saturating_mul(JOIN_FRACTION) >= all;
        if !is_now {
            self.due.get_or_insert(at + JOIN_DELAY);
        }
        is_now
    }

    /// Returns when the endpoints are to be joined.
    pub const fn next_due(&self) -> Option<Nanos> {
        self.due
    }
}
