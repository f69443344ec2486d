//! Times of the kernel's that more than one rule needs.

use super::types::Nanos;

/// The longest tick of the kernel's clock (`CONFIG_HZ=100`): the largest error of what the kernel
/// counts in ticks, such as the remaining time of a timer.
pub(super) const MAX_TICK: Nanos = Nanos::from_millis(10);

/// How long a close waits for the RST that `tcp_send_reset` reports after →CLOSE. It follows in the
/// same system call.
pub(super) const RESET_SIGNAL_TIMEOUT: Nanos = Nanos::from_millis(20);
