//! The kinds of records, and how much each matters.

use serde::{Deserialize, Serialize};

use tcpclose_core::finding::Finding;

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
            Finding::Stuck(_) => Self::Leak,
            Finding::Loss(_) => Self::Loss,
            Finding::Summary(_) => Self::Summary,
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
}

/// Whether a rate limit holds for it. Summaries and losses are few, and tell of what was cut. Who was told that a socket
/// is stuck is told when it is no more.
pub(super) const fn is_limited(finding: &Finding) -> bool {
    match finding {
        Finding::Close(_) | Finding::TimeWait(_) => true,
        Finding::Stuck(stuck) => stuck.end.is_none(),
        Finding::Summary(_) | Finding::Loss(_) => false,
    }
}

/// How much a record matters, in syslog's numbers (RFC 5424, section 6.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Severity {
    Warning = 4,
    Notice = 5,
    Info = 6,
    Debug = 7,
}

impl Severity {
    /// A leak and a loss want somebody's attention; that a TIME_WAIT is over hardly anybody's.
    pub(super) const fn of(finding: &Finding) -> Self {
        match finding {
            Finding::Close(_) | Finding::Summary(_) => Self::Info,
            Finding::TimeWait(_) => Self::Debug,
            Finding::Stuck(stuck) if stuck.end.is_some() => Self::Notice,
            Finding::Stuck(_) | Finding::Loss(_) => Self::Warning,
        }
    }
}
