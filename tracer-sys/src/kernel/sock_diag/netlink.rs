//! The system calls on a netlink socket (netlink(7)).

use std::io;
use std::mem;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::time::Duration;

use super::error::DiagError;

/// The kernel answers at once, within the system call; this is only against waiting for ever for a lost answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// A netlink socket in the calling thread's network namespace.
pub(super) fn open() -> Result<OwnedFd, DiagError> {
    // SAFETY: no pointer is passed.
    let raw = unsafe {
        libc::socket(
            libc::AF_NETLINK,
            libc::SOCK_RAW | libc::SOCK_CLOEXEC,
            libc::NETLINK_SOCK_DIAG,
        )
    };
    if raw < 0 {
        return Err(match io::Error::last_os_error() {
            error if error.raw_os_error() == Some(libc::EPROTONOSUPPORT) => DiagError::Unavailable,
            error => DiagError::Open(error),
        });
    }
    // SAFETY: the descriptor was just made and nobody else has it.
    let fd = unsafe { OwnedFd::from_raw_fd(raw) };
    limit_waiting(fd.as_raw_fd()).map_err(DiagError::Open)?;
    Ok(fd)
}

fn limit_waiting(fd: RawFd) -> io::Result<()> {
    let limit = libc::timeval {
        tv_sec: PATIENCE.as_secs() as libc::time_t,
        tv_usec: 0,
    };
    // SAFETY: `limit` lives through the call, and its length is given.
    let failed = unsafe {
        libc::setsockopt(
            fd,
            libc::SOL_SOCKET,
            libc::SO_RCVTIMEO,
            ptr::from_ref(&limit).cast(),
            mem::size_of_val(&limit) as libc::socklen_t,
        )
    };
    if failed == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

pub(super) fn send(fd: &OwnedFd, request: &[u8]) -> Result<(), DiagError> {
    loop {
        // A netlink socket without a peer sends to the kernel.
        // SAFETY: pointer and length are those of `request`.
        let sent = unsafe { libc::send(fd.as_raw_fd(), request.as_ptr().cast(), request.len(), 0) };
        if sent >= 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(DiagError::Send(error));
        }
    }
}

/// Receives one datagram of the kernel's, and returns its length. A buffer that was too small grows for the next time.
pub(super) fn receive(fd: &OwnedFd, buffer: &mut Vec<u8>) -> Result<usize, DiagError> {
    loop {
        // SAFETY: all-zero bytes are a valid `sockaddr_nl`.
        let mut sender: libc::sockaddr_nl = unsafe { mem::zeroed() };
        let mut sender_len = mem::size_of_val(&sender) as libc::socklen_t;
        // SAFETY: both pointers are valid for writes of the lengths given. MSG_TRUNC makes the result the datagram's
        // length, which may exceed what was written.
        let received = unsafe {
            libc::recvfrom(
                fd.as_raw_fd(),
                buffer.as_mut_ptr().cast(),
                buffer.len(),
                libc::MSG_TRUNC,
                ptr::from_mut(&mut sender).cast(),
                &mut sender_len,
            )
        };
        let Ok(length) = usize::try_from(received) else {
            let error = io::Error::last_os_error();
            match error.raw_os_error() {
                Some(libc::EINTR) => continue,
                Some(libc::EAGAIN) => return Err(DiagError::NoAnswer),
                Some(libc::ENOBUFS) => return Err(DiagError::Lost),
                _ => return Err(DiagError::Receive(error)),
            }
        };
        // Only port 0 is the kernel; another process's datagram is no answer.
        if sender.nl_pid != 0 {
            continue;
        }
        if length > buffer.len() {
            let had = buffer.len();
            buffer.resize(length, 0);
            return Err(DiagError::Truncated {
                needed: length,
                had,
            });
        }
        return Ok(length);
    }
}
