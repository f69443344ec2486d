//! The head of a recording: how it was recorded.

use serde::{Deserialize, Serialize};

use tcpclose_core::types::Nanos;
use tcpclose_sys::host::kernel_release;
use tcpclose_sys::kernel::loader::{Tier, TraceOptions};

/// The head of a recording: JSON, so that people and later versions can read it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The version of tcpclose that wrote the recording.
    pub program: String,
    /// The kernel's release (`uname -r`).
    pub kernel: String,
    /// How much the recorder could see.
    pub seen: RecordedTier,
    /// The most live endpoints that the core keeps.
    pub capacity: usize,
    /// Whether the kernel's hooks reported minisockets.
    pub hooks: bool,
    /// Whether the kernel reported the segments that minisockets took.
    pub segments: bool,
    /// Whether the kernel reported which of its own segments this host dropped.
    #[serde(default)]
    pub drops: bool,
    /// Whether the eBPF programs filtered local ports.
    pub filters_ports: bool,
    /// The time in one state after which sockets were reported as stuck, if any.
    pub stuck_after: Option<Nanos>,
    /// Whether transitions that are not part of a close were recorded, too.
    #[serde(default)]
    pub every_transition: bool,
    /// Which segment of the flight recorder it is; `None` of other recordings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub segment: Option<SegmentHead>,
}

/// Which segment of a flight recorder a recording is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentHead {
    /// The host's boot, of whose monotonic clock the times are.
    pub boot: String,
    /// When its agent started to record.
    pub session: Nanos,
    /// When the segment begins.
    pub at: Nanos,
    /// The entries that were lost after the segment before.
    pub lost_before: u64,
    /// The connections that there was no room for at its beginning.
    pub left_out: u64,
}

/// How much the recorder could see: the [`Tier`] of its programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "they are Tier's")]
pub enum RecordedTier {
    Btf,
    Classic,
}

impl Head {
    /// Returns the head of a recording that starts now with these options.
    #[must_use]
    pub fn new(options: &TraceOptions, tier: Tier, capacity: usize) -> Self {
        Self {
            program: env!("CARGO_PKG_VERSION").to_owned(),
            kernel: kernel_release(),
            seen: match tier {
                Tier::Btf => RecordedTier::Btf,
                Tier::Classic => RecordedTier::Classic,
            },
            capacity,
            hooks: false,
            segments: false,
            drops: false,
            filters_ports: !options.filter.local_ports.is_empty(),
            stuck_after: None,
            every_transition: options.every_transition,
            segment: None,
        }
    }
}
