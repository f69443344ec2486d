//! One process's directory in /proc. Everything is read relative to it, so that all of it is of the same process: when
//! that has exited, nothing can be read any more, whoever has its number by then.

use std::ffi::{CStr, CString, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// Longest link that is read; a path may be as long.
const LINK_LEN: usize = libc::PATH_MAX as usize;

/// An open `/proc/PID`.
#[derive(Debug)]
pub(super) struct ProcDir {
    pub(super) pid: u32,
    fd: OwnedFd,
    /// `/proc/PID/task/TID` of another thread, where the first has exited: it has nothing open any more, and no memory.
    survivor: Option<OwnedFd>,
}

impl ProcDir {
    pub(super) fn open(pid: u32) -> io::Result<Self> {
        let path = CString::new(format!("/proc/{pid}"))?;
        let fd = open_at(libc::AT_FDCWD, &path, libc::O_PATH | libc::O_DIRECTORY)?;
        Ok(Self {
            pid,
            fd,
            survivor: None,
        })
    }

    /// Takes what only a living thread has from another than the first from now on, and returns its open descriptors, to
    /// be listed; `None` where no other has any.
    pub(super) fn other_descriptors(&mut self) -> io::Result<Option<OwnedFd>> {
        let flags = libc::O_RDONLY | libc::O_DIRECTORY;
        let threads = open_at(self.fd.as_raw_fd(), c"task", flags)?;
        let first = self.pid.to_string();
        let mut buffer = vec![0; 4096];
        let mut failure = None;
        loop {
            let length = next_entries(&threads, &mut buffer)?;
            if length == 0 {
                return failure.map_or(Ok(None), Err);
            }
            let others = names(&buffer[..length]).filter(|name| {
                let name = name.to_bytes();
                name[0] != b'.' && name != first.as_bytes()
            });
            for name in others {
                let thread = open_at(threads.as_raw_fd(), name, libc::O_PATH | libc::O_DIRECTORY);
                match thread.and_then(|thread| Ok(has_entries(&thread)?.then_some(thread))) {
                    Ok(Some(thread)) => {
                        let descriptors = open_at(thread.as_raw_fd(), c"fd", flags)?;
                        self.survivor = Some(thread);
                        return Ok(Some(descriptors));
                    }
                    Err(error) if !is_gone(&error) => failure = Some(error),
                    Ok(None) | Err(_) => {}
                }
            }
        }
    }

    fn living(&self) -> RawFd {
        self.survivor.as_ref().unwrap_or(&self.fd).as_raw_fd()
    }

    /// The first `limit` bytes of a file.
    pub(super) fn read(&self, name: &CStr, limit: u64) -> io::Result<Vec<u8>> {
        read_at(self.fd.as_raw_fd(), name, limit)
    }

    /// The same of a file that goes with the memory: of a thread that lives.
    pub(super) fn read_living(&self, name: &CStr, limit: u64) -> io::Result<Vec<u8>> {
        read_at(self.living(), name, limit)
    }

    pub(super) fn read_link(&self, name: &CStr) -> io::Result<PathBuf> {
        let mut buffer = vec![0; LINK_LEN];
        let length = read_link_at(self.living(), name, &mut buffer)?;
        buffer.truncate(length);
        Ok(OsString::from_vec(buffer).into())
    }

    /// The open descriptors of its first thread, to be listed.
    pub(super) fn descriptors(&self) -> io::Result<OwnedFd> {
        let flags = libc::O_RDONLY | libc::O_DIRECTORY;
        open_at(self.fd.as_raw_fd(), c"fd", flags)
    }

    /// A thread of the kernel's own: it has no descriptors and holds no namespace but the first.
    pub(super) fn is_kernel_thread(&self) -> bool {
        const PF_KTHREAD: u64 = 0x0020_0000;
        let stat = self.read(c"stat", 4096).unwrap_or_default();
        stat_field(&stat, 9).is_some_and(|flags| flags & PF_KTHREAD != 0)
    }
}

/// A number in `/proc/PID/stat`, counted from 1 as proc_pid_stat(5) does, from the fourth on. The second is the
/// process's name and may hold anything, spaces and `)` too.
pub fn stat_field(stat: &[u8], number: usize) -> Option<u64> {
    let end_of_name = stat.iter().rposition(|&byte| byte == b')')?;
    let rest = std::str::from_utf8(&stat[end_of_name + 1..]).ok()?;
    let field = rest.split_ascii_whitespace().nth(number.checked_sub(3)?)?;
    field.parse().ok()
}

/// Whether an error means that the process has exited meanwhile, and no more.
pub(super) fn is_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESRCH))
}

/// Whether a thread's directory shows any open descriptor.
fn has_entries(thread: &OwnedFd) -> io::Result<bool> {
    let descriptors = open_at(
        thread.as_raw_fd(),
        c"fd",
        libc::O_RDONLY | libc::O_DIRECTORY,
    )?;
    let mut buffer = vec![0; 256];
    let length = next_entries(&descriptors, &mut buffer)?;
    Ok(names(&buffer[..length]).any(|name| name.to_bytes()[0] != b'.'))
}

fn read_at(directory: RawFd, name: &CStr, limit: u64) -> io::Result<Vec<u8>> {
    let file = File::from(open_at(directory, name, libc::O_RDONLY)?);
    let mut bytes = Vec::new();
    file.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn open_at(directory: RawFd, name: &CStr, flags: libc::c_int) -> io::Result<OwnedFd> {
    // SAFETY: `name` is a C string that lives through the call.
    let raw = unsafe { libc::openat(directory, name.as_ptr(), flags | libc::O_CLOEXEC) };
    if raw < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor was just made and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(raw) })
}

/// Reads a link into `buffer` and returns its length; what does not fit is cut off.
pub(super) fn read_link_at(directory: RawFd, name: &CStr, buffer: &mut [u8]) -> io::Result<usize> {
    // SAFETY: `name` is a C string, and pointer and length are those of `buffer`.
    let length = unsafe {
        libc::readlinkat(
            directory,
            name.as_ptr(),
            buffer.as_mut_ptr().cast(),
            buffer.len(),
        )
    };
    usize::try_from(length).map_err(|_| io::Error::last_os_error())
}

/// Fills `buffer` with the next entries of a directory (`struct linux_dirent64`, getdents64(2)); 0 at its end.
pub(super) fn next_entries(directory: &OwnedFd, buffer: &mut [u8]) -> io::Result<usize> {
    // SAFETY: pointer and length are those of `buffer`.
    let length = unsafe {
        libc::syscall(
            libc::SYS_getdents64,
            directory.as_raw_fd(),
            buffer.as_mut_ptr(),
            buffer.len(),
        )
    };
    usize::try_from(length).map_err(|_| io::Error::last_os_error())
}

/// The names of the entries that [`next_entries`] wrote.
pub fn names(mut entries: &[u8]) -> impl Iterator<Item = &CStr> {
    /// Where the length of an entry and its name are.
    const LENGTH: usize = 16;
    const NAME: usize = 19;
    std::iter::from_fn(move || {
        let length = entries.get(LENGTH..)?.first_chunk().copied()?;
        let entry = entries.get(..usize::from(u16::from_ne_bytes(length)))?;
        let name = CStr::from_bytes_until_nul(entry.get(NAME..)?).ok()?;
        entries = &entries[entry.len()..];
        Some(name)
    })
}

#[cfg(test)]
mod tests {
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
        let mut buffer = vec![0; 4096];
        let mut found = false;
        loop {
            let length = next_entries(&directory, &mut buffer)?;
            if length == 0 {
                break;
            }
            let number = file.as_raw_fd().to_string();
            found |= names(&buffer[..length]).any(|name| name.to_bytes() == number.as_bytes());
        }
        assert!(found);
        Ok(())
    }

    #[test]
    fn entries_cut_anywhere_end_the_list() {
        let mut entry = vec![0; 24];
        entry[16] = 24;
        entry[19..21].copy_from_slice(b"17");
        let two = [entry.clone(), entry].concat();
        assert_eq!(names(&two).count(), 2);
        for end in 0..two.len() {
            assert!(names(&two[..end]).count() < 2);
        }
        assert_eq!(names(&[0; 64]).count(), 0);
        assert_eq!(names(&[0xff; 64]).count(), 0);
    }

    #[test]
    fn only_so_much_of_a_file_is_read() -> io::Result<()> {
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
            assert!(is_gone(&error), "{error}");
        }
        assert!(is_gone(
            &ProcDir::open(u32::MAX).expect_err("no such process")
        ));
        Ok(())
    }

    #[test]
    fn this_process_is_none_of_the_kernel() -> io::Result<()> {
        assert!(!own()?.is_kernel_thread());
        Ok(())
    }
}
