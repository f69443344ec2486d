//! The kinds of records, and how urgent each is.

use serde::{Deserialize, Serialize};

use crate::record::Record;
use tcpclose_core::finding::Finding;

/// The kinds of records that an output can carry. The words are those of the JSON's `kind`.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Deserialize,
    Serialize,
    strum::Display,
    strum::IntoStaticStr,
    strum::VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
#[expect(missing_docs, reason = "docs/json.md describes them")]
pub enum RecordKind {
    Close,
    TimeWait,
    Stuck,
    Summary,
    Rollup,
    Loss,
}

impl RecordKind {
    /// Returns the kind of a record.
    #[must_use]
    pub const fn from_record(record: &Record) -> Self {
        match record {
            Record::Finding(Finding::Close(_)) => Self::Close,
            Record::Finding(Finding::TimeWait(_)) => Self::TimeWait,
            Record::Finding(Finding::Stuck(_)) => Self::Stuck,
            Record::Finding(Finding::Loss(_)) => Self::Loss,
            Record::Summary(_) => Self::Summary,
            Record::Rollup(_) => Self::Rollup,
        }
    }
}

/// Returns whether a rate limit applies to the record. Summaries, rollups and losses are few, and
/// they report what was cut. The end of a stuck socket must reach those who were alerted to its
/// start.
pub(super) const fn is_limited(record: &Record) -> bool {
    match record {
        Record::Finding(Finding::Close(_) | Finding::TimeWait(_)) => true,
        Record::Finding(Finding::Stuck(stuck)) => stuck.resolution().is_none(),
        Record::Finding(Finding::Loss(_)) | Record::Summary(_) | Record::Rollup(_) => false,
    }
}

/// How urgent a record is, in syslog's numbers (RFC 5424, section 6.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Severity {
    Warning = 4,
    Notice = 5,
    Info = 6,
    Debug = 7,
}

impl Severity {
    /// Returns the severity of a record. A stuck socket and a loss need attention; the end of a
    /// TIME_WAIT hardly ever does.
    pub(super) fn from_record(record: &Record) -> Self {
        match record {
            // Nobody is to be alerted.
            Record::Finding(finding) if finding.is_self_test() => Self::Info,
            Record::Finding(Finding::Close(_)) | Record::Summary(_) | Record::Rollup(_) => {
                Self::Info
            }
            Record::Finding(Finding::TimeWait(_)) => Self::Debug,
            Record::Finding(Finding::Stuck(stuck)) if stuck.resolution().is_some() => Self::Notice,
            Record::Finding(Finding::Stuck(_) | Finding::Loss(_)) => Self::Warning,
        }
    }
}
