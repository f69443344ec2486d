//! A network namespace for a test, and one more where it needs it.

use std::io;
use std::path::PathBuf;
use std::thread;

use crate::sys;

/// What a test returns.
pub type Outcome = Result<(), Box<dyn std::error::Error>>;

/// Whether the calling test must not run here. Says so, or panics where tests are not to be skipped.
pub fn skipped() -> bool {
    let allowed = thread::spawn(|| sys::unshare_network().is_ok())
        .join()
        .unwrap_or(false);
    if !allowed {
        skip("needs root");
    }
    !allowed
}

/// Says that the calling test is skipped, or panics where tests are not to be skipped.
pub fn skip(why: &str) {
    let required = std::env::var_os("TCPCLOSE_TEST_REQUIRE").is_some_and(|value| value == "1");
    assert!(!required, "{why}");
    println!("skipped: {why}");
}

/// Runs a test in a new network namespace, which it is told where to find.
pub fn in_own_network(test: impl FnOnce(&str) -> Outcome + Send) -> Outcome {
    if skipped() {
        return Ok(());
    }
    elsewhere(|path| test(path).map_err(|error| io::Error::other(error.to_string())))?;
    Ok(())
}

/// Does `work` in a thread of its own, in a new network namespace.
pub fn elsewhere<T: Send>(work: impl FnOnce(&str) -> io::Result<T> + Send) -> io::Result<T> {
    thread::scope(|scope| {
        let worker = scope.spawn(|| {
            sys::unshare_network()?;
            sys::loopback_up()?;
            let task = std::fs::read_link("/proc/thread-self")?;
            let path = PathBuf::from("/proc").join(task).join("ns/net");
            work(path.to_str().ok_or(io::ErrorKind::InvalidData)?)
        });
        worker
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
