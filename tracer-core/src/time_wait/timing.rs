//! How long a TIME_WAIT lasts, and how often the kernel is polled for what is in it.

use crate::types::Nanos;

/// How long a TIME_WAIT lasts by its timer: `TCP_TIMEWAIT_LEN` of include/net/tcp.h, a constant.
/// The timer wheel fires it up to an eighth of that class of time-outs later: 2 s with HZ=250
/// (kernel/time/timer.c).
pub const TIME_WAIT: Nanos = Nanos::from_secs(60);

/// A new entry is polled after this time, to see that it exists at all.
pub(super) const FIRST_POLL_DELAY: Nanos = Nanos::from_millis(200);
/// The interval of polls from the nominal expiry of an entry on. Half of it is the error of the
/// end.
pub(super) const EXPIRY_POLL_INTERVAL: Nanos = Nanos::from_millis(250);
/// How long before the nominal expiry the last poll comes, which shows that the entry existed until
/// then.
pub(super) const POLL_BEFORE_EXPIRY: Nanos = Nanos::from_millis(50);
/// An entry that was gone when its timer was due has expired, if a poll found it at most this long
/// before.
pub(super) const MAX_UNSEEN_BEFORE_EXPIRY: Nanos = POLL_INTERVAL;
/// The interval of polls at other times, to bracket an early end.
pub(super) const POLL_INTERVAL: Nanos = Nanos::from_secs(5);
/// The most entries that are looked up one by one (1.6 µs each). With more, dumping the kernel's
/// whole table (16 ms) is cheaper.
pub(super) const MAX_SINGLE_LOOKUPS: usize = 4096;
/// How long after the expiry an entry is polled where hooks report how each one ends: by then the
/// timer must have fired and its record must have arrived.
pub(super) const HOOK_TIMEOUT: Nanos = Nanos::from_secs(5);
/// The timer wheel is late by an eighth at most (`LVL_CLK_SHIFT` of kernel/time/timer.c).
pub(super) const MAX_TIMER_DELAY: Nanos = Nanos(TIME_WAIT.0 / 8);
/// How long an early end waits for the handshake of the connection that replaced it.
pub(super) const REPLACEMENT_TIMEOUT: Nanos = Nanos::from_secs(3);
/// A timer that is due later than before by more than this was restarted. The kernel's clock ticks
/// every 1 to 10 ms.
pub(super) const RESTART_THRESHOLD: Nanos = Nanos::from_millis(100);
