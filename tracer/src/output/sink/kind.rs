//! The kinds of records, and how much each matters.

use serde::{Deserialize, Serialize};

use crate::record::Record;
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

    /// The kind of a record.
    #[must_use]
    pub const fn of(record: &Record) -> Self {
        match record {
            Record::Finding(Finding::Close(_)) => Self::Close,
            Record::Finding(Finding::TimeWait(_)) => Self::TimeWait,
            Record::Finding(Finding::Stuck(_)) => Self::Leak,
            Record::Finding(Finding::Loss(_)) => Self::Loss,
            Record::Summary(_) => Self::Summary,
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
pub(super) const fn is_limited(record: &Record) -> bool {
    match record {
        Record::Finding(Finding::Close(_) | Finding::TimeWait(_)) => true,
        Record::Finding(Finding::Stuck(stuck)) => stuck.end.is_none(),
        Record::Finding(Finding::Loss(_)) | Record::Summary(_) => false,
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
    pub(super) const fn of(record: &Record) -> Self {
        match record {
            Record::Finding(Finding::Close(_)) | Record::Summary(_) => Self::Info,
            Record::Finding(Finding::TimeWait(_)) => Self::Debug,
            Record::Finding(Finding::Stuck(stuck)) if stuck.end.is_some() => Self::Notice,
            Record::Finding(Finding::Stuck(_) | Finding::Loss(_)) => Self::Warning,
        }
    }
}
