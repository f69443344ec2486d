//! Waiting for what comes in its own time.

use std::thread;
use std::time::{Duration, Instant};

/// Long enough for a busy machine; only a failing test waits this long.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Asks until there is an answer. `None` when there is none after [`PATIENCE`].
pub fn eventually<T>(ask: impl FnMut() -> Option<T>) -> Option<T> {
    within(PATIENCE, ask)
}

/// Asks until there is an answer or the time is over.
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
