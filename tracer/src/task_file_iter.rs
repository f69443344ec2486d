//! The kernel's iterator over the open files of all processes, which runs beside a scan of its
//! sockets.

use std::fs;
use std::thread::{self, JoinHandle};

use tcpclose_common::SocketDescriptor;

use tcpclose_sys::host::{capabilities, namespace_link};
use tcpclose_sys::kernel::loader::LoadError;
use tcpclose_sys::kernel::task_file_iter;

/// With so many open files, reading them one by one in /proc costs more than loading a program that
/// iterates over them.
const MIN_OPEN_FILES: u64 = 32_768;

/// An iteration under way, in a thread of its own.
pub(crate) struct TaskFileIter(JoinHandle<Result<Vec<SocketDescriptor>, LoadError>>);

impl TaskFileIter {
    /// Starts it where it is worth it, and allowed: `None` otherwise.
    pub fn start() -> Option<Self> {
        // The kernel's ids of processes are those of the initial pid namespace.
        if open_files()? < MIN_OPEN_FILES
            || !namespace_link::in_initial_pid_namespace()
            || !capabilities::may_trace()
        {
            return None;
        }
        let thread = thread::Builder::new().name("task_file".into());
        thread
            .spawn(task_file_iter::list_socket_descriptors)
            .map(Self)
            .ok()
    }

    /// Returns the descriptors of sockets; `None` where the kernel refused: /proc shows them too.
    pub fn finish(self) -> Option<Vec<SocketDescriptor>> {
        let Self(thread) = self;
        let descriptors = thread
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        let mut descriptors = descriptors.ok()?;
        // A process without its first thread is listed by each of the others.
        descriptors.sort_unstable();
        descriptors.dedup();
        Some(descriptors)
    }
}

/// Returns the number of open files on the whole host: the first in file-nr.
fn open_files() -> Option<u64> {
    let text = fs::read_to_string("/proc/sys/fs/file-nr").ok()?;
    text.split_ascii_whitespace().next()?.parse().ok()
}
