//! The values of counters and gauges.

use tcpclose_core::types::Nanos;

/// A value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// A number of things. Every series that a metric has ever had goes on at 0.
    Count(u64),
    /// A measurement: seconds, a share or a rate. Where there is none, there is no series.
    Measured(f64),
}

/// How several values become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Merge {
    /// By their sum.
    Sum,
    /// By the least.
    Least,
    /// By the greatest.
    Greatest,
}

impl Number {
    /// A span in seconds.
    #[must_use]
    pub fn seconds(span: Nanos) -> Self {
        Self::Measured(span.0 as f64 / 1e9)
    }

    /// The value as Prometheus has all of them.
    #[must_use]
    pub fn as_f64(self) -> f64 {
        match self {
            Self::Count(count) => count as f64,
            Self::Measured(value) => value,
        }
    }

    /// One value of two.
    #[must_use]
    pub fn merge(self, other: Self, how: Merge) -> Self {
        if let (Self::Count(one), Self::Count(other)) = (self, other) {
            return Self::Count(match how {
                Merge::Sum => one + other,
                Merge::Least => one.min(other),
                Merge::Greatest => one.max(other),
            });
        }
        let (one, other) = (self.as_f64(), other.as_f64());
        Self::Measured(match how {
            Merge::Sum => one + other,
            Merge::Least => one.min(other),
            Merge::Greatest => one.max(other),
        })
    }
}
