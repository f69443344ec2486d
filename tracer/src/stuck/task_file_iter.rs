//! The kernel's own walk over all open files, beside a look at its tables.

use std::fs;
use std::thread::{self, JoinHandle};

use tcpclose_common::SocketDescriptor;

use tcpclose_sys::host::descriptors::Holder;
use tcpclose_sys::host::{capabilities, pid_ns};
use tcpclose_sys::kernel::loader::LoadError;
use tcpclose_sys::kernel::task_file_iter;

/// With so many open files, reading them one by one in /proc costs more than loading a program that walks over them.
const WORTH_IT: u64 = 32_768;

/// A walk under way, in a thread of its own.
pub(super) struct Walk(JoinHandle<Result<Vec<SocketDescriptor>, LoadError>>);

impl Walk {
    /// Begins where it is worth it, and allowed: `None` otherwise.
    pub fn begin() -> Option<Self> {
        // The kernel's ids of processes are those of the initial pid namespace.
        if open_files()? < WORTH_IT || !pid_ns::is_initial() || !capabilities::may_trace() {
            return None;
        }
        let walk = thread::Builder::new().name("walk".into());
        walk.spawn(task_file_iter::sockets).map(Self).ok()
    }

    /// The descriptors with their inodes; `None` where the kernel refused: /proc tells too.
    pub fn finish(self) -> Option<Vec<(u32, Holder)>> {
        let Self(walk) = self;
        let walked = walk
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        let holder = |SocketDescriptor { pid, fd, inode }| (inode, Holder { pid, fd });
        let mut held: Vec<_> = walked.ok()?.into_iter().map(holder).collect();
        // Of a process without its first thread, each of the others told.
        held.sort_unstable();
        held.dedup();
        Some(held)
    }
}

/// Open files of the whole host: the first number of file-nr.
fn open_files() -> Option<u64> {
    let text = fs::read_to_string("/proc/sys/fs/file-nr").ok()?;
    text.split_ascii_whitespace().next()?.parse().ok()
}
