//! The system calls on a netlink socket (netlink(7)).

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, recvfrom,
    send as send_datagram, socket_with,
};

use super::error::DiagError;

/// The kernel answers at once, within the system call; this only guards against waiting for ever
/// for a lost answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Opens a netlink socket of this protocol in the calling thread's network namespace.
pub(super) fn open(protocol: Option<Protocol>) -> Result<OwnedFd, DiagError> {
    let fd = socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        protocol,
    )
    .map_err(|error| match error {
        Errno::PROTONOSUPPORT => DiagError::Unavailable,
        error => DiagError::Open(error.into()),
    })?;
    set_socket_timeout(&fd, Timeout::Recv, Some(PATIENCE))
        .map_err(|error| DiagError::Open(error.into()))?;
    Ok(fd)
}

/// Sends a datagram to the kernel, the peer of a netlink socket that has none.
pub(super) fn send(fd: impl AsFd, request: &[u8]) -> Result<(), DiagError> {
    loop {
        match send_datagram(&fd, request, SendFlags::empty()) {
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(error) => return Err(DiagError::Send(error.into())),
        }
    }
}

/// Receives one datagram of the kernel, and returns its length. A buffer that was too small grows
/// for the next time.
pub(super) fn receive(fd: impl AsFd, buffer: &mut Vec<u8>) -> Result<usize, DiagError> {
    loop {
        // With TRUNC the length is the datagram's, which may exceed what was written.
        let (length, sender) = match recvfrom(&fd, buffer.as_mut_slice(), RecvFlags::TRUNC) {
            Ok((_, length, sender)) => (length, sender),
            Err(Errno::INTR) => continue,
            Err(Errno::AGAIN) => return Err(DiagError::NoAnswer),
            Err(Errno::NOBUFS) => return Err(DiagError::Lost),
            Err(error) => return Err(DiagError::Receive(error.into())),
        };
        // Only port 0 is the kernel; another process's datagram is no answer. What has no netlink
        // address comes from the other end of a socket pair, which plays the kernel in tests.
        let sender = sender.and_then(|sender| SocketAddrNetlink::try_from(sender).ok());
        if sender.is_some_and(|sender| sender.pid() != 0) {
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
