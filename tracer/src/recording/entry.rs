//! The entries of a recording.

use serde::{Deserialize, Serialize};

use crate::summary::IntervalEnd;
use tcpclose_core::Input;

/// An entry as it is read.
#[derive(Clone, Debug, Deserialize)]
pub enum Entry {
    /// An input of the core.
    Input(Input),
    /// The offset of wall time from monotonic time, in nanoseconds, from here on.
    WallClock(i64),
    /// The path of a cgroup (v2), from here on. The path must be escaped before it is shown.
    Cgroup {
        /// The cgroup's id.
        id: u64,
        /// The path below the root cgroup.
        path: String,
    },
    /// The end of an interval of the agent. The first one marks the start of the first interval.
    IntervalEnd(IntervalEnd),
}

/// An [`Entry`] as it is written.
#[derive(Clone, Copy, Debug, Serialize)]
#[expect(missing_docs, reason = "they are Entry's")]
pub enum EntryRef<'a> {
    Input(&'a Input),
    WallClock(i64),
    Cgroup { id: u64, path: &'a str },
    IntervalEnd(&'a IntervalEnd),
}
