//! How fast the number of an owner's stuck sockets grows, and when its descriptors run out.
//!
//! Descriptors run out by the line through the stuck sockets that take one, or by the line through
//! the open descriptors of the process where that explains more: where each stuck socket keeps
//! other files open, or where the process leaks something else.

#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};

use serde::{Deserialize, Serialize};

use super::owner_key::OwnerKey;
use crate::types::Nanos;

/// Fewer samples than this make no forecast: two points lie on a line whatever they are.
pub const MIN_SAMPLES: usize = 3;

/// How much faster than the stuck sockets open descriptors have to grow: they are counted at
/// slightly different times.
const MIN_EXCESS_FACTOR: f64 = 1.05;

/// Samples kept: the newest.
const MAX_SAMPLES: usize = 60;

/// A number that was counted from time to time.
#[derive(Clone, Debug, Default)]
struct Series {
    samples: VecDeque<(Nanos, u64)>,
}

/// The straight line that fits the samples best (ordinary least squares).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fit {
    /// The line's slope: growth a second, negative when it shrinks.
    pub per_second: f64,
    /// How much of the samples' variance the line explains: 1 when they all lie on it or nothing
    /// varies, near 0 when it is a poor description.
    pub r_squared: f64,
    /// The number of samples: at least [`MIN_SAMPLES`].
    pub samples: usize,
    /// The time from the first sample to the last.
    pub span: Nanos,
}

impl Series {
    /// Adds a sample. One that is not later than the last replaces it.
    fn push(&mut self, at: Nanos, count: u64) {
        while self.samples.back().is_some_and(|(last, _)| *last >= at) {
            self.samples.pop_back();
        }
        self.samples.push_back((at, count));
        if self.samples.len() > MAX_SAMPLES {
            self.samples.pop_front();
        }
    }

    fn last(&self) -> Option<u64> {
        self.samples.back().map(|(_, count)| *count)
    }

    /// Returns the line through the samples; `None` while there are fewer than [`MIN_SAMPLES`].
    fn fit(&self) -> Option<Fit> {
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
            // Rounding may take it past 1 (by Cauchy-Schwarz it is not).
            r_squared: if cc == 0.0 {
                1.0
            } else {
                (tc * tc / (tt * cc)).min(1.0)
            },
            samples: self.samples.len(),
            span: last - first,
        })
    }
}

impl Fit {
    /// Returns whether the slope differs from 0 by more than twice its standard error. Otherwise
    /// the line does not predict anything.
    #[must_use]
    pub fn is_significant(&self) -> bool {
        // With R² = r: (slope / its error)² = r (n - 2) / (1 - r).
        let Self {
            per_second,
            r_squared,
            samples,
            span: _,
        } = *self;
        per_second != 0.0 && r_squared * (samples as f64 - 2.0) > 4.0 * (1.0 - r_squared)
    }

    /// Returns twice the standard error of the slope.
    fn margin(&self) -> f64 {
        let Self {
            per_second,
            r_squared,
            samples,
            span: _,
        } = *self;
        let explained = r_squared * (samples as f64 - 2.0);
        match explained > 0.0 {
            true => 2.0 * per_second.abs() * ((1.0 - r_squared) / explained).sqrt(),
            false => f64::INFINITY,
        }
    }

    /// Returns whether open descriptors, of which this is the line, certainly grow faster than
    /// their part of that line does.
    fn explains_more_than(&self, part: Option<&Self>) -> bool {
        let part = part.map_or(0.0, |part| part.per_second.max(0.0));
        self.is_significant() && self.per_second - self.margin() > part * MIN_EXCESS_FACTOR
    }

    /// Returns the time after which the line will have risen by `room`; `None` when it does not
    /// rise, or not within 100 years. Without room that time has come, whatever the line does: what
    /// is full cannot grow.
    #[must_use]
    pub fn time_to(&self, room: u64) -> Option<Nanos> {
        if room == 0 {
            return Some(Nanos(0));
        }
        const CENTURY: f64 = 100.0 * 365.25 * 86_400.0;
        let seconds = room as f64 / self.per_second;
        (self.per_second > 0.0 && seconds < CENTURY).then_some(Nanos((seconds * 1e9) as u64))
    }
}

/// How the stuck sockets of one owner grow, and when they take its last descriptor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Forecast {
    /// The line through the numbers of stuck sockets.
    pub fit: Fit,
    /// The line through the numbers of the process's open descriptors, where it explains more than
    /// the stuck sockets do: `exhausted_in` is then taken from it.
    pub open: Option<Fit>,
    /// The time until no descriptors are left; `None` where they do not run out, or where the limit
    /// is not known.
    pub exhausted_in: Option<Nanos>,
}

/// The lines through what was counted of one owner.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrendLines {
    stuck: Fit,
    descriptors: Option<Fit>,
    open: Option<Fit>,
}

impl TrendLines {
    /// Returns the forecast of an owner that may open `room` more descriptors; `None` while no line
    /// predicts anything ([`Fit::is_significant`]).
    #[must_use]
    pub fn forecast(&self, room: Option<u64>) -> Option<Forecast> {
        let Self {
            stuck: fit,
            descriptors,
            open,
        } = *self;
        // That nothing is left is certain without any line.
        let counts = |fit: &Fit| room == Some(0) || fit.is_significant();
        let part = descriptors.filter(counts);
        let open = open.filter(|open| open.explains_more_than(part.as_ref()));
        (counts(&fit) || open.is_some()).then(|| Forecast {
            fit,
            open,
            exhausted_in: room.and_then(|room| open.or(part)?.time_to(room)),
        })
    }
}

/// How many sockets of one owner are stuck.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// All stuck sockets of the owner.
    pub stuck: u64,
    /// Those that take a descriptor: a connection that was not accepted takes none.
    pub descriptors: u64,
    /// All open descriptors of the process, and when they were counted; `None` without a process.
    pub open: Option<(Nanos, u64)>,
}

impl Sample {
    /// Counts one more socket.
    pub fn add(&mut self, takes_descriptor: bool) {
        self.stuck += 1;
        self.descriptors += u64::from(takes_descriptor);
    }
}

/// How the stuck sockets of all owners grow. It holds the owners that were counted last.
#[derive(Clone, Debug, Default)]
pub struct Trends(HashMap<OwnerKey, Trend>);

#[derive(Clone, Debug, Default)]
struct Trend {
    stuck: Series,
    descriptors: Series,
    open: Series,
}

impl Trends {
    /// Adds what was counted at `at`. An owner without a sample is forgotten.
    pub fn record(&mut self, at: Nanos, samples: impl IntoIterator<Item = (OwnerKey, Sample)>) {
        let mut before = std::mem::take(&mut self.0);
        for (owner, sample) in samples {
            let mut trend = before.remove(&owner).unwrap_or_default();
            trend.stuck.push(at, sample.stuck);
            trend.descriptors.push(at, sample.descriptors);
            if let Some((as_of, open)) = sample.open {
                trend.open.push(as_of, open);
            }
            self.0.insert(owner, trend);
        }
    }

    /// Returns how many sockets of an owner were stuck when they were last counted.
    #[must_use]
    pub fn last(&self, owner: &OwnerKey) -> Option<u64> {
        self.0.get(owner)?.stuck.last()
    }

    /// Returns the forecast of an owner that may open `room` more descriptors; `None` while there
    /// are fewer than [`MIN_SAMPLES`], or while no line predicts anything
    /// ([`Fit::is_significant`]).
    #[must_use]
    pub fn forecast(&self, owner: &OwnerKey, room: Option<u64>) -> Option<Forecast> {
        self.lines(owner)?.forecast(room)
    }

    /// Returns the lines through what was counted of an owner; `None` while there are fewer than
    /// [`MIN_SAMPLES`].
    #[must_use]
    pub fn lines(&self, owner: &OwnerKey) -> Option<TrendLines> {
        let trend = self.0.get(owner)?;
        Some(TrendLines {
            stuck: trend.stuck.fit()?,
            descriptors: trend.descriptors.fit(),
            open: trend.open.fit(),
        })
    }
}
