//! The resources that the program itself uses.

use serde::{Deserialize, Serialize};

use tcpclose_core::types::Nanos;
use tcpclose_sys::kernel::program_stats::ProgramRunStats;

/// The resources that the program has used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Processor time of the process, in user space and in the kernel.
    pub cpu: Nanos,
    /// Current resident memory in bytes.
    pub memory: u64,
    /// Runs of the eBPF programs; `None` where they cannot be read.
    pub bpf: Option<ProgramRunStats>,
}

impl Usage {
    /// Returns what has been used since an earlier measurement.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            cpu: self.cpu - earlier.cpu,
            memory: self.memory,
            bpf: self.bpf.map(|bpf| {
                let before = earlier.bpf.unwrap_or_default();
                ProgramRunStats {
                    count: bpf.count.saturating_sub(before.count),
                    time: bpf.time - before.time,
                }
            }),
        }
    }
}
