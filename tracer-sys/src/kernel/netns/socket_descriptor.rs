//! Sockets of other processes, and the namespaces that they are in.
//!
//! Nothing in /proc shows the namespace of a socket, and opening `/proc/PID/fd/N` of one fails. So
//! the descriptor is copied (pidfd_getfd(2), since 5.6). While the copy is open, a close() by the
//! socket's owner is not the last one; so it is kept for two system calls only.

#![expect(
    unsafe_code,
    reason = "an ioctl and a socket option that rustix does not have"
)]

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, FromRawFd as _, OwnedFd};

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use tcpclose_core::types::NetNs;

use super::nsfs;

/// `SO_NETNS_COOKIE` of `asm-generic/socket.h`.
const SO_NETNS_COOKIE: libc::c_int = 71;

/// `SIOCGSKNS` of `linux/sockios.h`, since 4.10.
const SIOCGSKNS: libc::Ioctl = 0x894c;

/// Opens a pidfd of a process.
pub(super) fn open_process(pid: u32) -> io::Result<OwnedFd> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or(io::ErrorKind::InvalidInput)?;
    Ok(pidfd_open(pid, PidfdFlags::empty())?)
}

/// Copies a descriptor of a process that [`open_process`] opened.
pub(super) fn copy_from(process: &OwnedFd, fd: u32) -> io::Result<OwnedFd> {
    let fd = i32::try_from(fd).map_err(io::Error::other)?;
    Ok(pidfd_getfd(process, fd, PidfdGetfdFlags::empty())?)
}

/// Copies a descriptor of a process.
pub(super) fn copy(pid: u32, fd: u32) -> io::Result<OwnedFd> {
    copy_from(&open_process(pid)?, fd)
}

/// Returns the cookie of the namespace that a socket is in (`SO_NETNS_COOKIE`, since 5.14). Needs
/// no rights.
pub(super) fn netns_cookie(socket: &impl AsFd) -> io::Result<u64> {
    let mut cookie = 0_u64;
    let mut length = size_of::<u64>() as libc::socklen_t;
    // SAFETY: the option writes 8 bytes, for which there is room, and its length.
    let result = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut length,
        )
    };
    match result {
        0 => Ok(cookie),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Opens the namespace that a socket is in. Needs `CAP_NET_ADMIN` in the user namespace which owns
/// that network namespace.
pub(super) fn open_netns(socket: &impl AsFd) -> io::Result<(NetNs, OwnedFd)> {
    // What is no socket any more may refuse another argument than 0 before it refuses the request.
    let none: libc::c_ulong = 0;
    // SAFETY: this ioctl does not use its argument.
    let fd = unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), SIOCGSKNS, none) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the ioctl has made the descriptor, and nothing else knows it.
    let file = File::from(unsafe { OwnedFd::from_raw_fd(fd) });
    let id = nsfs::id(&file)?.ok_or(io::ErrorKind::InvalidData)?;
    Ok((id, file.into()))
}

/// Returns whether a descriptor that was a socket's is closed, or another file's by now.
pub(super) fn is_other_file(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    // Sockets never answer these requests with EINVAL; some other files do, such as a pidfd.
    matches!(
        errno,
        Some(Errno::BADF | Errno::NOTTY | Errno::NOTSOCK | Errno::INVAL)
    )
}
