//! Transitions inside transitions: a softirq may interrupt the program, and closes another socket on the same CPU. The
//! kernel skips a tracing program that is running already (`prog->active`), so a twin takes what it misses.

use aya_ebpf::macros::map;
use aya_ebpf::maps::PerCpuArray;

/// 1 while the outer program runs on this CPU.
#[map]
static BUSY: PerCpuArray<u32> = PerCpuArray::with_max_entries(1, 0);

/// Runs the program and lets its twin know. What interrupts between the kernel's own mark and this one, some
/// nanoseconds, is missed and counted (`recursion_misses`).
#[inline(always)]
pub fn outer(run: impl FnOnce()) {
    let Some(busy) = BUSY.get_ptr_mut(0) else {
        return;
    };
    // SAFETY: this CPU's own slot; whoever interrupts only reads it.
    unsafe { busy.write_volatile(1) };
    run();
    // SAFETY: as above.
    unsafe { busy.write_volatile(0) };
}

/// Runs the twin, only where the other is at work.
#[inline(always)]
pub fn inner(run: impl FnOnce()) {
    let Some(busy) = BUSY.get_ptr(0) else {
        return;
    };
    // SAFETY: a valid slot of the map.
    if unsafe { busy.read_volatile() } != 0 {
        run();
    }
}
