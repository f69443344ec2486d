//! Finds out whether this process is in the initial pid namespace.

use std::fs;
use std::path::Path;

/// The link of the initial pid namespace: `PROC_PID_INIT_INO` of include/linux/proc_ns.h.
const INITIAL: &str = "pid:[4026531836]";

/// Returns whether /proc's ids are those that eBPF programs see: both are of the initial pid
/// namespace. False where that is not known.
#[must_use]
pub fn is_initial() -> bool {
    fs::read_link("/proc/self/ns/pid").is_ok_and(|link| link == Path::new(INITIAL))
}
