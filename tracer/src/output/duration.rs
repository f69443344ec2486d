//! Formats durations: exact for programs, short for people.

use std::fmt::Write as _;

use tcpclose_core::types::Nanos;

const MS: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MS;

/// Returns the duration in milliseconds, rounded to 3 decimals.
pub(super) fn rounded_ms(span: Nanos) -> f64 {
    (span.0.saturating_add(500) / 1_000) as f64 / 1e3
}

/// Appends a duration with its unit, in 6 columns up to 100 days: `0.05ms`, `8.4ms`, `123ms`,
/// `1.2s`, `3m12s`, `5h07m`, `12d03h`.
pub(crate) fn push_with_unit(text: &mut String, span: Nanos) {
    let ns = span.0;
    let _ = if ns < 995_000 {
        let hundredths = (ns + 5_000) / 10_000;
        write!(text, "0.{hundredths:02}ms")
    } else if ns < 99_950_000 {
        let tenths = (ns + 50_000) / 100_000;
        write!(text, "{}.{}ms", tenths / 10, tenths % 10)
    } else if ns < 999_500_000 {
        write!(text, "{}ms", (ns + MS / 2) / MS)
    } else {
        push_seconds(text, ns)
    };
}

/// Appends the time in a state: bare milliseconds below a second (`.09`, `8.36`, `12.3`, `123`),
/// with their unit above.
pub(super) fn push_state_ms(text: &mut String, span: Nanos) {
    let ns = span.0;
    let _ = if ns < 5_000 {
        write!(text, "0")
    } else if ns < 9_995_000 {
        let hundredths = (ns + 5_000) / 10_000;
        match hundredths / 100 {
            0 => write!(text, ".{hundredths:02}"),
            whole => write!(text, "{whole}.{:02}", hundredths % 100),
        }
    } else if ns < 99_950_000 {
        let tenths = (ns + 50_000) / 100_000;
        write!(text, "{}.{}", tenths / 10, tenths % 10)
    } else if ns < 999_500_000 {
        write!(text, "{}", (ns + MS / 2) / MS)
    } else {
        push_seconds(text, ns)
    };
}

fn push_seconds(text: &mut String, ns: u64) -> std::fmt::Result {
    if ns < 59_950 * MS {
        let tenths = (ns + 50 * MS) / (100 * MS);
        return write!(text, "{}.{}s", tenths / 10, tenths % 10);
    }
    let seconds = ns.saturating_add(SECOND / 2) / SECOND;
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    match (days, hours) {
        (0, 0) => write!(text, "{minutes}m{:02}s", seconds % 60),
        (0, _) => write!(text, "{hours}h{:02}m", minutes % 60),
        _ => write!(text, "{days}d{:02}h", hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_unit(ns: u64) -> String {
        let mut text = String::new();
        push_with_unit(&mut text, Nanos(ns));
        text
    }

    fn state_ms(ns: u64) -> String {
        let mut text = String::new();
        push_state_ms(&mut text, Nanos(ns));
        text
    }

    #[test]
    fn milliseconds_have_three_decimals() {
        assert_eq!(rounded_ms(Nanos(8_360_499)), 8.36);
        assert_eq!(rounded_ms(Nanos(8_360_500)), 8.361);
        assert_eq!(rounded_ms(Nanos(0)), 0.0);
        assert_eq!(rounded_ms(Nanos(60_000_000_000)), 60_000.0);
    }

    #[test]
    fn people_read_few_digits_and_a_unit() {
        for (ns, expected) in [
            (0, "0.00ms"),
            (52_000, "0.05ms"),
            (994_999, "0.99ms"),
            (995_000, "1.0ms"),
            (8_360_000, "8.4ms"),
            (99_949_999, "99.9ms"),
            (99_950_000, "100ms"),
            (999_499_999, "999ms"),
            (999_500_000, "1.0s"),
            (59_949_999_999, "59.9s"),
            (59_950_000_000, "1m00s"),
            (192 * SECOND, "3m12s"),
            (3_599 * SECOND, "59m59s"),
            (3_600 * SECOND, "1h00m"),
            (18_420 * SECOND, "5h07m"),
            (86_400 * SECOND, "1d00h"),
            (99 * 86_400 * SECOND, "99d00h"),
        ] {
            assert_eq!(with_unit(ns), expected, "{ns} ns");
            assert!(expected.len() <= 6);
        }
        assert_eq!(with_unit(u64::MAX), "213503d23h");
    }

    #[test]
    fn times_in_states_are_bare_milliseconds_below_a_second() {
        for (ns, expected) in [
            (0, "0"),
            (4_999, "0"),
            (5_000, ".01"),
            (90_000, ".09"),
            (8_360_000, "8.36"),
            (9_995_000, "10.0"),
            (12_340_000, "12.3"),
            (123_400_000, "123"),
            (1_234_000_000, "1.2s"),
            (192 * SECOND, "3m12s"),
        ] {
            assert_eq!(state_ms(ns), expected, "{ns} ns");
        }
    }
}
