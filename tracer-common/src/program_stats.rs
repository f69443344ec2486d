use core::mem::size_of;

/// The programs, as their runs are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
#[allow(missing_docs, reason = "the programs' names")]
pub enum Program {
    SetState,
    SetStateNested,
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
    /// How many there are.
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
    /// How many there were.
    pub count: u64,
    /// How long those took that were timed, one in [`RunStats::TIMED`], in ns: inside the program, without the kernel's way in
    /// and out.
    pub timed: u64,
    /// When the run began that is being timed, in ns; else 0.
    pub begun: u64,
}

impl RunStats {
    /// One run in so many is timed.
    pub const TIMED: u64 = 64;
}

const _: () = assert!(size_of::<RunStats>() == 24);
