//! How often each eBPF program ran, and for how long.

use core::mem::size_of;

/// The programs whose runs are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
#[expect(missing_docs, reason = "the programs' names")]
pub enum Program {
    SetState,
    SetStateFallback,
    SetStateClassic,
    SendReset,
    ReceiveReset,
    RetransmitSkb,
    KfreeSkb,
    TwskSchedule,
    TwskDeschedulePut,
    TwskKill,
}

impl Program {
    /// The number of programs.
    pub const COUNT: u32 = Self::TwskKill as u32 + 1;
}

/// The runs of one program on one CPU.
#[derive(Clone, Copy)]
#[cfg_attr(
    feature = "user",
    derive(Debug, Default, bytemuck::AnyBitPattern, bytemuck::NoUninit)
)]
#[repr(C)]
pub struct RunStats {
    /// The number of runs.
    pub count: u64,
    /// The time of those runs that were timed, one in [`RunStats::SAMPLE_INTERVAL`], in ns: inside
    /// the program, without the kernel's way in and out.
    pub timed_ns: u64,
    /// When the run that is being timed started, in ns; 0 where none is.
    pub started: u64,
}

impl RunStats {
    /// One run in so many is timed.
    pub const SAMPLE_INTERVAL: u64 = 64;
}

const _: () = assert!(size_of::<RunStats>() == 24);
