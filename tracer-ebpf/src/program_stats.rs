//! Measures how long the programs run. The kernel can do that too (`BPF_ENABLE_STATS`), but then
//! for each run of every BPF program on the host, which costs as much as a small program.

use aya_ebpf::helpers::bpf_ktime_get_ns;
use aya_ebpf::macros::map;
use aya_ebpf::maps::PerCpuArray;
use tcpclose_common::{Program, RunStats};

/// The runs of each [`Program`].
#[map]
static PROGRAM_STATS: PerCpuArray<RunStats> = PerCpuArray::with_max_entries(Program::COUNT, 0);

/// Runs a program and counts the run; one in [`RunStats::SAMPLE_INTERVAL`] is timed.
#[inline(always)]
pub fn timed(program: Program, run: impl FnOnce()) {
    let Some(stats) = PROGRAM_STATS.get_ptr_mut(program as u32) else {
        return;
    };
    // SAFETY: this CPU's own slot, and the kernel does not run a program inside itself. Values are
    // read again from memory after the run: a value kept over the run would make the verifier
    // follow the run once for each.
    unsafe {
        let count = (&raw const (*stats).count).read_volatile() + 1;
        (&raw mut (*stats).count).write_volatile(count);
        if count % RunStats::SAMPLE_INTERVAL == 0 {
            (&raw mut (*stats).started).write_volatile(bpf_ktime_get_ns());
        }
    }
    run();
    // SAFETY: as above.
    unsafe {
        let started = (&raw const (*stats).started).read_volatile();
        if started != 0 {
            (&raw mut (*stats).started).write_volatile(0);
            let timed = (&raw const (*stats).timed_ns).read_volatile();
            (&raw mut (*stats).timed_ns).write_volatile(timed + (bpf_ktime_get_ns() - started));
        }
    }
}
