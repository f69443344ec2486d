//! Threads in network namespaces of their own.

use std::io;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;

use crate::namespace::enter_new_netns;
use crate::{TestResult, skip};

/// Runs a test in a new network namespace, whose path it is given.
///
/// # Errors
/// The error of the test.
pub fn in_own_network(test: impl FnOnce(&str) -> TestResult + Send) -> TestResult {
    if !skip::is_root() {
        return Ok(());
    }
    in_new_netns(|path| test(path).map_err(|error| io::Error::other(error.to_string())))?;
    Ok(())
}

/// Does `work` in a thread of its own, in a new network namespace, whose path it is given.
///
/// # Errors
/// The error of `work`, or namespaces may not be made.
pub fn in_new_netns<T: Send>(work: impl FnOnce(&str) -> io::Result<T> + Send) -> io::Result<T> {
    let inside = || {
        enter_new_netns()?;
        let path = own_path()?;
        work(path.to_str().ok_or(io::ErrorKind::InvalidData)?)
    };
    thread::scope(|scope| {
        scope
            .spawn(inside)
            .join()
            .unwrap_or_else(|panic| resume_unwind(panic))
    })
}

/// A thread that stays in a network namespace of its own.
pub struct NamespaceThread {
    /// The path of its namespace.
    pub path: PathBuf,
    leave: Option<mpsc::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl NamespaceThread {
    /// Starts the thread. `setup` runs inside; what it returns lives as long as the thread.
    ///
    /// # Errors
    /// Those of `setup`, or it is not allowed.
    pub fn start<T>(setup: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<Self> {
        let (leave, left) = mpsc::channel::<()>();
        let (ready, set_up) = mpsc::channel();
        let thread = thread::spawn(move || {
            let state = enter_new_netns().and_then(|()| setup());
            let (state, path) = match state {
                Ok(state) => (Some(state), own_path()),
                Err(error) => (None, Err(error)),
            };
            let _ = ready.send(path);
            let _ = left.recv();
            drop(state);
        });
        Ok(Self {
            path: set_up.recv().map_err(io::Error::other)??,
            leave: Some(leave),
            thread: Some(thread),
        })
    }
}

impl Drop for NamespaceThread {
    fn drop(&mut self) {
        drop(self.leave.take());
        let _ = self.thread.take().map(thread::JoinHandle::join);
    }
}

/// The path of the calling thread's network namespace, for other threads too.
fn own_path() -> io::Result<PathBuf> {
    let task = std::fs::read_link("/proc/thread-self")?;
    Ok(Path::new("/proc").join(task).join("ns/net"))
}
