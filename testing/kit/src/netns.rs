//! Network namespaces of our own, so that neither other tests nor the host's traffic can disturb.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt as _;
use std::panic::resume_unwind;
use std::process::Command;
use std::thread;

use crate::command;
use crate::namespace::{enter_netns, enter_new_netns};

/// A network namespace with its loopback interface up. It is gone when this, all processes in it
/// and all sockets made in it are.
pub struct NetNs {
    handle: File,
    inode: u64,
}

impl NetNs {
    /// Makes a namespace. The calling thread stays where it is.
    ///
    /// # Panics
    /// Where that is not allowed; see [`crate::skip::is_root`].
    #[must_use]
    pub fn new() -> Self {
        Self::try_new().expect("a network namespace of one's own")
    }

    /// As [`Self::new`] for programs that report their errors.
    ///
    /// # Errors
    /// It is not allowed.
    pub fn try_new() -> io::Result<Self> {
        let make = || {
            enter_new_netns()?;
            File::open("/proc/thread-self/ns/net")
        };
        let handle = thread::scope(|scope| join(scope.spawn(make)))?;
        let inode = handle.metadata()?.ino();
        Ok(Self { handle, inode })
    }

    /// Returns its number, as `tcpclose --netns` takes it.
    #[must_use]
    pub fn inode(&self) -> u64 {
        self.inode
    }

    /// Moves the calling thread inside, for good.
    ///
    /// # Errors
    /// It is not allowed.
    pub fn enter(&self) -> io::Result<()> {
        enter_netns(&self.handle)
    }

    /// Runs the closure inside. Sockets that it makes belong to the namespace wherever they are
    /// used later.
    ///
    /// # Panics
    /// Where the namespace cannot be entered, and with the closure.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let inside = || {
            self.enter().expect("entering the namespace");
            work()
        };
        thread::scope(|scope| join(scope.spawn(inside)))
    }

    /// Returns a command that will run inside. Spawn it while this is alive.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command::spawn_in_netns(&mut command, &self.handle);
        command
    }
}

impl Default for NetNs {
    fn default() -> Self {
        Self::new()
    }
}

impl AsFd for NetNs {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.handle.as_fd()
    }
}

fn join<T>(thread: thread::ScopedJoinHandle<T>) -> T {
    thread.join().unwrap_or_else(|panic| resume_unwind(panic))
}
