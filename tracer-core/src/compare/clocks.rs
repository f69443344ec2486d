//! The distance of two hosts' clocks, from what their connections show: a segment is sent before it
//! is received. A segment from A to B shows how far ahead B's clock can be at most, one from B to A
//! how far at least, as in NTP, however long either was on its way.

use std::collections::BTreeMap;

use super::recorded_endpoint::{Host, Pair};
use crate::types::{Nanos, Role};

/// The most windows of time of which the tightest bound is kept. With more, each becomes twice as
/// long.
const MAX_WINDOWS: usize = 64;

/// The length of the windows at first.
const FIRST_WINDOW: u64 = 1_000_000_000;

/// The records of two processors may be out of order by a few microseconds.
const MAX_DISORDER: f64 = 10_000.0;

/// How fast two clocks that are kept by NTP can drift apart at most: each is slewed by up to 500
/// ppm (MAXFREQ of linux/timex.h).
const MAX_DRIFT: f64 = 1e-3;

/// How exact numbers of nanoseconds are.
const ROUNDING: f64 = 0.5;

/// What segments have shown of B's clock minus A's.
#[derive(Debug)]
pub struct ClockBounds {
    window: u64,
    /// By the number of the window of A's time: the time, and the least upper bound.
    upper: BTreeMap<u64, (u64, i128)>,
    /// The same for the greatest lower bound.
    lower: BTreeMap<u64, (u64, i128)>,
    connections: u64,
}

impl Default for ClockBounds {
    fn default() -> Self {
        Self {
            window: FIRST_WINDOW,
            upper: BTreeMap::new(),
            lower: BTreeMap::new(),
            connections: 0,
        }
    }
}

impl ClockBounds {
    /// Takes what the ends of a connection show.
    pub(super) fn add(&mut self, pair: &Pair) {
        let before = self.connections;
        let mut shown = false;
        for from in Host::BOTH {
            let (sender, receiver) = (pair.end(from), pair.end(from.other()));
            let opened = match sender.endpoint().role {
                // The client is established before it acknowledges the server's SYN.
                Role::Client => sender.endpoint().opened.zip(receiver.endpoint().opened),
                Role::Server | Role::Unknown => None,
            };
            let fin = sender.fin_sent().zip(receiver.fin_received());
            // A FIN is acknowledged after it was received.
            let ack = sender.fin_received().zip(receiver.ack_received());
            for (sent, received) in [opened, fin, ack].into_iter().flatten() {
                self.add_segment(from, sent, received);
                shown = true;
            }
        }
        self.connections = before + u64::from(shown);
    }

    /// Takes a segment that one host sent and the other received, each by its own clock.
    fn add_segment(&mut self, from: Host, sent: Nanos, received: Nanos) {
        let difference = i128::from(received.0) - i128::from(sent.0);
        let (bounds, at, bound) = match from {
            Host::A => (&mut self.upper, sent.0, difference),
            Host::B => (&mut self.lower, received.0, -difference),
        };
        let is_tighter = |old: &(u64, i128)| match from {
            Host::A => bound < old.1,
            Host::B => bound > old.1,
        };
        let kept = bounds.entry(at / self.window).or_insert((at, bound));
        if is_tighter(kept) {
            *kept = (at, bound);
        }
        if bounds.len() > MAX_WINDOWS {
            self.widen();
        }
    }

    /// Makes the windows twice as long.
    fn widen(&mut self) {
        self.window = self.window.saturating_mul(2);
        let window = self.window;
        let merge = |bounds: &mut BTreeMap<u64, (u64, i128)>, sign: i128| {
            for (_, (at, bound)) in std::mem::take(bounds) {
                let kept = bounds.entry(at / window).or_insert((at, bound));
                if sign * bound < sign * kept.1 {
                    *kept = (at, bound);
                }
            }
        };
        merge(&mut self.upper, 1);
        merge(&mut self.lower, -1);
    }

    /// Returns what is known of the clocks.
    #[must_use]
    pub fn alignment(&self) -> Alignment {
        let connections = self.connections;
        let Some((_, (origin, base))) = self.upper.iter().chain(&self.lower).next() else {
            return Alignment::Unknown(Unaligned::NothingShown);
        };
        if self.upper.is_empty() || self.lower.is_empty() {
            return Alignment::Unknown(Unaligned::OneDirection);
        }
        let relative = |(at, bound): &(u64, i128), disorder: f64| {
            let at = i128::from(*at) - i128::from(*origin);
            (at as f64, (*bound - *base) as f64 + disorder)
        };
        let uppers = self.upper.values();
        let lowers = self.lower.values();
        let mut clocks = Clocks {
            origin: *origin,
            base: *base,
            uppers: uppers.map(|one| relative(one, MAX_DISORDER)).collect(),
            lowers: lowers.map(|one| relative(one, -MAX_DISORDER)).collect(),
            drift: (-MAX_DRIFT, MAX_DRIFT),
            highest: Vec::new(),
            lowest: Vec::new(),
            connections,
        };
        if !clocks.narrow_drift() {
            return Alignment::Unknown(Unaligned::Contradiction);
        }
        clocks.highest = corners(&clocks.uppers, clocks.drift, 1.0);
        clocks.lowest = corners(&clocks.lowers, clocks.drift, -1.0);
        Alignment::Known(clocks)
    }
}

/// What is known of B's clock minus A's.
#[derive(Clone, Debug, PartialEq)]
pub enum Alignment {
    /// It lies in an interval at any time.
    Known(Clocks),
    /// Neither the offset nor its limits are known.
    Unknown(Unaligned),
}

/// Why the clocks cannot be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unaligned {
    /// No connection shows a time at both endpoints.
    NothingShown,
    /// Segments of one direction alone have known times.
    OneDirection,
    /// No two clocks that go as fast as each other, by 1000 ppm, show such times.
    Contradiction,
}

/// Two clocks of which each segment has shown something.
#[derive(Clone, Debug, PartialEq)]
pub struct Clocks {
    /// A's time that counts as zero here, and the offset that does.
    origin: u64,
    base: i128,
    /// Times and bounds, in nanoseconds.
    uppers: Vec<(f64, f64)>,
    lowers: Vec<(f64, f64)>,
    /// How much B's clock gains in a second of A's, in seconds.
    drift: (f64, f64),
    /// The drifts, each with the offset at the origin, of which one gives the greatest offset that
    /// the bounds allow at any time.
    highest: Vec<(f64, f64)>,
    /// The same for the least offset.
    lowest: Vec<(f64, f64)>,
    connections: u64,
}

/// An interval in which a number lies.
#[derive(Clone, Copy, Debug, PartialEq)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Interval {
    pub low: f64,
    pub high: f64,
}

impl Clocks {
    /// Narrows the drift to what all bounds allow. Returns whether there is any.
    fn narrow_drift(&mut self) -> bool {
        let (mut least, mut most) = self.drift;
        for (at, upper) in &self.uppers {
            for (other, lower) in &self.lowers {
                let (span, room) = (at - other, upper - lower);
                if span > 0.0 {
                    most = most.min(room / span);
                } else if span < 0.0 {
                    least = least.max(room / span);
                } else if room < 0.0 {
                    return false;
                }
            }
        }
        self.drift = (least, most);
        least <= most
    }

    /// Returns B's clock minus A's in nanoseconds, at a time of A's clock.
    #[must_use]
    pub fn offset_at(&self, at: Nanos) -> Interval {
        let at = (i128::from(at.0) - i128::from(self.origin)) as f64;
        let offset = |(drift, offset): &(f64, f64)| offset + drift * at;
        let highs = self.highest.iter().map(offset);
        let lows = self.lowest.iter().map(offset);
        Interval {
            low: lows.fold(f64::INFINITY, f64::min) + self.base as f64,
            high: highs.fold(f64::NEG_INFINITY, f64::max) + self.base as f64,
        }
    }

    /// Returns B's clock minus A's in nanoseconds where it is known best, with that time of A's
    /// clock.
    #[must_use]
    pub fn offset(&self) -> (Nanos, Interval) {
        let times = self.uppers.iter().chain(&self.lowers).map(|(at, _)| {
            let at = Nanos((self.origin as f64 + at).max(0.0) as u64);
            (at, self.offset_at(at))
        });
        let width = |(_, interval): &(Nanos, Interval)| interval.high - interval.low;
        let best = times.min_by(|one, other| width(one).total_cmp(&width(other)));
        best.unwrap_or_else(|| (Nanos(self.origin), self.offset_at(Nanos(self.origin))))
    }

    /// Returns by how many millionths B's clock is faster than A's; `None` where the connections
    /// show no more than that both are clocks.
    #[must_use]
    pub fn drift_ppm(&self) -> Option<Interval> {
        let (low, high) = self.drift;
        let is_shown = low > -MAX_DRIFT && high < MAX_DRIFT;
        is_shown.then_some(Interval {
            low: low * 1e6,
            high: high * 1e6,
        })
    }

    /// Returns how many connections have shown something.
    #[must_use]
    pub const fn connections(&self) -> u64 {
        self.connections
    }

    /// Returns whether an event on one host was surely after one on the other host.
    pub(super) fn is_after(&self, on: Host, event: Nanos, other: Nanos) -> bool {
        let (event, other) = (event.0 as f64, other.0 as f64);
        match on {
            Host::A => event > other - self.offset_at(Nanos(event as u64)).low,
            Host::B => event - self.offset_at(Nanos(other as u64)).high > other,
        }
    }

    /// Returns the latest time by one host's clock at which it may have been `at` by the other's.
    pub(super) fn latest_on(&self, host: Host, at: Nanos) -> Nanos {
        let near = match host {
            Host::B => at,
            Host::A => Nanos((at.0 as f64 - self.base as f64).max(0.0) as u64),
        };
        let Interval { low, high } = self.offset_at(near);
        let latest = match host {
            Host::A => at.0 as f64 - low,
            Host::B => at.0 as f64 + high,
        };
        Nanos(latest.max(0.0) as u64)
    }
}

/// Returns the drifts at which another bound becomes the tightest one, and the limits of the drift,
/// each with the offset at the origin that the bounds allow. `sign` is 1 for upper bounds and -1
/// for lower ones.
fn corners(bounds: &[(f64, f64)], (least, most): (f64, f64), sign: f64) -> Vec<(f64, f64)> {
    let allowed = |drift: f64| {
        let offsets = bounds.iter().map(|(at, bound)| sign * (bound - drift * at));
        offsets.fold(f64::INFINITY, f64::min)
    };
    let mut corners = vec![(least, sign * allowed(least)), (most, sign * allowed(most))];
    for (number, (at, bound)) in bounds.iter().enumerate() {
        for (other_at, other_bound) in bounds.iter().skip(number + 1) {
            let drift = (bound - other_bound) / (at - other_at);
            let offset = bound - drift * at;
            let is_inside = least < drift && drift < most;
            if is_inside && sign * offset <= allowed(drift) + ROUNDING {
                corners.push((drift, offset));
            }
        }
    }
    corners
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;
    const SECOND: u64 = 1_000 * MS;
    const HOUR: u64 = 3_600 * SECOND;

    /// Adds segments in both directions each second. B is ahead by `offset(A's time)`.
    fn bounds(seconds: u64, delay: [u64; 2], offset: impl Fn(u64) -> u64) -> ClockBounds {
        let mut bounds = ClockBounds::default();
        for second in 0..seconds {
            let at = second * SECOND;
            let (there, back) = (at + delay[0], at + delay[0] + delay[1]);
            bounds.add_segment(Host::A, Nanos(at), Nanos(there + offset(there)));
            bounds.add_segment(Host::B, Nanos(there + offset(there)), Nanos(back));
        }
        bounds
    }

    fn known(bounds: &ClockBounds) -> Clocks {
        match bounds.alignment() {
            Alignment::Known(clocks) => clocks,
            Alignment::Unknown(why) => panic!("{why:?}"),
        }
    }

    #[test]
    fn both_directions_bound_the_offset_by_the_round_trip() {
        let clocks = known(&bounds(1, [3 * MS, MS], |_| 5 * HOUR));
        let Interval { low, high } = clocks.offset_at(Nanos(0));
        let (low, high) = (low - 5.0 * HOUR as f64, high - 5.0 * HOUR as f64);
        // The segments took 3 and 1 ms; drift adds a little in between, and disorder 10 µs.
        assert!((low + 1e6).abs() < 20_000.0, "{low}");
        assert!((high - 3e6).abs() < 20_000.0, "{high}");
        assert_eq!(clocks.drift_ppm(), None, "one moment shows no drift");
        let (_, best) = clocks.offset();
        assert!(best.high - best.low <= high - low, "{best:?}");
    }

    #[test]
    fn one_direction_is_not_enough() {
        let mut one = ClockBounds::default();
        let unknown = |bounds: &ClockBounds| bounds.alignment();
        assert_eq!(unknown(&one), Alignment::Unknown(Unaligned::NothingShown));
        one.add_segment(Host::A, Nanos(1), Nanos(2));
        assert_eq!(unknown(&one), Alignment::Unknown(Unaligned::OneDirection));
    }

    #[test]
    fn hours_show_the_drift_in_few_windows() {
        let drifting = |at: u64| HOUR + at / 20_000;
        let bounds = bounds(20_000, [MS, MS], drifting);
        assert!(bounds.upper.len() <= MAX_WINDOWS && bounds.lower.len() <= MAX_WINDOWS);
        let clocks = known(&bounds);
        let drift = clocks.drift_ppm().unwrap();
        assert!(drift.low < 50.0 && drift.high > 50.0, "{drift:?}");
        assert!(drift.high - drift.low < 1.0, "{drift:?}");
        for at in [0, 10_000 * SECOND, 19_999 * SECOND] {
            let Interval { low, high } = clocks.offset_at(Nanos(at));
            let truth = drifting(at) as f64;
            assert!(low < truth && truth < high, "{low} {truth} {high}");
            assert!(high - low < 2.2e6, "{low} {high}");
        }
    }

    #[test]
    fn a_clock_that_stood_still_fits_no_line() {
        let suspended = |at: u64| if at > 5 * SECOND { 60 * SECOND } else { HOUR };
        assert_eq!(
            bounds(10, [MS, MS], suspended).alignment(),
            Alignment::Unknown(Unaligned::Contradiction)
        );
    }

    #[test]
    fn what_lies_within_the_error_is_not_after() {
        let clocks = known(&bounds(1, [MS, MS], |_| HOUR));
        let b_at = |ms: u64| Nanos(HOUR + ms * MS);
        let a_at = |ms: u64| Nanos(ms * MS);
        assert!(clocks.is_after(Host::B, b_at(12), a_at(10)));
        assert!(!clocks.is_after(Host::B, b_at(11), a_at(10)));
        assert!(!clocks.is_after(Host::B, b_at(9), a_at(10)));
        assert!(clocks.is_after(Host::A, a_at(12), b_at(10)));
        assert!(!clocks.is_after(Host::A, a_at(11), b_at(10)));
        assert!(clocks.latest_on(Host::A, b_at(10)) > a_at(10));
        assert!(clocks.latest_on(Host::B, a_at(10)) > b_at(10));
    }
}
