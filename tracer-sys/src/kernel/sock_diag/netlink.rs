//! The system calls on a netlink socket (netlink(7)).

use std::ops::ControlFlow;
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
use super::message::{NetlinkBody, NetlinkMessage, NetlinkMessages};

/// The kernel answers at once, within the system call; this only guards against waiting for ever
/// for a lost answer.
const RECEIVE_TIMEOUT: Duration = Duration::from_secs(5);

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
    set_socket_timeout(&fd, Timeout::Recv, Some(RECEIVE_TIMEOUT))
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
        // address comes from a socket pair, which stands in for the kernel in tests.
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

/// Receives the answer to the request with this sequence number, and calls `each` with every
/// message of it, until that breaks with a result or the answer ends. Returns the result; `None` at
/// the end of the answer.
pub(super) fn receive_answer<T>(
    fd: impl AsFd,
    buffer: &mut Vec<u8>,
    sequence: u32,
    mut each: impl FnMut(&NetlinkMessage<'_>) -> Result<ControlFlow<T>, DiagError>,
) -> Result<Option<T>, DiagError> {
    loop {
        let length = receive(&fd, buffer)?;
        for message in NetlinkMessages::new(&buffer[..length]) {
            let message = message?;
            if message.sequence != sequence {
                continue;
            }
            if let ControlFlow::Break(result) = each(&message)? {
                return Ok(Some(result));
            }
            match message.body {
                NetlinkBody::Done(0) => return Ok(None),
                NetlinkBody::Error(0) | NetlinkBody::Data(..) | NetlinkBody::Noop => {}
                NetlinkBody::Done(errno) | NetlinkBody::Error(errno) => {
                    return Err(DiagError::refused(errno));
                }
                NetlinkBody::Overrun => return Err(DiagError::Lost),
            }
        }
    }
}
