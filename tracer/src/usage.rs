//! What the tracer itself uses.

use serde::{Deserialize, Serialize};

use tcpclose_core::types::Nanos;
use tcpclose_sys::kernel::program_stats::BpfRuns;

/// What the tracer costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tracer {
    /// Processor time of the process, its own and the kernel's for it.
    pub cpu: Nanos,
    /// Resident memory in bytes, now.
    pub memory: u64,
    /// Runs of the eBPF programs; `None` where the kernel does not count them.
    pub bpf: Option<BpfRuns>,
}

impl Tracer {
    /// What has been used since `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            cpu: self.cpu - earlier.cpu,
            memory: self.memory,
            bpf: self.bpf.map(|bpf| {
                let before = earlier.bpf.unwrap_or_default();
                BpfRuns {
                    count: bpf.count.saturating_sub(before.count),
                    time: bpf.time - before.time,
                }
            }),
        }
    }
}
