//! How fast a number of stuck sockets grows, and when that meets a limit.

use std::collections::VecDeque;

use crate::lifecycle::types::Nanos;

/// Fewer samples than this make no forecast: two points lie on a line whatever they are.
pub const MIN_SAMPLES: usize = 3;

/// Samples kept: the newest.
const KEPT: usize = 60;

/// A number that was looked at from time to time.
#[derive(Clone, Debug, Default)]
pub struct Growth {
    samples: VecDeque<(Nanos, u64)>,
}

/// The straight line that fits the samples best (ordinary least squares).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fit {
    /// The line's slope: growth a second, negative when it shrinks.
    pub per_second: f64,
    /// How much of the samples' variance the line explains: 1 when they all lie on it, near 0 when it is a poor
    /// description. 1 where nothing varies.
    pub r_squared: f64,
    /// How many samples went in: at least [`MIN_SAMPLES`].
    pub samples: usize,
    /// From the first sample to the last.
    pub span: Nanos,
}

impl Growth {
    /// Takes in one more sample. One that is not later than the last replaces it.
    pub fn push(&mut self, at: Nanos, count: u64) {
        while self.samples.back().is_some_and(|(last, _)| *last >= at) {
            self.samples.pop_back();
        }
        self.samples.push_back((at, count));
        if self.samples.len() > KEPT {
            self.samples.pop_front();
        }
    }

    /// The line through the samples; `None` while there are fewer than [`MIN_SAMPLES`].
    #[must_use]
    pub fn fit(&self) -> Option<Fit> {
        if self.samples.len() < MIN_SAMPLES {
            return None;
        }
        let (&(first, base), &(last, _)) = (self.samples.front()?, self.samples.back()?);
        // Distances from the first sample, so that nothing is lost in a double's 53 bits.
        let points = || {
            self.samples.iter().map(|&(at, count)| {
                let count = count as f64 - base as f64;
                ((at - first).0 as f64 / 1e9, count)
            })
        };
        let n = self.samples.len() as f64;
        let (sum_t, sum_c) = points().fold((0.0, 0.0), |(t, c), point| (t + point.0, c + point.1));
        let (mean_t, mean_c) = (sum_t / n, sum_c / n);
        let (mut tt, mut tc, mut cc) = (0.0, 0.0, 0.0);
        for (t, c) in points() {
            tt += (t - mean_t) * (t - mean_t);
            tc += (t - mean_t) * (c - mean_c);
            cc += (c - mean_c) * (c - mean_c);
        }
        Some(Fit {
            per_second: tc / tt,
            r_squared: if cc == 0.0 { 1.0 } else { tc * tc / (tt * cc) },
            samples: self.samples.len(),
            span: last - first,
        })
    }
}

impl Fit {
    /// When the line will have risen by `room`; `None` when it does not rise, or not within 100 years.
    #[must_use]
    pub fn time_to(&self, room: u64) -> Option<Nanos> {
        const CENTURY: f64 = 100.0 * 365.25 * 86_400.0;
        let seconds = room as f64 / self.per_second;
        (self.per_second > 0.0 && seconds < CENTURY).then_some(Nanos((seconds * 1e9) as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(samples: &[(u64, u64)]) -> Growth {
        let mut growth = Growth::default();
        for &(second, count) in samples {
            growth.push(Nanos::from_secs(1_000_000 + second), count);
        }
        growth
    }

    #[test]
    fn fewer_than_three_samples_make_no_forecast() {
        assert_eq!(of(&[]).fit(), None);
        assert_eq!(of(&[(0, 1)]).fit(), None);
        assert_eq!(of(&[(0, 1), (5, 100)]).fit(), None);
        assert!(of(&[(0, 1), (5, 100), (10, 200)]).fit().is_some());
    }

    #[test]
    fn a_straight_line_is_found_exactly() {
        let fit = of(&[(0, 100), (5, 110), (10, 120), (20, 140)]).fit();
        let expected = Fit {
            per_second: 2.0,
            r_squared: 1.0,
            samples: 4,
            span: Nanos::from_secs(20),
        };
        assert_eq!(fit, Some(expected));
        assert_eq!(expected.time_to(884), Some(Nanos::from_secs(442)));
        assert_eq!(expected.time_to(0), Some(Nanos(0)));
    }

    #[test]
    fn a_poor_fit_says_so() {
        // Means 1.5 and 5; slope 4/5... of sums 5, 10 and 100: 10 * 10 / (5 * 100).
        let fit = of(&[(0, 0), (1, 10), (2, 0), (3, 10)])
            .fit()
            .expect("four samples");
        assert_eq!((fit.per_second, fit.r_squared), (2.0, 0.2));
    }

    #[test]
    fn what_does_not_grow_never_meets_its_limit() {
        let still = of(&[(0, 7), (1, 7), (2, 7)]).fit().expect("three samples");
        assert_eq!((still.per_second, still.r_squared), (0.0, 1.0));
        assert_eq!(still.time_to(10), None);
        let less = of(&[(0, 9), (1, 8), (2, 7)]).fit().expect("three samples");
        assert_eq!(less.per_second, -1.0);
        assert_eq!(less.time_to(10), None);
        let hardly = of(&[(0, 0), (1_000_000, 0), (2_000_000, 1)])
            .fit()
            .expect("three samples");
        assert_eq!(hardly.time_to(u64::MAX), None);
    }

    #[test]
    fn only_the_newest_samples_count() {
        let mut samples: Vec<_> = (0..100).map(|second| (second, 5_000)).collect();
        samples.extend((100..160).map(|second| (second, second)));
        let fit = of(&samples).fit().expect("enough samples");
        assert_eq!((fit.samples, fit.per_second), (60, 1.0));
    }

    #[test]
    fn a_clock_that_stands_still_divides_nothing_by_zero() {
        let fit = of(&[(0, 1), (0, 2), (0, 3), (1, 4), (2, 5)])
            .fit()
            .expect("three samples");
        assert_eq!((fit.samples, fit.per_second), (3, 1.0));
    }
}
