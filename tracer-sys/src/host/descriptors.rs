//! Finds the processes that hold a socket, with their descriptors, in /proc.
//!
//! Not by the crate `procfs`: proc_dir.rs says why.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ffi::CStr;
use std::io;
use std::num::NonZero;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use rustix::fs::{RawDir, readlinkat_raw};
use rustix::io::Errno;

use super::descriptor_table::DescriptorTable;
use super::proc_dir::{ProcDir, is_gone};
use super::process;
use tcpclose_common::SocketDescriptor;
use tcpclose_core::process::Process;

/// Bytes of directory entries that are read at once: some 1,000 descriptors.
const ENTRIES_LEN: usize = 32 * 1024;

/// The most threads that read /proc at once: processors are left for others.
const MAX_THREADS: usize = 4;

/// The result of a search for holders.
#[derive(Debug, Default)]
pub struct HolderSearch {
    /// The descriptors of the inodes.
    pub descriptors: DescriptorTable,
    /// The processes among the holders, by their ids.
    pub processes: BTreeMap<u32, Arc<Process>>,
    /// Processes whose descriptors could not be read, or not all of them, and why. Processes that
    /// exited meanwhile are not among them, nor are the kernel's own threads.
    pub unreadable: Vec<(u32, io::Error)>,
    /// /proc shows other users' processes not at all (`hidepid=`), or could not be listed.
    pub hidden: bool,
}

/// Finds the holders of these inodes of sockfs, in one pass over the processes.
///
/// Any process of any user and network namespace may hold any socket: only reading its links shows
/// that. Processes without a descriptor are passed over, and everything when nothing is wanted. A
/// descriptor table that a single thread has for itself (`unshare(CLONE_FILES)`) is not read.
///
/// With `pids`, only those processes are read; those that do not exist are in
/// [`HolderSearch::unreadable`].
#[must_use]
pub fn find_holders(inodes: &HashSet<u32>, pids: &[u32]) -> HolderSearch {
    let mut reader = DescriptorReader::new(inodes);
    if !pids.is_empty() {
        for pid in BTreeSet::from_iter(pids.iter().copied()) {
            if let Err(error) = reader.read_process(pid) {
                reader.unreadable.push((pid, error));
            }
        }
    } else if !inodes.is_empty() {
        reader.read_all();
    }
    reader.finish()
}

/// As [`find_holders`] of all processes, among the descriptors that the kernel's iterator listed. A
/// socket that the iterator missed, as its descriptor was made after it had passed, is searched for
/// in /proc.
#[must_use]
pub fn find_holders_among(listed: Vec<SocketDescriptor>, inodes: &HashSet<u32>) -> HolderSearch {
    let mut by_process: BTreeMap<u32, Vec<SocketDescriptor>> = BTreeMap::new();
    for descriptor in listed {
        if inodes.contains(&descriptor.inode) {
            by_process
                .entry(descriptor.pid)
                .or_default()
                .push(descriptor);
        }
    }
    let (mut missed, mut processes, mut descriptors) =
        (inodes.clone(), BTreeMap::new(), Vec::new());
    for (pid, held) in by_process {
        // One that cannot be read has exited, and its descriptors are closed.
        if let Ok(mut process) = ProcDir::open(pid)
            && let Ok(open) = open_descriptors(&mut process)
            && let Ok(facts) = process::read(&process, open)
        {
            processes.insert(pid, Arc::new(facts));
            for descriptor in held {
                missed.remove(&descriptor.inode);
                descriptors.push(descriptor);
            }
        }
    }
    let mut reader = DescriptorReader::new(&missed);
    reader.descriptors = descriptors;
    reader.processes = processes;
    if !missed.is_empty() {
        reader.read_all();
    }
    reader.finish()
}

/// Returns the number of descriptors that a process has open, of any kind.
fn open_descriptors(process: &mut ProcDir) -> io::Result<u64> {
    match count(&process.descriptors()?)? {
        0 => process
            .other_descriptors()?
            .map_or(Ok(0), |descriptors| count(&descriptors)),
        open => Ok(open),
    }
}

fn count(directory: &OwnedFd) -> io::Result<u64> {
    let mut buffer = Vec::with_capacity(ENTRIES_LEN);
    let mut entries = RawDir::new(directory, buffer.spare_capacity_mut());
    let mut open = 0;
    while let Some(entry) = entries.next() {
        open += u64::from(number(entry?.file_name()).is_some());
    }
    Ok(open)
}

impl HolderSearch {
    /// Returns the owner of an inode: of several processes that hold it the one that started first,
    /// so that of those which inherited it, it is the ancestor.
    #[must_use]
    pub fn owner(&self, inode: u32) -> Option<&Process> {
        let descriptors = self.descriptors.of(inode);
        descriptors
            .filter_map(|descriptor| self.processes.get(&descriptor.pid))
            .map(|process| &**process)
            .min_by_key(|process| (process.started, process.pid))
    }
}

/// Reads the descriptors of processes.
struct DescriptorReader<'a> {
    inodes: &'a HashSet<u32>,
    descriptors: Vec<SocketDescriptor>,
    processes: BTreeMap<u32, Arc<Process>>,
    unreadable: Vec<(u32, io::Error)>,
    hidden: bool,
}

impl<'a> DescriptorReader<'a> {
    fn new(inodes: &'a HashSet<u32>) -> Self {
        Self {
            inodes,
            descriptors: Vec::new(),
            processes: BTreeMap::new(),
            unreadable: Vec::new(),
            hidden: false,
        }
    }

    fn finish(self) -> HolderSearch {
        HolderSearch {
            descriptors: self.descriptors.into_iter().collect(),
            processes: self.processes,
            unreadable: self.unreadable,
            hidden: self.hidden,
        }
    }

    /// Divides the processes among as many threads as help: reading links is all work for the
    /// kernel, and of different processes it goes on side by side.
    fn read_all(&mut self) {
        let Ok(entries) = std::fs::read_dir("/proc") else {
            self.hidden = true;
            return;
        };
        let names = entries.flatten().map(|entry| entry.file_name());
        let pids: Vec<u32> = names
            .filter_map(|name| name.to_str()?.parse().ok())
            .collect();
        // Every pid namespace that has processes has its init.
        self.hidden = !pids.contains(&1);

        let (inodes, next) = (self.inodes, AtomicUsize::new(0));
        let work = || {
            let mut part = DescriptorReader::new(inodes);
            while let Some(&pid) = pids.get(next.fetch_add(1, Ordering::Relaxed)) {
                match part.read_process(pid) {
                    Err(error) if !is_gone(&error) => part.unreadable.push((pid, error)),
                    Ok(()) | Err(_) => {}
                }
            }
            part
        };
        let others = thread::available_parallelism()
            .map_or(1, NonZero::get)
            .min(MAX_THREADS)
            - 1;
        thread::scope(|scope| {
            let start = || {
                thread::Builder::new()
                    .name("holders".into())
                    .spawn_scoped(scope, work)
            };
            // Where no thread can be had, this one does it all.
            let workers: Vec<_> = (0..others).map_while(|_| start().ok()).collect();
            self.add(work());
            for worker in workers {
                match worker.join() {
                    Ok(part) => self.add(part),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
        });
        self.unreadable.sort_unstable_by_key(|(pid, _)| *pid);
    }

    fn add(&mut self, part: Self) {
        let Self {
            inodes: _,
            descriptors,
            mut processes,
            unreadable,
            hidden: _,
        } = part;
        self.descriptors.extend(descriptors);
        self.processes.append(&mut processes);
        self.unreadable.extend(unreadable);
    }

    fn read_process(&mut self, pid: u32) -> io::Result<()> {
        let mut process = ProcDir::open(pid)?;
        let before = self.descriptors.len();
        let mut read = process
            .descriptors()
            .and_then(|directory| self.read_descriptors(pid, &directory));
        if matches!(read, Ok(0)) {
            // None is open where the first thread has exited and others go on.
            read = match process.other_descriptors() {
                Ok(Some(directory)) => self.read_descriptors(pid, &directory),
                Ok(None) => Ok(0),
                Err(error) => Err(error),
            };
        }
        let open = match read {
            Ok(open) => open,
            Err(error) if is_gone(&error) => {
                self.descriptors.truncate(before);
                return Err(error);
            }
            Err(_) if process.is_kernel_thread() => return Ok(()),
            Err(error) => return Err(error),
        };
        if self.descriptors.len() == before {
            return Ok(());
        }
        match process::read(&process, open) {
            Ok(facts) => {
                self.processes.insert(pid, Arc::new(facts));
                Ok(())
            }
            // It has exited, and its descriptors are closed.
            Err(error) => {
                self.descriptors.truncate(before);
                Err(error)
            }
        }
    }

    /// Notes the descriptors that are wanted, and returns how many there are of any kind.
    fn read_descriptors(&mut self, pid: u32, directory: &OwnedFd) -> io::Result<u64> {
        let mut buffer = Vec::with_capacity(ENTRIES_LEN);
        let mut entries = RawDir::new(directory, buffer.spare_capacity_mut());
        let mut link = [0; 64];
        let mut open = 0;
        while let Some(entry) = entries.next() {
            let entry = entry?;
            let Some(fd) = number(entry.file_name()) else {
                continue;
            };
            open += 1;
            match readlinkat_raw(directory, entry.file_name(), &mut link[..]) {
                Ok(length) => {
                    if let Some(inode) = socket_inode(&link[..length])
                        && self.inodes.contains(&inode)
                    {
                        self.descriptors.push(SocketDescriptor { pid, fd, inode });
                    }
                }
                // The descriptor was closed meanwhile.
                Err(Errno::NOENT) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(open)
    }
}

fn number(name: &CStr) -> Option<u32> {
    name.to_str().ok()?.parse().ok()
}

/// Returns the inode in `socket:[12345]`.
pub(crate) fn socket_inode(link: &[u8]) -> Option<u32> {
    let number = link.strip_prefix(b"socket:[")?.strip_suffix(b"]")?;
    std::str::from_utf8(number).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::MetadataExt;

    use super::*;
    use tcpclose_core::types::StartTime;

    /// Returns a socket of this process, and its inode.
    fn socket() -> io::Result<(TcpListener, u32)> {
        let socket = TcpListener::bind("127.0.0.1:0")?;
        let file = std::fs::metadata(format!("/proc/self/fd/{}", socket.as_raw_fd()))?;
        Ok((socket, u32::try_from(file.ino()).map_err(io::Error::other)?))
    }

    #[test]
    fn descriptors_of_one_process_are_found_all_of_them() -> io::Result<()> {
        let (socket, inode) = socket()?;
        let copy = socket.try_clone()?;
        for pids in [&[][..], &[std::process::id()]] {
            let search = find_holders(&HashSet::from([inode]), pids);
            let fds: Vec<u32> = search.descriptors.of(inode).map(|it| it.fd).collect();
            for fd in [&socket, &copy].map(|socket| socket.as_raw_fd() as u32) {
                assert!(fds.contains(&fd), "{fds:?}");
            }
            let own = search.processes.get(&std::process::id());
            assert!(own.is_some_and(|process| process.open >= 5), "{own:?}");
        }
        Ok(())
    }

    #[test]
    fn the_holder_that_started_first_is_the_owner() {
        let process = |pid, started| {
            let process = Process {
                pid,
                started: StartTime::new(started),
                ..Process::default()
            };
            (pid, process.into())
        };
        let descriptor = |pid| SocketDescriptor {
            pid,
            fd: 3,
            inode: 7,
        };
        let search = HolderSearch {
            descriptors: [2, 5, 9].map(descriptor).into_iter().collect(),
            processes: [process(2, 30), process(5, 10), process(9, 20)].into(),
            ..HolderSearch::default()
        };
        assert_eq!(search.owner(7).map(|process| process.pid), Some(5));
        assert_eq!(search.owner(8), None);
    }

    #[test]
    fn nothing_wanted_is_nothing_read() {
        let search = find_holders(&HashSet::new(), &[]);
        assert!(search.processes.is_empty() && search.unreadable.is_empty() && !search.hidden);
    }

    #[test]
    fn a_process_that_was_asked_for_and_is_not_there_is_said_to_be_missing() {
        let search = find_holders(&HashSet::from([1]), &[u32::MAX]);
        assert!(matches!(&*search.unreadable, [(u32::MAX, error)] if is_gone(error)));
    }

    #[test]
    fn only_sockets_are_sockets() {
        assert_eq!(socket_inode(b"socket:[4294967295]"), Some(u32::MAX));
        for other in [
            &b"socket:[]"[..],
            b"socket:[1",
            b"pipe:[1]",
            b"/tmp/socket:[1]",
            b"socket:[x]",
            b"",
        ] {
            assert_eq!(socket_inode(other), None);
        }
    }
}
