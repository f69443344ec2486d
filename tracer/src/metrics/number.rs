//! The values of counters and gauges.

use tcpclose_core::types::Nanos;

/// The value of a point.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// A number of things. A series that has nothing to count goes on at 0.
    Count(u64),
    /// A measurement: seconds, a share or a rate. Without one there is no series.
    Measured(f64),
}

/// How two values become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Merge {
    /// Both are added.
    Sum,
    /// The smaller one.
    Min,
    /// The greater one.
    Max,
}

impl Number {
    /// Returns a duration in seconds.
    #[must_use]
    pub fn seconds(span: Nanos) -> Self {
        Self::Measured(span.0 as f64 / 1e9)
    }

    /// Returns the value as a floating-point number, as Prometheus has all values.
    #[must_use]
    pub fn as_f64(self) -> f64 {
        match self {
            Self::Count(count) => count as f64,
            Self::Measured(value) => value,
        }
    }

    /// Merges two values.
    #[must_use]
    pub fn merge(self, other: Self, how: Merge) -> Self {
        if let (Self::Count(one), Self::Count(other)) = (self, other) {
            return Self::Count(match how {
                Merge::Sum => one + other,
                Merge::Min => one.min(other),
                Merge::Max => one.max(other),
            });
        }
        let (one, other) = (self.as_f64(), other.as_f64());
        Self::Measured(match how {
            Merge::Sum => one + other,
            Merge::Min => one.min(other),
            Merge::Max => one.max(other),
        })
    }
}
