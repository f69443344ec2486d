//! What a recording says of itself.

use serde::{Deserialize, Serialize};

use tcpclose_core::types::Nanos;
use tcpclose_sys::host::kernel_release;
use tcpclose_sys::kernel::loader::{Tier, TraceOptions};

/// The head of a recording: JSON, so that people and later versions can read it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The version of tcpclose that wrote it.
    pub program: String,
    /// The kernel's release (`uname -r`).
    pub kernel: String,
    /// What could be seen.
    pub seen: Seen,
    /// The most live connection ends that the core was to keep.
    pub capacity: usize,
    /// The kernel's hooks told of minisockets.
    pub hooks: bool,
    /// The kernel told of segments that it dropped.
    pub segments: bool,
    /// The kernel was filtering local ports.
    pub filters_ports: bool,
    /// Ends were told to be stuck after so long in CLOSE_WAIT.
    pub stuck_after: Option<Nanos>,
    /// Transitions that tell nothing of a close were recorded, too.
    #[serde(default)]
    pub every_transition: bool,
}

/// How much the kernel let the recorder see: [`Tier`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "they are Tier's")]
pub enum Seen {
    Btf,
    Classic,
}

impl Head {
    /// Returns the head for what is being traced now with these options.
    #[must_use]
    pub fn new(options: &TraceOptions, tier: Tier, capacity: usize) -> Self {
        Self {
            program: env!("CARGO_PKG_VERSION").to_owned(),
            kernel: kernel_release(),
            seen: match tier {
                Tier::Btf => Seen::Btf,
                Tier::Classic => Seen::Classic,
            },
            capacity,
            hooks: false,
            segments: false,
            filters_ports: !options.filter.local_ports.is_empty(),
            stuck_after: None,
            every_transition: options.every_transition,
        }
    }
}
