//! Waiting for something that other processes do.

use std::io;
use std::os::fd::AsFd;
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Long enough for a busy machine; only a failing test waits this long.
pub const WAIT_TIMEOUT: Duration = Duration::from_secs(60);

/// Calls `ask` until it returns a value. `None` when there is none after [`WAIT_TIMEOUT`].
pub fn eventually<T>(ask: impl FnMut() -> Option<T>) -> Option<T> {
    within(WAIT_TIMEOUT, ask)
}

/// Calls `ask` until it returns a value or the time is over.
pub fn within<T>(limit: Duration, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(answer) = ask() {
            return Some(answer);
        }
        if Instant::now() > deadline {
            return None;
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// Returns whether a descriptor can be read, at the latest after `timeout`.
///
/// # Errors
/// The kernel refuses to poll it.
pub fn is_readable(fd: &impl AsFd, timeout: Duration) -> io::Result<bool> {
    let mut fds = [PollFd::new(fd, PollFlags::IN)];
    let timeout = Timespec::try_from(timeout).map_err(io::Error::other)?;
    Ok(poll(&mut fds, Some(&timeout))? > 0)
}
