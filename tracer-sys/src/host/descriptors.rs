//! Who holds a socket: inode → process and descriptor, from /proc.

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

use super::proc_dir::{ProcDir, is_gone};
use super::process;
use tcpclose_core::process::Process;

/// Bytes of directory entries asked for at once: some 1,000 descriptors.
const ENTRIES_LEN: usize = 32 * 1024;

/// Threads that read /proc at once, at most: others want to work too.
const MAX_THREADS: usize = 4;

/// A descriptor of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Holder {
    /// Process id, in the reader's pid namespace.
    pub pid: u32,
    /// Number of the descriptor in that process.
    pub fd: u32,
}

/// Who holds which inode.
#[derive(Clone, Debug, Default)]
pub struct Holders(Vec<(u32, Holder)>);

impl Holders {
    /// All descriptors of this inode: of several processes after fork() or when it was sent to another, several of one
    /// process after dup(). In the order of pid and number.
    pub fn of(&self, inode: u32) -> impl Iterator<Item = Holder> + '_ {
        let start = self.0.partition_point(|(other, _)| *other < inode);
        let held = self.0[start..]
            .iter()
            .take_while(move |(other, _)| *other == inode);
        held.map(|(_, holder)| *holder)
    }

    /// The inodes that are held.
    pub fn inodes(&self) -> impl Iterator<Item = u32> + '_ {
        self.0.iter().map(|(inode, _)| *inode)
    }
}

impl FromIterator<(u32, Holder)> for Holders {
    /// From inodes, each with one of its holders.
    fn from_iter<T: IntoIterator<Item = (u32, Holder)>>(held: T) -> Self {
        let mut held = Vec::from_iter(held);
        held.sort_unstable();
        Self(held)
    }
}

/// What a search of /proc found.
#[derive(Debug, Default)]
pub struct Search {
    /// Who holds which of the inodes.
    pub holders: Holders,
    /// The processes among the holders, by their ids.
    pub processes: BTreeMap<u32, Arc<Process>>,
    /// Processes whose descriptors could not be (completely) read, and why. Those that exited meanwhile are not among
    /// them, nor are the kernel's own threads.
    pub unreadable: Vec<(u32, io::Error)>,
    /// /proc shows other users' processes not at all (`hidepid=`), or could not be listed.
    pub hidden: bool,
}

/// Looks for the holders of these inodes of sockfs, in one pass over the processes.
///
/// Any process may hold any socket, whatever its user and its network namespace are: only reading the links tells. What
/// is passed over are processes with no descriptor at all, and everything when nothing is wanted. A descriptor table
/// that a single thread has for itself (`unshare(CLONE_FILES)`) is not looked at.
///
/// With `pids`, only those processes are looked at; of ones that do not exist, [`Search::unreadable`] says so.
#[must_use]
pub fn find_holders(inodes: &HashSet<u32>, pids: &[u32]) -> Search {
    let mut search = Search::default();
    if !pids.is_empty() {
        for pid in BTreeSet::from_iter(pids.iter().copied()) {
            if let Err(error) = search.read_process(pid, inodes) {
                search.unreadable.push((pid, error));
            }
        }
    } else if !inodes.is_empty() {
        search.read_all(inodes);
    }
    search.holders.0.sort_unstable();
    search
}

/// As [`find_holders`] of all processes, with what the kernel's own walk over their descriptors found: each with its
/// inode. What that missed, because it was not wanted yet when the walk came by, is looked for in /proc.
#[must_use]
pub fn holders_among(walked: Vec<(u32, Holder)>, inodes: &HashSet<u32>) -> Search {
    let mut search = Search::default();
    let mut by_process: BTreeMap<u32, Vec<(u32, Holder)>> = BTreeMap::new();
    for (inode, holder) in walked {
        if inodes.contains(&inode) {
            by_process
                .entry(holder.pid)
                .or_default()
                .push((inode, holder));
        }
    }
    for (pid, held) in by_process {
        // One that cannot be read is gone, and let go of what it held.
        if let Ok(mut process) = ProcDir::open(pid)
            && let Ok(open) = open_descriptors(&mut process)
            && let Ok(facts) = process::read(&process, open)
        {
            search.processes.insert(pid, Arc::new(facts));
            search.holders.0.extend(held);
        }
    }
    search.holders.0.sort_unstable();
    let held = |inode: &u32| search.holders.of(*inode).next().is_some();
    let missed: HashSet<u32> = inodes
        .iter()
        .copied()
        .filter(|inode| !held(inode))
        .collect();
    if !missed.is_empty() {
        let mut rest = find_holders(&missed, &[]);
        search.unreadable = std::mem::take(&mut rest.unreadable);
        search.hidden = rest.hidden;
        search.add(rest);
        search.holders.0.sort_unstable();
    }
    search
}

/// How many a process has open, of any kind.
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

impl Search {
    /// Whose an inode is: of several processes that hold it the one that started first, so that of those which inherited
    /// it, it is the ancestor.
    #[must_use]
    pub fn owner(&self, inode: u32) -> Option<&Process> {
        let holders = self.holders.of(inode);
        holders
            .filter_map(|holder| self.processes.get(&holder.pid))
            .map(|process| &**process)
            .min_by_key(|process| (process.started, process.pid))
    }

    /// Divides the processes among as many threads as help: reading links is all work for the kernel, and of different
    /// processes it goes on side by side.
    fn read_all(&mut self, inodes: &HashSet<u32>) {
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

        let next = AtomicUsize::new(0);
        let work = || {
            let mut part = Self::default();
            while let Some(&pid) = pids.get(next.fetch_add(1, Ordering::Relaxed)) {
                match part.read_process(pid, inodes) {
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
            holders,
            mut processes,
            unreadable,
            hidden: _,
        } = part;
        self.holders.0.extend(holders.0);
        self.processes.append(&mut processes);
        self.unreadable.extend(unreadable);
    }

    fn read_process(&mut self, pid: u32, inodes: &HashSet<u32>) -> io::Result<()> {
        let mut process = ProcDir::open(pid)?;
        let before = self.holders.0.len();
        let mut read = process
            .descriptors()
            .and_then(|directory| self.read_descriptors(pid, &directory, inodes));
        if matches!(read, Ok(0)) {
            // So it looks where the first thread has exited and others go on.
            read = match process.other_descriptors() {
                Ok(Some(directory)) => self.read_descriptors(pid, &directory, inodes),
                Ok(None) => Ok(0),
                Err(error) => Err(error),
            };
        }
        let open = match read {
            Ok(open) => open,
            Err(error) if is_gone(&error) => {
                self.holders.0.truncate(before);
                return Err(error);
            }
            Err(_) if process.is_kernel_thread() => return Ok(()),
            Err(error) => return Err(error),
        };
        if self.holders.0.len() == before {
            return Ok(());
        }
        match process::read(&process, open) {
            Ok(facts) => {
                self.processes.insert(pid, Arc::new(facts));
                Ok(())
            }
            // It took its descriptors with it.
            Err(error) => {
                self.holders.0.truncate(before);
                Err(error)
            }
        }
    }

    /// Notes the descriptors that are wanted, and returns how many there are of any kind.
    fn read_descriptors(
        &mut self,
        pid: u32,
        directory: &OwnedFd,
        inodes: &HashSet<u32>,
    ) -> io::Result<u64> {
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
                        && inodes.contains(&inode)
                    {
                        self.holders.0.push((inode, Holder { pid, fd }));
                    }
                }
                // Closed meanwhile.
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

/// The inode in `socket:[12345]`.
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

    /// A socket of this process, and its inode.
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
            let fds: Vec<u32> = search.holders.of(inode).map(|holder| holder.fd).collect();
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
        let holder = |pid| (7, Holder { pid, fd: 3 });
        let search = Search {
            holders: [holder(2), holder(5), holder(9)].into_iter().collect(),
            processes: [process(2, 30), process(5, 10), process(9, 20)].into(),
            ..Search::default()
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

    #[test]
    fn holders_are_told_apart_by_inode() {
        let holder = |pid, fd| Holder { pid, fd };
        let holders = Holders(vec![
            (5, holder(1, 3)),
            (7, holder(1, 4)),
            (7, holder(2, 4)),
            (9, holder(1, 5)),
        ]);
        assert_eq!(
            holders.of(7).collect::<Vec<_>>(),
            [holder(1, 4), holder(2, 4)]
        );
        assert_eq!(holders.of(6).count(), 0);
        assert_eq!(holders.of(10).count(), 0);
    }
}
