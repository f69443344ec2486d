//! Transitions inside transitions: a softirq may interrupt the main program and close another
//! socket on the same CPU. The kernel skips a tracing program that is already running there
//! (`__bpf_trace_run` of kernel/trace/bpf_trace.c checks `prog->active`). A second program, the
//! fallback, records the transitions that the main one missed.
//!
//! Both are called for each transition, one after the other, and what interrupts them on this CPU
//! has ended before they go on. The main program leaves a mark of each transition and the fallback
//! takes it away, so the marks form a stack; a transition without a mark is one that the main
//! program has missed. Only tasks and softirqs change TCP states, so at most two transitions are
//! under way on a CPU, and the fallback is never skipped where the main program is.
//!
//! A transition that interrupts the fallback after it has read the stack leaves its mark there: the
//! main program sees it, and the fallback is skipped. So a mark has more than the socket's address,
//! which the next socket may have.
//!
//! A second program costs each transition some 65 ns, and many hosts never need it. So it is
//! attached when the kernel has skipped a run of the main one; a transition may be under way then
//! on any CPU, so it joins in two stages ([`FallbackStage`]).

use core::ffi::c_void;

use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, PerCpuArray};
use aya_ebpf::programs::BtfTracePointContext;
use tcpclose_common::FallbackStage;

use crate::kernel::Sock;

/// The fallback's [`FallbackStage`].
#[map]
static FALLBACK_STAGE: Array<u32> = Array::with_max_entries(1, 0);

/// One transition of one socket; where sockets have cookies, no other has both of these.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(C)]
struct Mark {
    socket: u64,
    states: u64,
}

#[repr(C)]
struct MarkStack {
    depth: u64,
    marks: [Mark; 2],
}

/// A stack of marks on each CPU: the transitions for which the main program has run, and the
/// fallback not yet.
#[map]
static MAIN_MARKS: PerCpuArray<MarkStack> = PerCpuArray::with_max_entries(1, 0);

/// Runs the main program, and leaves a mark for the fallback.
#[inline(always)]
pub fn main_program(ctx: &BtfTracePointContext, run: impl FnOnce()) {
    if stage() != FallbackStage::Detached as u32
        && let Some(stack) = MAIN_MARKS.get_ptr_mut(0)
    {
        let mark = Mark::from_context(ctx);
        // SAFETY: this CPU's own slot. What interrupts leaves the marks below the depth that it
        // found.
        unsafe {
            let [lower, upper] = marks(stack);
            match (&raw const (*stack).depth).read_volatile() {
                0 => {
                    lower.write_volatile(mark);
                    (&raw mut (*stack).depth).write_volatile(1);
                }
                depth => {
                    // Of two marks, the lower one belongs to no transition under way.
                    if depth > 1 {
                        lower.write_volatile(upper.read_volatile());
                    }
                    upper.write_volatile(mark);
                    (&raw mut (*stack).depth).write_volatile(2);
                }
            }
        }
    }
    run();
}

/// Runs the fallback, only for what the main program missed.
#[inline(always)]
pub fn fallback(ctx: &BtfTracePointContext, run: impl FnOnce()) {
    let stage = stage();
    if stage == FallbackStage::Detached as u32 {
        return;
    }
    let Some(stack) = MAIN_MARKS.get_ptr_mut(0) else {
        return;
    };
    let mark = Mark::from_context(ctx);
    // SAFETY: as above.
    unsafe {
        let [lower, upper] = marks(stack);
        let depth = (&raw const (*stack).depth).read_volatile();
        if depth > 1 && upper.read_volatile() == mark {
            (&raw mut (*stack).depth).write_volatile(1);
            return;
        }
        if depth > 0 && lower.read_volatile() == mark {
            (&raw mut (*stack).depth).write_volatile(0);
            return;
        }
    }
    // The transitions that the main program saw before it left marks have none either.
    if stage == FallbackStage::Active as u32 {
        run();
    }
}

/// Returns the lower and the upper mark.
///
/// # Safety
/// `stack` must be valid.
#[inline(always)]
unsafe fn marks(stack: *mut MarkStack) -> [*mut Mark; 2] {
    // SAFETY: the caller's promise.
    unsafe { [&raw mut (*stack).marks[0], &raw mut (*stack).marks[1]] }
}

impl Mark {
    #[inline(always)]
    fn from_context(ctx: &BtfTracePointContext) -> Self {
        let (socket, _) = Sock(ctx.arg::<*const c_void>(0)).id();
        let states = (u64::from(ctx.arg::<u32>(1)) << 32) | u64::from(ctx.arg::<u32>(2));
        Self { socket, states }
    }
}

#[inline(always)]
fn stage() -> u32 {
    match FALLBACK_STAGE.get_ptr(0) {
        // SAFETY: a valid slot of the map; user space writes it, whole.
        Some(stage) => unsafe { stage.read_volatile() },
        None => FallbackStage::Detached as u32,
    }
}
