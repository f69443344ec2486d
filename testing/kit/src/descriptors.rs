//! Descriptor tables of threads.

#![expect(
    unsafe_code,
    reason = "unshare(2) and close(2) of numbers that nothing owns"
)]

use std::io;
use std::os::fd::RawFd;

/// Gives the calling thread a descriptor table of its own, with this one descriptor in it.
///
/// # Errors
/// The kernel refuses it.
pub fn unshare_files(kept: RawFd) -> io::Result<()> {
    let kept = libc::c_uint::try_from(kept).map_err(io::Error::other)?;
    // SAFETY: no pointers are passed; they change the calling thread only, which owns no other
    // descriptor.
    let results = unsafe {
        [
            libc::unshare(libc::CLONE_FILES),
            libc::close_range(0, kept - 1, 0),
            libc::close_range(kept + 1, libc::c_uint::MAX, 0),
        ]
    };
    match results {
        [0, 0, 0] => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Closes a descriptor of the calling thread's table that nothing there owns.
///
/// # Errors
/// It is not open.
pub fn close_number(fd: RawFd) -> io::Result<()> {
    // SAFETY: its owner is in another thread, whose table is another.
    match unsafe { libc::close(fd) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
