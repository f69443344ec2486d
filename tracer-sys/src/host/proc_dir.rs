//! Reads one process's directory in /proc. Everything is read relative to it, so that all of it is
//! of the same process: when that has exited, nothing can be read any more, even if another has its
//! number by then.
//!
//! Not by the crate `procfs`: it parses the whole of each file, and takes 76 µs a process for
//! `stat`, `limits` and `status` where 55 are enough (6.18, 98 processes); and it has no way to go
//! on with another thread where the first has exited.

use std::ffi::{CStr, OsString};
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, RawDir, openat, readlinkat_raw};
use rustix::io::Errno;
use rustix::path::Arg;

/// The longest link that is read: the longest path.
const MAX_LINK_LEN: usize = libc::PATH_MAX as usize;

/// Bytes of directory entries that are read at once: some 1,000 threads.
const ENTRIES_LEN: usize = 32 * 1024;

/// A directory that is opened to be listed.
const DIRECTORY_FLAGS: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY);

/// An open `/proc/PID`.
#[derive(Debug)]
pub(super) struct ProcDir {
    pub(super) pid: u32,
    fd: OwnedFd,
    /// `/proc/PID/task/TID` of another thread, where the first has exited: that one has no
    /// descriptors and no memory any more.
    other_thread: Option<OwnedFd>,
}

impl ProcDir {
    pub(super) fn open(pid: u32) -> io::Result<Self> {
        Ok(Self {
            pid,
            fd: open(
                CWD,
                format!("/proc/{pid}"),
                OFlags::PATH | OFlags::DIRECTORY,
            )?,
            other_thread: None,
        })
    }

    /// Switches to another thread than the first for all that only a living thread has, and returns
    /// the directory of its open descriptors; `None` where no other thread has any.
    pub(super) fn descriptors_of_other_thread(&mut self) -> io::Result<Option<OwnedFd>> {
        let threads = open(&self.fd, c"task", DIRECTORY_FLAGS)?;
        let first = self.pid.to_string();
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut names = RawDir::new(&threads, &mut buffer);
        let mut failure = None;
        while let Some(entry) = names.next() {
            let entry = entry?;
            let name = entry.file_name();
            if name.to_bytes()[0] == b'.' || name.to_bytes() == first.as_bytes() {
                continue;
            }
            let thread = open(&threads, name, OFlags::PATH | OFlags::DIRECTORY);
            match thread.and_then(|thread| Ok(has_descriptors(&thread)?.then_some(thread))) {
                Ok(Some(thread)) => {
                    let descriptors = open(&thread, c"fd", DIRECTORY_FLAGS)?;
                    self.other_thread = Some(thread);
                    return Ok(Some(descriptors));
                }
                Err(error) if !is_process_gone(&error) => failure = Some(error),
                Ok(None) | Err(_) => {}
            }
        }
        failure.map_or(Ok(None), Err)
    }

    fn live_task_dir(&self) -> BorrowedFd<'_> {
        self.other_thread.as_ref().unwrap_or(&self.fd).as_fd()
    }

    /// Reads the first `limit` bytes of a file.
    pub(super) fn read(&self, name: &CStr, limit: u64) -> io::Result<Vec<u8>> {
        read_at(&self.fd, name, limit)
    }

    /// Reads the first `limit` bytes of a file that only a living thread has, as it goes with the
    /// memory.
    pub(super) fn read_from_live_task(&self, name: &CStr, limit: u64) -> io::Result<Vec<u8>> {
        read_at(self.live_task_dir(), name, limit)
    }

    pub(super) fn read_link(&self, name: &CStr) -> io::Result<PathBuf> {
        let mut buffer = vec![0; MAX_LINK_LEN];
        let length = readlinkat_raw(self.live_task_dir(), name, buffer.as_mut_slice())?;
        buffer.truncate(length);
        Ok(OsString::from_vec(buffer).into())
    }

    /// Opens the directory of the first thread's open descriptors.
    pub(super) fn descriptors(&self) -> io::Result<OwnedFd> {
        open(&self.fd, c"fd", DIRECTORY_FLAGS)
    }

    /// Reads the first `limit` bytes of what the kernel shows of a descriptor.
    pub(super) fn read_fdinfo(&self, fd: u32, limit: u64) -> io::Result<Vec<u8>> {
        read_at(self.live_task_dir(), format!("fdinfo/{fd}"), limit)
    }

    /// Lists the threads, at most `limit` of them.
    pub(super) fn threads(&self, limit: usize) -> io::Result<Vec<u32>> {
        let threads = open(&self.fd, c"task", DIRECTORY_FLAGS)?;
        let mut buffer = Vec::with_capacity(ENTRIES_LEN);
        let mut names = RawDir::new(&threads, buffer.spare_capacity_mut());
        let mut found = Vec::new();
        while let Some(entry) = names.next() {
            let entry = entry?;
            let name = std::str::from_utf8(entry.file_name().to_bytes()).unwrap_or_default();
            found.extend(name.parse::<u32>());
            if found.len() >= limit {
                break;
            }
        }
        Ok(found)
    }

    /// Reads the first `limit` bytes of a thread's file.
    pub(super) fn read_of_thread(&self, tid: u32, name: &CStr, limit: u64) -> io::Result<Vec<u8>> {
        let thread = open(
            &self.fd,
            format!("task/{tid}"),
            OFlags::PATH | OFlags::DIRECTORY,
        )?;
        read_at(&thread, name, limit)
    }

    /// Returns whether it is a thread of the kernel: those have no descriptors and no namespaces of
    /// their own.
    pub(super) fn is_kernel_thread(&self) -> bool {
        const PF_KTHREAD: u64 = 0x0020_0000;
        let stat = self.read(c"stat", 4096).unwrap_or_default();
        stat_field(&stat, 9).is_some_and(|flags| flags & PF_KTHREAD != 0)
    }
}

/// Returns a number in `/proc/PID/stat`, counted from 1 as proc_pid_stat(5) does, from the fourth
/// on. The second is the process's name and may hold anything, spaces and `)` too.
pub fn stat_field(stat: &[u8], number: usize) -> Option<u64> {
    let end_of_name = stat.iter().rposition(|&byte| byte == b')')?;
    let rest = std::str::from_utf8(&stat[end_of_name + 1..]).ok()?;
    let field = rest.split_ascii_whitespace().nth(number.checked_sub(3)?)?;
    field.parse().ok()
}

/// Returns whether an error of a file below `/proc/PID` only means that the process has exited: its
/// directory is gone (`ENOENT`), or was opened before and shows nothing any more (`ESRCH`).
pub(crate) fn is_process_gone(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::NOENT | Errno::SRCH)
    )
}

/// Lists the entries of a directory in /proc whose names are numbers: the processes, or the threads
/// of one.
pub(crate) fn numbered_entries(
    directory: &Path,
) -> io::Result<impl Iterator<Item = io::Result<u32>>> {
    let entries = fs::read_dir(directory)?;
    Ok(entries.filter_map(|entry| match entry {
        Ok(entry) => entry.file_name().to_str()?.parse().ok().map(Ok),
        Err(error) => Some(Err(error)),
    }))
}

/// Returns whether a thread's directory shows any open descriptor.
fn has_descriptors(thread: &OwnedFd) -> io::Result<bool> {
    let mut buffer = [MaybeUninit::uninit(); 256];
    let mut entries = RawDir::new(open(thread, c"fd", DIRECTORY_FLAGS)?, &mut buffer);
    while let Some(entry) = entries.next() {
        if entry?.file_name().to_bytes()[0] != b'.' {
            return Ok(true);
        }
    }
    Ok(false)
}

fn read_at(directory: impl AsFd, name: impl Arg, limit: u64) -> io::Result<Vec<u8>> {
    let file = File::from(open(directory, name, OFlags::RDONLY)?);
    let mut bytes = Vec::new();
    file.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn open(directory: impl AsFd, path: impl Arg, flags: OFlags) -> io::Result<OwnedFd> {
    Ok(openat(
        directory,
        path,
        flags | OFlags::CLOEXEC,
        Mode::empty(),
    )?)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd as _;

    use super::*;

    fn own() -> io::Result<ProcDir> {
        ProcDir::open(std::process::id())
    }

    #[test]
    fn names_cannot_shift_the_fields_of_stat() {
        let stat = b"42 (a) b 1 2) S 1 42 42 0 -1 2129984 0 0";
        assert_eq!(stat_field(stat, 4), Some(1));
        assert_eq!(stat_field(stat, 9), Some(2_129_984));
        assert_eq!(stat_field(stat, 60), None);
        assert_eq!(stat_field(b"", 4), None);
        assert_eq!(stat_field(stat, 0), None);
    }

    #[test]
    fn own_descriptors_are_listed() -> io::Result<()> {
        let file = File::open("/dev/null")?;
        let directory = own()?.descriptors()?;
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut entries = RawDir::new(directory, &mut buffer);
        let number = file.as_raw_fd().to_string();
        let mut found = false;
        while let Some(entry) = entries.next() {
            found |= entry?.file_name().to_bytes() == number.as_bytes();
        }
        assert!(found);
        Ok(())
    }

    #[test]
    fn a_file_is_read_up_to_the_limit() -> io::Result<()> {
        assert_eq!(own()?.read(c"status", 5)?, b"Name:");
        Ok(())
    }

    #[test]
    fn a_process_that_has_exited_is_gone_also_when_its_directory_is_open() -> io::Result<()> {
        let mut child = std::process::Command::new("true").spawn()?;
        let directory = ProcDir::open(child.id());
        child.wait()?;
        if let Ok(directory) = directory {
            let error = directory.read(c"comm", 100).expect_err("it has exited");
            assert!(is_process_gone(&error), "{error}");
        }
        assert!(is_process_gone(
            &ProcDir::open(u32::MAX).expect_err("no such process")
        ));
        Ok(())
    }

    #[test]
    fn this_process_is_not_a_kernel_thread() -> io::Result<()> {
        assert!(!own()?.is_kernel_thread());
        Ok(())
    }
}
