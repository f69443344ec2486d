//! A capture of the loopback interface.

#![expect(unsafe_code, reason = "packet sockets, which std does not offer")]

use std::io;
use std::mem::{MaybeUninit, size_of, zeroed};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

use crate::system_call::check;

/// A socket that copies every IP packet of the loopback interface, without its link header.
///
/// # Errors
/// It is not allowed.
pub fn loopback_tap() -> io::Result<OwnedFd> {
    const LOOPBACK_INDEX: i32 = 1;
    const BUFFER: libc::c_int = 16 << 20;
    let protocol = (libc::ETH_P_ALL as u16).to_be();
    // SAFETY: takes no pointers.
    let fd = check(unsafe {
        libc::socket(
            libc::AF_PACKET,
            libc::SOCK_DGRAM | libc::SOCK_CLOEXEC,
            protocol.into(),
        )
    })?;
    // SAFETY: the descriptor is new and nobody else's.
    let tap = unsafe { OwnedFd::from_raw_fd(fd) };
    // SAFETY: all-zero is a valid sockaddr_ll.
    let mut address: libc::sockaddr_ll = unsafe { zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = protocol;
    address.sll_ifindex = LOOPBACK_INDEX;
    let buffer = BUFFER;
    // SAFETY: pointers and lengths belong to locals that outlive the calls.
    unsafe {
        check(libc::bind(
            fd,
            (&raw const address).cast(),
            size_of::<libc::sockaddr_ll>() as u32,
        ))?;
        check(libc::setsockopt(
            fd,
            libc::SOL_SOCKET,
            libc::SO_RCVBUFFORCE,
            (&raw const buffer).cast(),
            size_of::<libc::c_int>() as u32,
        ))?
    };
    Ok(tap)
}

/// The next packet of a [`loopback_tap`] as it left, or `None` when there is none now. Loopback
/// shows each packet twice; the copy on arrival is skipped.
///
/// # Errors
/// The socket fails.
pub fn next_departing(tap: &OwnedFd, buffer: &mut [u8]) -> io::Result<Option<usize>> {
    loop {
        let mut address = MaybeUninit::<libc::sockaddr_ll>::zeroed();
        let mut length = size_of::<libc::sockaddr_ll>() as u32;
        // SAFETY: buffer and address are valid for the lengths given.
        let got = unsafe {
            libc::recvfrom(
                tap.as_raw_fd(),
                buffer.as_mut_ptr().cast(),
                buffer.len(),
                libc::MSG_DONTWAIT,
                address.as_mut_ptr().cast(),
                &raw mut length,
            )
        };
        let Ok(got) = usize::try_from(got) else {
            let error = io::Error::last_os_error();
            return if error.kind() == io::ErrorKind::WouldBlock {
                Ok(None)
            } else {
                Err(error)
            };
        };
        // SAFETY: zeroed before the call, and all-zero is a valid sockaddr_ll.
        if unsafe { address.assume_init() }.sll_pkttype == libc::PACKET_OUTGOING {
            return Ok(Some(got));
        }
    }
}
