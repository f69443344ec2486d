//! Transitions inside transitions: a softirq may interrupt the program, and closes another socket on the same CPU. The
//! kernel skips a tracing program that is running already (`prog->active`), so a twin takes what the first one missed.
//!
//! Both are called for each transition, one after the other, and whatever interrupts on this CPU is through before they
//! go on. So the transitions that the first has seen and the twin has not form a stack. What is not on it the first has
//! missed. Only tasks and softirqs change TCP states, so at most two transitions are under way on a CPU, and never is
//! the twin skipped where the first one is.
//!
//! What interrupts the twin behind its look at the stack stays there: the first sees it, and the twin is skipped. So a
//! transition is told by more than the socket's address, which the next socket may have.
//!
//! A second program costs each transition some 65 ns, and many hosts never need it. So it is attached when the kernel has
//! skipped a run of the first; a transition may be under way then on any CPU, so it joins in two steps ([`FallbackStage`]).

use core::ffi::c_void;

use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, PerCpuArray};
use aya_ebpf::programs::BtfTracePointContext;
use tcpclose_common::FallbackStage;

use crate::kernel::Sock;

/// What the twin does: a [`FallbackStage`].
#[map]
static TWIN: Array<u32> = Array::with_max_entries(1, 0);

/// One transition of one socket; there is no second with both of these where sockets have cookies.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(C)]
struct Mark {
    socket: u64,
    states: u64,
}

#[repr(C)]
struct Seen {
    depth: u64,
    marks: [Mark; 2],
}

/// What the first program has seen and its twin has not yet.
#[map]
static SEEN: PerCpuArray<Seen> = PerCpuArray::with_max_entries(1, 0);

/// Runs the first program and lets its twin know.
#[inline(always)]
pub fn outer(ctx: &BtfTracePointContext, run: impl FnOnce()) {
    if twin() != FallbackStage::Absent as u32
        && let Some(seen) = SEEN.get_ptr_mut(0)
    {
        let mark = Mark::of(ctx);
        // SAFETY: this CPU's own slot. Whoever interrupts leaves what is below the depth that it found.
        unsafe {
            let [lower, upper] = marks(seen);
            match (&raw const (*seen).depth).read_volatile() {
                0 => {
                    lower.write_volatile(mark);
                    (&raw mut (*seen).depth).write_volatile(1);
                }
                depth => {
                    // Of two, the lower one is of no transition under way.
                    if depth > 1 {
                        lower.write_volatile(upper.read_volatile());
                    }
                    upper.write_volatile(mark);
                    (&raw mut (*seen).depth).write_volatile(2);
                }
            }
        }
    }
    run();
}

/// Runs the twin, only for what the first program missed.
#[inline(always)]
pub fn inner(ctx: &BtfTracePointContext, run: impl FnOnce()) {
    let twin = twin();
    if twin == FallbackStage::Absent as u32 {
        return;
    }
    let Some(seen) = SEEN.get_ptr_mut(0) else {
        return;
    };
    let mark = Mark::of(ctx);
    // SAFETY: as above.
    unsafe {
        let [lower, upper] = marks(seen);
        let depth = (&raw const (*seen).depth).read_volatile();
        if depth > 1 && upper.read_volatile() == mark {
            (&raw mut (*seen).depth).write_volatile(1);
            return;
        }
        if depth > 0 && lower.read_volatile() == mark {
            (&raw mut (*seen).depth).write_volatile(0);
            return;
        }
    }
    // What the first saw before it told the twin is not on the stack either.
    if twin == FallbackStage::Works as u32 {
        run();
    }
}

/// The lower and the upper one.
///
/// # Safety
/// `seen` must be valid.
#[inline(always)]
unsafe fn marks(seen: *mut Seen) -> [*mut Mark; 2] {
    // SAFETY: the caller's promise.
    unsafe { [&raw mut (*seen).marks[0], &raw mut (*seen).marks[1]] }
}

impl Mark {
    #[inline(always)]
    fn of(ctx: &BtfTracePointContext) -> Self {
        let (socket, _) = Sock(ctx.arg::<*const c_void>(0)).id();
        let states = u64::from(ctx.arg::<u32>(1)) << 32 | u64::from(ctx.arg::<u32>(2));
        Self { socket, states }
    }
}

#[inline(always)]
fn twin() -> u32 {
    match TWIN.get_ptr(0) {
        // SAFETY: a valid slot of the map; user space writes it, whole.
        Some(twin) => unsafe { twin.read_volatile() },
        None => FallbackStage::Absent as u32,
    }
}
