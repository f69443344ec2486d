//! How often outages are reported: a receiver that fails again and again must not fill the log.

use std::time::{Duration, Instant};

/// The number of outages that are reported in a row.
const BURST: u32 = 5;

/// The time after which one more outage may be reported.
const REPORT_INTERVAL: Duration = Duration::from_secs(60);

/// Decides which outages of one output are reported, and counts the others.
#[derive(Debug)]
pub(super) struct OutageMessages {
    left: u32,
    /// Until when `left` has been filled up.
    filled: Instant,
    /// Outages that ended without a report since the last one.
    unreported: u64,
    /// Whether the current outage has been reported.
    is_reported: bool,
}

impl OutageMessages {
    pub fn new(now: Instant) -> Self {
        Self {
            left: BURST,
            filled: now,
            unreported: 0,
            is_reported: false,
        }
    }

    /// Notes that the output is still down, or down again. Returns whether that is to be reported
    /// now, with the number of earlier outages that were not. An outage that goes on is reported
    /// later.
    pub fn report(&mut self, now: Instant) -> Option<u64> {
        let elapsed = now.saturating_duration_since(self.filled);
        let more = elapsed.as_secs() / REPORT_INTERVAL.as_secs();
        let more = u32::try_from(more).unwrap_or(u32::MAX);
        self.left = self.left.saturating_add(more).min(BURST);
        self.filled += REPORT_INTERVAL.saturating_mul(more);
        if self.is_reported || self.left == 0 {
            return None;
        }
        self.left -= 1;
        self.is_reported = true;
        Some(std::mem::take(&mut self.unreported))
    }

    /// Notes that the outage has ended. Returns whether that is to be reported.
    pub fn end(&mut self) -> bool {
        let was_reported = std::mem::take(&mut self.is_reported);
        self.unreported += u64::from(!was_reported);
        was_reported
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_flapping_receiver_some_outages_are_reported_and_all_are_counted() {
        let start = Instant::now();
        let mut messages = OutageMessages::new(start);
        let mut reports = Vec::new();
        // One outage each second, for an hour.
        for second in 0..3_600 {
            let now = start + Duration::from_secs(second);
            let report = messages.report(now);
            reports.extend(report);
            assert_eq!(messages.end(), report.is_some());
        }
        assert_eq!(reports.len(), 5 + 59);
        assert_eq!(reports[..6], [0, 0, 0, 0, 0, 55]);
        let unreported = messages.unreported;
        assert_eq!(reports.iter().sum::<u64>() + unreported, 3_600 - 64);
    }

    #[test]
    fn an_outage_that_goes_on_is_reported_once_and_at_the_latest_after_a_minute() {
        let start = Instant::now();
        let mut messages = OutageMessages::new(start);
        for _ in 0..BURST {
            assert_eq!(messages.report(start), Some(0));
            assert_eq!(messages.report(start), None);
            assert!(messages.end());
        }
        let later = |seconds| start + Duration::from_secs(seconds);
        let reports = [0, 30, 59, 60, 61, 4_000].map(|seconds| messages.report(later(seconds)));
        assert_eq!(reports, [None, None, None, Some(0), None, None]);
    }
}
