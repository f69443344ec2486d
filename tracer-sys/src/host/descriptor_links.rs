//! Reads the descriptors of a process and where they lead, in /proc.

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{RawDir, readlinkat_raw};
use rustix::io::Errno;

use super::proc_dir::{ProcDir, is_process_gone};

/// Bytes of directory entries that are read at once: some 1,000 descriptors.
const ENTRIES_LEN: usize = 32 * 1024;

/// Returns the number of descriptors that a process has open, of any kind.
pub(super) fn open_descriptors(process: &mut ProcDir) -> io::Result<u64> {
    match count_descriptors(&process.descriptors()?)? {
        0 => process
            .descriptors_of_other_thread()?
            .map_or(Ok(0), |descriptors| count_descriptors(&descriptors)),
        open => Ok(open),
    }
}

fn count_descriptors(directory: &OwnedFd) -> io::Result<u64> {
    let mut buffer = Vec::with_capacity(ENTRIES_LEN);
    let mut entries = RawDir::new(directory, buffer.spare_capacity_mut());
    let mut open = 0;
    while let Some(entry) = entries.next() {
        open += u64::from(parse_fd(entry?.file_name()).is_some());
    }
    Ok(open)
}

/// Calls `visit` with each descriptor that a directory in /proc shows, as [`visit_descriptors`]
/// does.
pub(super) fn visit_descriptors_in(
    directory: &Path,
    visit: impl FnMut(u32, &[u8]),
) -> io::Result<u64> {
    visit_descriptors(&File::open(directory)?.into(), visit)
}

/// Calls `visit` with each descriptor and the beginning of its link, long enough for that of a
/// socket or a namespace. Returns how many there are.
pub(super) fn visit_descriptors(
    directory: &OwnedFd,
    mut visit: impl FnMut(u32, &[u8]),
) -> io::Result<u64> {
    let mut buffer = Vec::with_capacity(ENTRIES_LEN);
    let mut entries = RawDir::new(directory, buffer.spare_capacity_mut());
    let mut link = [0; 64];
    let mut open = 0;
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let Some(fd) = parse_fd(entry.file_name()) else {
            continue;
        };
        open += 1;
        match readlinkat_raw(directory, entry.file_name(), &mut link[..]) {
            Ok(length) => visit(fd, &link[..length]),
            // The descriptor was closed meanwhile.
            Err(Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(open)
}

/// Calls `visit` with each descriptor of a process and its link, as
/// [`find_holders`](super::descriptors::find_holders) reads them. Threads of the kernel have none.
/// Returns false where the first thread has exited, so that they are those of another.
pub(crate) fn visit_descriptors_of(
    pid: u32,
    mut visit: impl FnMut(u32, &[u8]),
) -> io::Result<bool> {
    let mut process = ProcDir::open(pid)?;
    let mut read = process
        .descriptors()
        .and_then(|directory| visit_descriptors(&directory, &mut visit));
    let mut of_first_thread = true;
    if matches!(read, Ok(0))
        && let Some(directory) = process.descriptors_of_other_thread()?
    {
        of_first_thread = false;
        read = visit_descriptors(&directory, &mut visit);
    }
    match read {
        Err(error) if !is_process_gone(&error) && process.is_kernel_thread() => Ok(true),
        read => read.map(|_| of_first_thread),
    }
}

fn parse_fd(name: &CStr) -> Option<u32> {
    name.to_str().ok()?.parse().ok()
}

/// Returns the inode in `socket:[12345]`.
pub(crate) fn socket_inode(link: &[u8]) -> Option<u32> {
    let number = link.strip_prefix(b"socket:[")?.strip_suffix(b"]")?;
    std::str::from_utf8(number).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_socket_links_have_an_inode() {
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
