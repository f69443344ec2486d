//! What a recording holds, one after the other.

use serde::{Deserialize, Serialize};

use crate::summary::IntervalEnd;
use tcpclose_core::Input;

/// One thing that was recorded, as it is read.
#[derive(Clone, Debug, Deserialize)]
pub enum Entry {
    /// What the core was told.
    Input(Input),
    /// From here on wall time is monotonic time plus this many nanoseconds.
    WallClock(i64),
    /// From here on this cgroup (v2) has this path; escape it before it is shown.
    Cgroup {
        /// Its id.
        id: u64,
        /// From the root cgroup.
        path: String,
    },
    /// An interval of the agent ends; at the first, none does.
    IntervalEnd(IntervalEnd),
}

/// [`Entry`] as it is written.
#[derive(Clone, Copy, Debug, Serialize)]
#[allow(missing_docs, reason = "they are Entry's")]
pub enum EntryRef<'a> {
    Input(&'a Input),
    WallClock(i64),
    Cgroup { id: u64, path: &'a str },
    IntervalEnd(&'a IntervalEnd),
}
