//! How long a TIME_WAIT lasts, and how often the kernel is polled for what is in it.

use crate::types::Nanos;

/// How long a TIME_WAIT lasts by its timer: `TCP_TIMEWAIT_LEN` of include/net/tcp.h, a constant.
/// The timer wheel fires it up to an eighth of that class of time-outs later: 2 s with HZ=250
/// (kernel/time/timer.c).
pub const TIME_WAIT: Nanos = Nanos::from_secs(60);

/// A new entry is polled after this time, to see that it exists at all.
pub(super) const CONFIRM: Nanos = Nanos::from_millis(200);
/// From its nominal expiry on, an entry is polled this often: half of it is the error of the end.
pub(super) const EXPIRING: Nanos = Nanos::from_millis(250);
/// The last poll before that comes this long before: until then it is known to have lived.
pub(super) const BEFORE: Nanos = Nanos::from_millis(50);
/// One that was gone when its timer was due has expired, if a poll found it there this long before
/// that or later.
pub(super) const SEEN_LATELY: Nanos = QUIET;
/// Otherwise this often, to bracket an end that comes early.
pub(super) const QUIET: Nanos = Nanos::from_secs(5);
/// With up to so many entries, asking for each (1.6 µs) is cheaper than walking the kernel's whole
/// table (16 ms).
pub(super) const ASK_FOR_EACH: usize = 4096;
/// Where hooks report each end, there is no poll before the timer must have fired and its record
/// have come.
pub(super) const HOOKS_ARE_LATE: Nanos = Nanos::from_secs(5);
/// The timer wheel is late by an eighth at most (`LVL_CLK_SHIFT` of kernel/time/timer.c).
pub(super) const LATE: Nanos = Nanos(TIME_WAIT.0 / 8);
/// An end before its time waits so long for the handshake of the connection that took its place.
pub(super) const REPLACEMENT: Nanos = Nanos::from_secs(3);
/// A timer that is later than before by more than this was started anew; the kernel's clock ticks
/// in up to 10 ms.
pub(super) const RESTARTED: Nanos = Nanos::from_millis(100);
