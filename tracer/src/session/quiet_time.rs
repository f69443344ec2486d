//! A bound for what a replay writes about times in which nothing happened.

/// Limits the intervals that a replay shows of times in which a recording has no entries. A clock
/// that jumps by years, or a file that was made for it, would otherwise write without end.
#[derive(Debug)]
pub(crate) struct QuietTime {
    left: u64,
}

impl QuietTime {
    /// Shows so many lines of such intervals, in one whole recording.
    pub fn new(lines: u64) -> Self {
        Self { left: lines }
    }

    /// Returns whether `intervals` that end without a new entry may all be shown, each with so many
    /// lines. Otherwise they are to be shown as one.
    pub fn shows_each(&mut self, intervals: u64, lines: u64) -> bool {
        let left = self.left.checked_sub(intervals.saturating_mul(lines));
        self.left = left.unwrap_or(self.left);
        left.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jumps_are_shown_in_full_until_the_limit_is_reached() {
        let mut quiet = QuietTime::new(100);
        assert!(quiet.shows_each(0, 1));
        assert!(quiet.shows_each(20, 3));
        assert!(!quiet.shows_each(u64::MAX, 2));
        assert!(quiet.shows_each(40, 1));
        assert!(!quiet.shows_each(1, 1));
    }
}
