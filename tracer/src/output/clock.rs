//! From the kernel's monotonic clock to wall time.

use std::cell::Cell;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::Timestamp;
use jiff::tz::TimeZone;

use tcpclose_core::types::Nanos;
use tcpclose_sys::kernel::clock::now;

/// How often the clocks are read for one measurement; the tightest reading counts. Some 5 µs in all.
const READINGS: usize = 50;

/// A measurement is right to some ten nanoseconds. Rounded to this, two programs nearly always have the same.
const ROUNDING_NS: i64 = 1_000;

/// NTP slews CLOCK_MONOTONIC and CLOCK_REALTIME alike, so their distance changes only in steps (NTP, an administrator,
/// suspend). Smaller differences are the measurement's own jitter, and following it would swap neighbouring records.
const STEP_NS: u64 = 1_000_000;

/// Converts `CLOCK_MONOTONIC` to wall time by the distance of the two clocks as last measured.
#[derive(Clone, Debug)]
pub struct WallClock {
    /// Wall time minus monotonic time, in ns.
    offset: i64,
    zone: TimeZone,
    fixed: bool,
    led_by: Option<SharedOffset>,
    /// The second that was written last, as most are of the same one.
    second: Cell<Second>,
}

/// A second after 1970, up to its point: `2026-01-31T12:00:00.`
type Second = (i64, [u8; 20]);

/// That of 1970 itself.
const EPOCH: Second = (0, *b"1970-01-01T00:00:00.");

/// A distance of the clocks that one clock measures and others take over: they all show the same times. Clones share it.
#[derive(Clone, Debug)]
pub struct SharedOffset(Arc<AtomicI64>);

impl SharedOffset {
    /// Begins with this many nanoseconds of wall time minus monotonic time.
    #[must_use]
    pub fn new(offset_ns: i64) -> Self {
        Self(Arc::new(AtomicI64::new(offset_ns)))
    }

    /// From now on it is this.
    pub fn set(&self, offset_ns: i64) {
        self.0.store(offset_ns, Ordering::Relaxed);
    }
}

impl WallClock {
    /// Measures the distance of the clocks, and shows local times in the system's time zone (`TZ`, else
    /// /etc/localtime, else UTC).
    #[must_use]
    pub fn new() -> Self {
        Self {
            offset: measure(),
            zone: TimeZone::system(),
            fixed: false,
            led_by: None,
            second: Cell::new(EPOCH),
        }
    }

    /// A clock that does not measure: [`Self::refresh`] takes what is shared.
    #[must_use]
    pub fn led_by(shared: SharedOffset) -> Self {
        Self {
            offset: shared.0.load(Ordering::Relaxed),
            zone: TimeZone::system(),
            fixed: false,
            led_by: Some(shared),
            second: Cell::new(EPOCH),
        }
    }

    /// A clock whose monotonic zero is this many nanoseconds after 1970 and stays there, for tests.
    #[must_use]
    pub const fn fixed(offset_ns: i64, zone: TimeZone) -> Self {
        Self {
            offset: offset_ns,
            zone,
            fixed: true,
            led_by: None,
            second: Cell::new(EPOCH),
        }
    }

    /// Measures again, so that times after a step of the wall clock are right. Cheap: a few vDSO calls.
    pub fn refresh(&mut self) {
        if self.fixed {
            return;
        }
        if let Some(shared) = &self.led_by {
            self.offset = shared.0.load(Ordering::Relaxed);
            return;
        }
        let measured = measure();
        if measured.abs_diff(self.offset) >= STEP_NS {
            self.offset = measured;
        }
    }

    /// Wall time minus monotonic time, in ns.
    #[must_use]
    pub const fn offset(&self) -> i64 {
        self.offset
    }

    /// Takes a distance that was measured elsewhere.
    pub const fn set_offset(&mut self, offset_ns: i64) {
        self.offset = offset_ns;
    }

    /// The wall time of a monotonic one.
    #[must_use]
    pub fn timestamp(&self, at: Nanos) -> Timestamp {
        let nanos = i128::from(at.0) + i128::from(self.offset);
        Timestamp::from_nanosecond(nanos).expect("64 bits of nanoseconds stay in the calendar")
    }

    /// RFC 3339 in UTC with microseconds: `2026-01-31T12:00:00.000250Z`.
    #[must_use]
    pub fn rfc3339(&self, at: Nanos) -> Rfc3339 {
        let timestamp = self.timestamp(at);
        let mut micros = timestamp.subsec_microsecond();
        let mut second = timestamp.as_second();
        if micros < 0 {
            (second, micros) = (second - 1, micros + 1_000_000);
        }
        let (known, mut text) = self.second.get();
        if known != second {
            let whole = Timestamp::from_second(second).unwrap_or(timestamp);
            // Years have four digits: 64 bits of nanoseconds do not leave the calendar.
            text[..19].copy_from_slice(&whole.to_string().as_bytes()[..19]);
            self.second.set((second, text));
        }
        let mut all = *b"0000-00-00T00:00:00.000000Z";
        all[..20].copy_from_slice(&text);
        for digit in all[20..26].iter_mut().rev() {
            *digit = b'0' + (micros % 10) as u8;
            micros /= 10;
        }
        Rfc3339(all)
    }

    /// Local time of day: `13:00:00`.
    #[must_use]
    pub fn time_of_day(&self, at: Nanos) -> impl fmt::Display + use<> {
        let local = self.zone.to_datetime(self.timestamp(at));
        TimeOfDay {
            hour: local.hour(),
            minute: local.minute(),
            second: local.second(),
        }
    }
}

impl Default for WallClock {
    fn default() -> Self {
        Self::new()
    }
}

/// See [`WallClock::rfc3339`].
#[derive(Clone, Copy, Debug)]
pub struct Rfc3339([u8; 27]);

impl Rfc3339 {
    fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("it is of ASCII")
    }
}

impl fmt::Display for Rfc3339 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl serde::Serialize for Rfc3339 {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

struct TimeOfDay {
    hour: i8,
    minute: i8,
    second: i8,
}

impl fmt::Display for TimeOfDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}:{:02}", self.hour, self.minute, self.second)
    }
}

/// Wall time minus monotonic time, in ns: the wall clock is read between two readings of the monotonic one, and the
/// pair that lies closest together is taken.
fn measure() -> i64 {
    let reading = || {
        let before = i128::from(now().0);
        let wall = Timestamp::now().as_nanosecond();
        let after = i128::from(now().0);
        (after - before, wall - (before + after) / 2)
    };
    let (_, offset) = (0..READINGS)
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

    /// 2026-01-31T12:00:00Z.
    const NOON: i64 = 1_769_860_800_000_000_000;

    fn zone(hours: i8) -> TimeZone {
        TimeZone::fixed(jiff::tz::offset(hours))
    }

    #[test]
    fn rfc_3339_always_has_six_decimals_and_is_utc() {
        let clock = WallClock::fixed(NOON, zone(5));
        assert_eq!(
            clock.rfc3339(Nanos(0)).to_string(),
            "2026-01-31T12:00:00.000000Z"
        );
        assert_eq!(
            clock.rfc3339(Nanos(1_000_250_999)).to_string(),
            "2026-01-31T12:00:01.000250Z"
        );
        assert_eq!(
            clock.rfc3339(Nanos(999_999_999)).to_string(),
            "2026-01-31T12:00:00.999999Z"
        );
        let before_1970 = WallClock::fixed(-1_000, zone(0));
        assert_eq!(
            before_1970.rfc3339(Nanos(0)).to_string(),
            "1969-12-31T23:59:59.999999Z"
        );
    }

    #[test]
    fn the_time_of_day_is_local() {
        assert_eq!(
            WallClock::fixed(NOON, zone(5))
                .time_of_day(Nanos::from_secs(61))
                .to_string(),
            "17:01:01"
        );
        assert_eq!(
            WallClock::fixed(NOON, zone(-11))
                .time_of_day(Nanos(0))
                .to_string(),
            "01:00:00"
        );
    }

    #[test]
    fn absurd_times_stay_in_the_calendar() {
        let year = |offset, at| {
            let clock = WallClock::fixed(offset, TimeZone::UTC);
            clock.rfc3339(Nanos(at)).to_string()[..5].to_owned()
        };
        assert_eq!(year(i64::MAX, u64::MAX), "2846-");
        assert_eq!(year(i64::MIN, 0), "1677-");
    }

    #[test]
    fn two_measurements_nearly_always_agree() {
        let offsets: Vec<i64> = (0..100).map(|_| WallClock::new().offset()).collect();
        let mut sorted = offsets.clone();
        sorted.sort_unstable();
        let median = sorted[50];
        let same = offsets.iter().filter(|offset| **offset == median);
        assert!(same.count() > 50, "{offsets:?}");
    }

    #[test]
    fn the_measured_offset_gives_the_present() {
        let mut clock = WallClock::new();
        clock.refresh();
        let error = clock.timestamp(now()).duration_until(Timestamp::now());
        assert!(error.abs().as_millis() < 1000, "off by {error:?}");
    }

    #[test]
    fn a_step_of_the_wall_clock_is_followed_and_jitter_is_not() {
        let mut clock = WallClock::new();
        let truth = clock.offset;
        clock.offset = truth + 500_000;
        clock.refresh();
        assert_eq!(clock.offset, truth + 500_000);
        clock.offset = truth + 3_600_000_000_000;
        clock.refresh();
        assert!(clock.offset.abs_diff(truth) < 1_000_000_000);
    }
}
