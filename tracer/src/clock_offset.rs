//! The distance between wall time and the kernel's monotonic clock: measured in one place and used
//! by everything that shows times, so that all show the same.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::Timestamp;
use tcpclose_sys::kernel::clock;

/// How often the clocks are read for one measurement; the tightest reading counts. Some 5 µs in
/// all.
const READING_COUNT: usize = 50;

/// A measurement is accurate to some ten nanoseconds. Rounded to this, two programs nearly always
/// have the same.
const ROUNDING_NS: i64 = 1_000;

/// NTP slews CLOCK_MONOTONIC and CLOCK_REALTIME alike, so their distance changes only in steps
/// (NTP, an administrator, suspend). Smaller differences are the measurement's own jitter, and
/// following it would swap neighbouring records.
const MIN_STEP_NS: u64 = 1_000_000;

/// Wall time minus `CLOCK_MONOTONIC`, in nanoseconds. Clones share it.
#[derive(Clone, Debug)]
pub struct ClockOffset(Arc<AtomicI64>);

impl ClockOffset {
    /// Measures the distance of this host's clocks.
    #[must_use]
    pub fn measured() -> Self {
        Self::new(measure())
    }

    /// Starts with this many nanoseconds.
    #[must_use]
    pub fn new(offset_ns: i64) -> Self {
        Self(Arc::new(AtomicI64::new(offset_ns)))
    }

    /// Returns the nanoseconds to add to a monotonic time.
    #[must_use]
    pub fn get(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Replaces the distance by one that was measured elsewhere.
    pub fn set(&self, offset_ns: i64) {
        self.0.store(offset_ns, Ordering::Relaxed);
    }

    /// Measures again, so that times after a step of the wall clock are right. Cheap: a few vDSO
    /// calls.
    pub fn refresh(&self) {
        let measured = measure();
        if measured.abs_diff(self.get()) >= MIN_STEP_NS {
            self.set(measured);
        }
    }
}

/// Reads the wall clock between two readings of the monotonic one, and takes the pair that lies
/// closest together.
fn measure() -> i64 {
    let reading = || {
        let before = i128::from(clock::now().0);
        let wall = Timestamp::now().as_nanosecond();
        let after = i128::from(clock::now().0);
        (after - before, wall - (before + after) / 2)
    };
    let (_, offset) = (0..READING_COUNT)
        .map(|_| reading())
        .min_by_key(|(span, _)| *span)
        .unwrap_or_default();
    // Until the year 2262.
    let offset = i64::try_from(offset).unwrap_or(i64::MAX);
    (offset.saturating_add(ROUNDING_NS / 2)).div_euclid(ROUNDING_NS) * ROUNDING_NS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_measurements_nearly_always_agree() {
        let offsets: Vec<i64> = (0..100).map(|_| measure()).collect();
        let mut sorted = offsets.clone();
        sorted.sort_unstable();
        let median = sorted[50];
        let same = offsets.iter().filter(|offset| **offset == median);
        assert!(same.count() > 50, "{offsets:?}");
    }

    #[test]
    fn the_measured_offset_gives_the_present() {
        let offset = ClockOffset::measured();
        offset.refresh();
        let now = i128::from(clock::now().0) + i128::from(offset.get());
        let error = now - Timestamp::now().as_nanosecond();
        assert!(error.abs() < 1_000_000_000, "off by {error} ns");
    }

    #[test]
    fn a_step_of_the_wall_clock_is_followed_and_jitter_is_not() {
        let offset = ClockOffset::measured();
        let truth = offset.get();
        offset.set(truth + 500_000);
        offset.refresh();
        assert_eq!(offset.get(), truth + 500_000);
        offset.set(truth + 3_600_000_000_000);
        offset.refresh();
        assert!(offset.get().abs_diff(truth) < 1_000_000_000);
    }
}
