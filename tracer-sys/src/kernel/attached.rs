//! The programs while they are attached: their statistics, and the runs that the kernel skipped.

use std::io;

use super::ebpf_log::EbpfLog;
use super::loader::Programs;
use super::program_stats::{ProgramRunStats, ProgramStats};
use super::reader::RingReader;
use super::recursion_fallback::RecursionFallback;
use super::recursion_misses::{MissedRuns, RecursionMisses};

impl Programs {
    /// Starts reading. The programs stay attached as long as the returned guard lives.
    ///
    /// # Errors
    /// When the ring buffer cannot be polled.
    pub fn into_reader(self) -> io::Result<(RingReader, AttachedPrograms)> {
        let Self {
            ebpf,
            tier: _,
            has_cookie: _,
            has_data_times: _,
            missing_tracepoints: _,
            minisocket_hooks: _,
            minisocket_segments: _,
            dropped_segments: _,
            reasons,
            rings,
            lost,
            reader_asleep,
            recursion_fallback,
            stats,
            log,
            ring_bytes,
        } = self;
        let reader = RingReader::new(rings, lost, reader_asleep, reasons, ring_bytes)?;
        let misses = RecursionMisses::new(&ebpf);
        Ok((
            reader,
            AttachedPrograms {
                ebpf,
                misses,
                fallback: recursion_fallback.ok(),
                stats,
                log,
            },
        ))
    }
}

/// The programs while they are attached; dropping this detaches them.
pub struct AttachedPrograms {
    /// Keeps programs and links alive.
    ebpf: aya::Ebpf,
    misses: RecursionMisses,
    fallback: Option<RecursionFallback>,
    stats: ProgramStats,
    /// The programs' own log messages, if they are wanted.
    pub log: Option<EbpfLog>,
}

impl AttachedPrograms {
    /// Returns how often and how long the programs have run; `None` where that cannot be read.
    #[must_use]
    pub fn runs(&self) -> Option<ProgramRunStats> {
        self.stats.total().ok()
    }

    /// Returns how many runs of the programs the kernel skipped since the last call, without those
    /// that the fallback made up for. Call it about once a second.
    pub fn take_missed_runs(&mut self) -> u64 {
        let MissedRuns { set_state, others } = self.misses.take_new();
        let Some(fallback) = &mut self.fallback else {
            return set_state.unwrap_or(0) + others;
        };
        // Counted before the last stage begins: at most too many, by the runs skipped in between,
        // never too few.
        let missed = if fallback.is_active() {
            0
        } else {
            set_state.unwrap_or(0)
        };
        fallback.advance(&mut self.ebpf, set_state.is_none_or(|skipped| skipped > 0));
        missed + others
    }
}
