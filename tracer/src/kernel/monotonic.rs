//! The clock of the eBPF programs.

use crate::lifecycle::types::Nanos;

/// `CLOCK_MONOTONIC`, which the eBPF programs stamp their records with.
#[must_use]
pub fn now() -> Nanos {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: a valid struct for the length of the call; this clock always exists.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    Nanos(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
}
