//! Finds the processes that hold a socket, with their descriptors, in /proc.
//!
//! Not by the crate `procfs`, for the reasons in proc_dir.rs.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io;
use std::num::NonZero;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::descriptor_links::{open_descriptors, socket_inode, visit_descriptors};
use super::descriptor_table::DescriptorTable;
use super::proc_dir::{ProcDir, is_process_gone, numbered_entries};
use super::process;
use super::thread_tables::visit_thread_tables;
use tcpclose_common::SocketDescriptor;
use tcpclose_core::process::Process;

/// The most threads that read /proc at once: processors are left for others.
const MAX_THREADS: usize = 4;

/// The result of a search for holders.
#[derive(Debug, Default)]
pub struct HolderSearch {
    /// The descriptors of the inodes.
    pub descriptors: DescriptorTable,
    /// The processes among the holders, by their ids.
    pub processes: BTreeMap<u32, Arc<Process>>,
    /// The threads that have some of the descriptors in tables of their own.
    pub threads: BTreeMap<SocketDescriptor, u32>,
    /// Processes whose descriptors could not be read, or not all of them, and why. Processes that
    /// exited meanwhile are not among them, nor are the kernel's own threads.
    pub unreadable: Vec<(u32, io::Error)>,
    /// /proc shows other users' processes not at all (`hidepid=`), or could not be listed.
    pub hidden: bool,
}

/// Finds the holders of these inodes of sockfs, in one pass over the processes.
///
/// Any process of any user and network namespace may hold any socket: only reading its links shows
/// that. Processes without a descriptor are passed over, and everything when nothing is wanted. The
/// tables that single threads have for themselves (`unshare(CLONE_FILES)`) are searched only for
/// inodes that are in no other.
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
            reader.read_thread_tables(&[pid]);
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

/// Returns what /proc shows of one process, with the number of its open descriptors.
///
/// # Errors
/// The process has exited, or its descriptors may not be read.
pub fn process_with_id(pid: u32) -> io::Result<Process> {
    let mut directory = ProcDir::open(pid)?;
    let open = open_descriptors(&mut directory)?;
    process::read(&directory, open)
}

impl HolderSearch {
    /// Returns the owner of an inode: of several processes that hold it the one of the highest
    /// rank, and among those the one that started first, so that of those which inherited it, it is
    /// the ancestor.
    #[must_use]
    pub fn owner(&self, inode: u32, rank: impl Fn(u32) -> u8) -> Option<&Process> {
        let owner = preferred_holder(&self.processes, self.descriptors.for_inode(inode), rank);
        owner.map(|process| &**process)
    }
}

/// Returns the process of the highest rank, by its id, and among those the one that started first,
/// of those that have these descriptors.
pub fn preferred_holder(
    processes: &BTreeMap<u32, Arc<Process>>,
    descriptors: impl Iterator<Item = SocketDescriptor>,
    rank: impl Fn(u32) -> u8,
) -> Option<&Arc<Process>> {
    descriptors
        .filter_map(|descriptor| processes.get(&descriptor.pid))
        .min_by_key(|process| (Reverse(rank(process.pid)), process.started, process.pid))
}

/// Reads the descriptors of processes.
struct DescriptorReader<'a> {
    inodes: &'a HashSet<u32>,
    descriptors: Vec<SocketDescriptor>,
    processes: BTreeMap<u32, Arc<Process>>,
    threads: BTreeMap<SocketDescriptor, u32>,
    unreadable: Vec<(u32, io::Error)>,
    hidden: bool,
}

impl<'a> DescriptorReader<'a> {
    fn new(inodes: &'a HashSet<u32>) -> Self {
        Self {
            inodes,
            descriptors: Vec::new(),
            processes: BTreeMap::new(),
            threads: BTreeMap::new(),
            unreadable: Vec::new(),
            hidden: false,
        }
    }

    fn finish(self) -> HolderSearch {
        HolderSearch {
            descriptors: self.descriptors.into_iter().collect(),
            processes: self.processes,
            threads: self.threads,
            unreadable: self.unreadable,
            hidden: self.hidden,
        }
    }

    /// Divides the processes among as many threads as help: reading links is all work for the
    /// kernel, and of different processes it goes on side by side.
    fn read_all(&mut self) {
        let Ok(pids) = numbered_entries(Path::new("/proc")) else {
            self.hidden = true;
            return;
        };
        let pids: Vec<u32> = pids.flatten().collect();
        // Every pid namespace that has processes has its init.
        self.hidden = !pids.contains(&1);

        let (inodes, next) = (self.inodes, AtomicUsize::new(0));
        let work = || {
            let mut part = DescriptorReader::new(inodes);
            while let Some(&pid) = pids.get(next.fetch_add(1, Ordering::Relaxed)) {
                match part.read_process(pid) {
                    Err(error) if !is_process_gone(&error) => part.unreadable.push((pid, error)),
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
            self.merge(work());
            for worker in workers {
                match worker.join() {
                    Ok(part) => self.merge(part),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
        });
        self.unreadable.sort_unstable_by_key(|(pid, _)| *pid);
        self.read_thread_tables(&pids);
    }

    /// Searches the tables of single threads for the inodes that no process was found to hold.
    fn read_thread_tables(&mut self, pids: &[u32]) {
        let found = self.descriptors.iter().map(|descriptor| descriptor.inode);
        let found: HashSet<u32> = found.collect();
        let missing: HashSet<u32> = self.inodes.difference(&found).copied().collect();
        if missing.is_empty() {
            return;
        }
        for &pid in pids {
            let before = self.descriptors.len();
            let (descriptors, threads) = (&mut self.descriptors, &mut self.threads);
            // Who may not compare them may not read them either, which is noted already.
            let _ = visit_thread_tables(pid, |thread, fd, link| {
                if let Some(inode) = socket_inode(link)
                    && missing.contains(&inode)
                {
                    let descriptor = SocketDescriptor { pid, fd, inode };
                    descriptors.push(descriptor);
                    threads.insert(descriptor, thread);
                }
            });
            if self.descriptors.len() > before && !self.processes.contains_key(&pid) {
                let facts = ProcDir::open(pid).and_then(|mut process| {
                    let open = open_descriptors(&mut process)?;
                    process::read(&process, open)
                });
                match facts {
                    Ok(facts) => drop(self.processes.insert(pid, Arc::new(facts))),
                    Err(_) => self.descriptors.truncate(before),
                }
            }
        }
    }

    fn merge(&mut self, part: Self) {
        let Self {
            inodes: _,
            descriptors,
            mut processes,
            threads: _,
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
            read = match process.descriptors_of_other_thread() {
                Ok(Some(directory)) => self.read_descriptors(pid, &directory),
                Ok(None) => Ok(0),
                Err(error) => Err(error),
            };
        }
        let open = match read {
            Ok(open) => open,
            Err(error) if is_process_gone(&error) => {
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
        visit_descriptors(directory, |fd, link| {
            if let Some(inode) = socket_inode(link)
                && self.inodes.contains(&inode)
            {
                self.descriptors.push(SocketDescriptor { pid, fd, inode });
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::os::fd::AsRawFd as _;
    use std::os::unix::fs::MetadataExt as _;

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
            let fds: Vec<u32> = search
                .descriptors
                .for_inode(inode)
                .map(|it| it.fd)
                .collect();
            for fd in [&socket, &copy].map(|socket| socket.as_raw_fd() as u32) {
                assert!(fds.contains(&fd), "{fds:?}");
            }
            let own = search.processes.get(&std::process::id());
            assert!(own.is_some_and(|process| process.open_fds >= 5), "{own:?}");
        }
        Ok(())
    }

    #[test]
    fn the_holder_of_the_highest_rank_that_started_first_is_the_owner() {
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
        let owner = |inode, rank: fn(u32) -> u8| Some(search.owner(inode, rank)?.pid);
        assert_eq!(owner(7, |_| 0), Some(5));
        assert_eq!(owner(7, |pid| u8::from(pid != 5)), Some(9));
        assert_eq!(owner(7, |pid| u8::from(pid == 2)), Some(2));
        assert_eq!(owner(8, |_| 0), None);
    }

    #[test]
    fn without_inodes_nothing_is_read() {
        let search = find_holders(&HashSet::new(), &[]);
        assert!(search.processes.is_empty() && search.unreadable.is_empty() && !search.hidden);
    }

    #[test]
    fn a_requested_process_that_does_not_exist_is_reported() {
        let search = find_holders(&HashSet::from([1]), &[u32::MAX]);
        assert!(matches!(&*search.unreadable, [(u32::MAX, error)] if is_process_gone(error)));
    }
}
