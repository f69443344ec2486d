//! The kinds of records, and how much each matters.

use serde::{Deserialize, Serialize};

use crate::lifecycle::finding::Finding;

/// The kinds of records that an output can carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "they are the JSON's `kind`")]
pub enum Kind {
    Close,
    TimeWait,
    Leak,
    Summary,
    Loss,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Close,
        Self::TimeWait,
        Self::Leak,
        Self::Summary,
        Self::Loss,
    ];

    /// The kind of a finding.
    #[must_use]
    pub const fn of(finding: &Finding) -> Self {
        match finding {
            Finding::Close(_) => Self::Close,
            Finding::TimeWait(_) => Self::TimeWait,
            Finding::Leak(_) => Self::Leak,
            Finding::Summary(_) => Self::Summary,
            Finding::Loss(_) => Self::Loss,
        }
    }

    /// The word of the JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Close => "close",
            Self::TimeWait => "time_wait",
            Self::Leak => "leak",
            Self::Summary => "summary",
            Self::Loss => "loss",
        }
    }

    /// Whether a rate limit holds for it. The others are few, and tell of what was cut.
    pub(super) const fn is_limited(self) -> bool {
        match self {
            Self::Close | Self::TimeWait | Self::Leak => true,
            Self::Summary | Self::Loss => false,
        }
    }
}
