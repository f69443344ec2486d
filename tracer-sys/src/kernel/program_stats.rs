//! Reads how often and how long the eBPF programs have run.

use aya::maps::{MapData, MapError, PerCpuArray};
use tcpclose_common::{Program, RunStats};

use serde::{Deserialize, Serialize};
use tcpclose_core::types::Nanos;

/// Runs of the eBPF programs, all together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgramRunStats {
    /// Number of runs.
    pub count: u64,
    /// Processor time of the runs.
    pub time: Nanos,
}

/// What each program counts on each CPU, as the words of [`RunStats`].
pub(super) struct ProgramStats(pub PerCpuArray<MapData, [u64; 3]>);

impl ProgramStats {
    /// Returns all runs since the start. The time is an estimate: one in
    /// [`RunStats::SAMPLE_INTERVAL`] runs on each CPU is timed.
    ///
    /// # Errors
    /// When the map cannot be read.
    pub fn total(&self) -> Result<ProgramRunStats, MapError> {
        let mut total = ProgramRunStats::default();
        for program in 0..Program::COUNT {
            for words in self.0.get(&program, 0)?.iter() {
                let runs: RunStats = bytemuck::cast(*words);
                total.count += runs.count;
                total.time = total.time + Nanos(runs.timed_ns * RunStats::SAMPLE_INTERVAL);
            }
        }
        Ok(total)
    }
}
