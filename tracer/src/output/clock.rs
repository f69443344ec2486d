//! Converts the kernel's monotonic clock to wall time.

use std::cell::Cell;
use std::fmt;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::clock_offset::ClockOffset;
use tcpclose_core::types::Nanos;

/// Converts `CLOCK_MONOTONIC` to wall time.
#[derive(Clone, Debug)]
pub struct WallClock {
    /// Wall time minus monotonic time, in ns, as of the last [`Self::refresh`].
    offset: i64,
    source: ClockOffset,
    zone: TimeZone,
    /// The second that was written last, cached because most times are in the same one.
    second: Cell<Second>,
}

/// A second since 1970 and its text, up to the decimal point: `2026-01-31T12:00:00.`
type Second = (i64, [u8; 20]);

/// The text of the first second of 1970.
const EPOCH: Second = (0, *b"1970-01-01T00:00:00.");

impl WallClock {
    /// Returns a clock with the offset of `source`, which shows local times in the system's time
    /// zone (`TZ`, else /etc/localtime, else UTC).
    #[must_use]
    pub fn new(source: ClockOffset) -> Self {
        Self::in_zone(source, TimeZone::system())
    }

    /// Returns a clock whose monotonic zero is this many nanoseconds after 1970, for tests.
    #[must_use]
    pub fn fixed(offset_ns: i64, zone: TimeZone) -> Self {
        Self::in_zone(ClockOffset::new(offset_ns), zone)
    }

    fn in_zone(source: ClockOffset, zone: TimeZone) -> Self {
        Self {
            offset: source.get(),
            source,
            zone,
            second: Cell::new(EPOCH),
        }
    }

    /// Takes over the present offset of the source.
    pub fn refresh(&mut self) {
        self.offset = self.source.get();
    }

    /// Returns the source of the clock's offset.
    #[must_use]
    pub const fn source(&self) -> &ClockOffset {
        &self.source
    }

    /// Uses this offset in nanoseconds until the next [`Self::refresh`].
    pub const fn set_offset(&mut self, offset_ns: i64) {
        self.offset = offset_ns;
    }

    /// Converts a monotonic time to wall time.
    #[must_use]
    pub fn timestamp(&self, at: Nanos) -> Timestamp {
        let nanos = i128::from(at.0) + i128::from(self.offset);
        Timestamp::from_nanosecond(nanos).expect("64 bits of nanoseconds stay in the calendar")
    }

    /// Formats a time by RFC 3339 in UTC with microseconds: `2026-01-31T12:00:00.000250Z`.
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
            // Years have four digits: 64 bits of nanoseconds stay within the calendar.
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

    /// Formats the local time of day: `13:00:00`.
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

/// The text that [`WallClock::rfc3339`] returns.
#[derive(Clone, Copy, Debug)]
pub struct Rfc3339([u8; 27]);

impl Rfc3339 {
    fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("RFC 3339 text is ASCII")
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Nanoseconds since 1970 at 2026-01-31T12:00:00Z.
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
    fn a_refresh_takes_the_offset_of_the_source() {
        let source = ClockOffset::new(NOON);
        let mut clock = WallClock::new(source.clone());
        source.set(NOON + 1_000_000_000);
        let shown = |clock: &WallClock| clock.rfc3339(Nanos(0)).to_string();
        assert_eq!(shown(&clock), "2026-01-31T12:00:00.000000Z");
        clock.refresh();
        assert_eq!(shown(&clock), "2026-01-31T12:00:01.000000Z");
    }
}
