//! Network namespaces of our own, so that neither other tests nor the host's traffic can disturb.

use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::panic::resume_unwind;
use std::process::Command;
use std::thread;

use super::sys;

/// A network namespace with its loopback interface up. It is gone when this and all sockets made in it are.
pub struct NetNs {
    handle: File,
    inode: u64,
}

impl NetNs {
    /// Makes a namespace. The calling thread stays where it is.
    pub fn new() -> Self {
        let handle = thread::spawn(|| {
            let handle = sys::unshare_netns().expect("a network namespace of one's own");
            sys::bring_up("lo").expect("loopback up");
            handle
        })
        .join()
        .unwrap_or_else(|panic| resume_unwind(panic));
        let inode = handle.metadata().expect("the namespace's inode").ino();
        Self { handle, inode }
    }

    /// What `tcpclose --netns` takes.
    pub fn inode(&self) -> u64 {
        self.inode
    }

    /// Runs the closure inside. Sockets it makes belong to the namespace wherever they are used later.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let inside = || {
            sys::enter_netns(&self.handle).expect("entering the namespace");
            work()
        };
        thread::scope(|scope| {
            scope
                .spawn(inside)
                .join()
                .unwrap_or_else(|panic| resume_unwind(panic))
        })
    }

    /// A command that will run inside. Spawn it while this is alive.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        sys::spawn_in_netns(&mut command, &self.handle);
        command
    }
}
