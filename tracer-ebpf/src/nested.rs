//! Transitions inside transitions: a softirq may interrupt the program, and closes another socket on the same CPU. The
//! kernel skips a tracing program that is running already (`prog->active`), so a twin takes what the first one missed.
//!
//! Both are called for each transition, one after the other, and whatever interrupts on this CPU is through before they
//! go on. So the transitions that the first has seen and the twin has not form a stack. What is not on it the first has
//! missed. Only tasks and softirqs change TCP states, so at most two transitions are under way on a CPU, and never is
//! the twin skipped where the first one is.

use core::ffi::c_void;

use aya_ebpf::macros::map;
use aya_ebpf::maps::PerCpuArray;
use aya_ebpf::programs::BtfTracePointContext;

/// One more than can be under way, and then a power of two.
const DEPTH: usize = 4;

#[repr(C)]
struct Seen {
    depth: u64,
    /// Their addresses. One socket is not in two transitions at once: it is locked.
    sockets: [u64; DEPTH],
}

/// What the first program has seen and its twin has not yet.
#[map]
static SEEN: PerCpuArray<Seen> = PerCpuArray::with_max_entries(1, 0);

/// Runs the first program and lets its twin know.
#[inline(always)]
pub fn outer(ctx: &BtfTracePointContext, run: impl FnOnce()) {
    if let Some(seen) = SEEN.get_ptr_mut(0) {
        // SAFETY: this CPU's own slot. Whoever interrupts leaves what is below the depth that it found.
        unsafe {
            // Where one had no twin (it is attached a moment later), the stack may be full.
            let depth = (&raw const (*seen).depth).read_volatile() as usize % DEPTH;
            (&raw mut (*seen).sockets[depth]).write_volatile(socket(ctx));
            (&raw mut (*seen).depth).write_volatile(depth as u64 + 1);
        }
    }
    run();
}

/// Runs the twin, only for what the first program missed.
#[inline(always)]
pub fn inner(ctx: &BtfTracePointContext, run: impl FnOnce()) {
    let Some(seen) = SEEN.get_ptr_mut(0) else {
        return;
    };
    let socket = socket(ctx);
    // SAFETY: as above.
    unsafe {
        let depth = (&raw const (*seen).depth).read_volatile() as usize;
        for index in (0..DEPTH).rev() {
            if index < depth && (&raw const (*seen).sockets[index]).read_volatile() == socket {
                (&raw mut (*seen).depth).write_volatile(index as u64);
                return;
            }
        }
    }
    run();
}

#[inline(always)]
fn socket(ctx: &BtfTracePointContext) -> u64 {
    ctx.arg::<*const c_void>(0) as u64
}
