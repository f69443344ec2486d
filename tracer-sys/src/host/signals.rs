//! Reads and sets what a signal does to this process, where neither tokio nor rustix can.

#![expect(unsafe_code, reason = "rustix does not offer signal handlers")]

use std::mem::MaybeUninit;
use std::ptr;

/// Returns whether the process ignores a signal, as under nohup(1).
#[must_use]
pub fn is_ignored(signal: libc::c_int) -> bool {
    let mut action = MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: nothing is changed, and there is room for the action.
    let failed = unsafe { libc::sigaction(signal, ptr::null(), action.as_mut_ptr()) } != 0;
    // SAFETY: the call has filled it where it did not fail.
    !failed && unsafe { action.assume_init() }.sa_sigaction == libc::SIG_IGN
}

/// Gives a signal its default action again.
pub fn restore_default(signal: libc::c_int) {
    // SAFETY: no handler of ours is installed, only the default one.
    unsafe { libc::signal(signal, libc::SIG_DFL) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_not_to_ignore() {
        restore_default(libc::SIGURG);
        assert!(!is_ignored(libc::SIGURG));
        // Rust's runtime ignores it at the start of each program.
        assert!(is_ignored(libc::SIGPIPE));
    }
}
