//! Events per second.

use tcpclose_core::types::Nanos;

/// The seconds that a rate is the mean of.
const WINDOW_SECS: usize = 10;
const SECOND: u64 = 1_000_000_000;

/// Counts the events of the last seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct RateWindow {
    /// The newest second that has a count.
    newest: u64,
    /// The counts, each at its second modulo their number.
    counts: [u32; WINDOW_SECS],
}

impl RateWindow {
    /// Counts an event. One that is older than the window is left out.
    pub fn add(&mut self, at: Nanos) {
        let second = at.0 / SECOND;
        self.advance(second);
        if self.newest - second < WINDOW_SECS as u64 {
            self.counts[place(second)] += 1;
        }
    }

    /// Counts what another window has counted.
    pub fn merge(&mut self, other: &Self) {
        self.advance(other.newest);
        for second in other.seconds() {
            if self.newest - second < WINDOW_SECS as u64 {
                self.counts[place(second)] += other.counts[place(second)];
            }
        }
    }

    /// Returns the mean of the last seconds before `now`, or since `start` if that is later.
    pub fn per_second(&self, now: Nanos, start: Nanos) -> f64 {
        let current = now.0 / SECOND;
        let first = current.saturating_sub(WINDOW_SECS as u64 - 1);
        let counted: u32 = self
            .seconds()
            .filter(|second| (first..=current).contains(second))
            .map(|second| self.counts[place(second)])
            .sum();
        let begun = Nanos(first * SECOND).max(start);
        f64::from(counted) / (now - begun).0.max(SECOND) as f64 * SECOND as f64
    }

    /// The seconds that have counts.
    fn seconds(&self) -> impl Iterator<Item = u64> + use<> {
        let newest = self.newest;
        (0..WINDOW_SECS as u64).filter_map(move |back| newest.checked_sub(back))
    }

    /// Makes room for a second.
    fn advance(&mut self, second: u64) {
        if second <= self.newest {
            return;
        }
        let passed = (second - self.newest).min(WINDOW_SECS as u64);
        for back in 0..passed {
            self.counts[place(second - back)] = 0;
        }
        self.newest = second;
    }
}

const fn place(second: u64) -> usize {
    (second % WINDOW_SECS as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::RateWindow;
    use tcpclose_core::types::Nanos;

    fn at(ms: u64) -> Nanos {
        Nanos::from_millis(1_000_000 + ms)
    }

    #[test]
    fn a_rate_is_the_mean_of_the_last_seconds() {
        let mut window = RateWindow::default();
        for event in 0..100 {
            window.add(at(event * 100));
        }
        let rate = window.per_second(at(10_000), at(0));
        assert!((rate - 10.0).abs() < 0.2, "{rate}");
        assert_eq!(window.per_second(at(30_000), at(0)), 0.0);
    }

    #[test]
    fn at_the_start_a_rate_is_that_since_the_start() {
        let mut window = RateWindow::default();
        for _ in 0..6 {
            window.add(at(10));
        }
        assert_eq!(window.per_second(at(100), at(0)), 6.0);
        assert_eq!(window.per_second(at(3_000), at(0)), 2.0);
    }

    #[test]
    fn windows_add_up_and_late_events_count_where_they_belong() {
        let (mut one, mut other) = (RateWindow::default(), RateWindow::default());
        one.add(at(9_000));
        one.add(at(5_000));
        other.add(at(4_000));
        // Older than the window.
        one.add(at(0) - Nanos::from_secs(60));
        other.merge(&one);
        assert_eq!(other.per_second(at(9_999), at(8_999)), 3.0);
        let mut newer = RateWindow::default();
        newer.add(at(40_000));
        newer.merge(&one);
        assert_eq!(newer.per_second(at(40_000), at(40_000)), 1.0);
    }
}
