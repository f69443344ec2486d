//! Moving the calling thread between network namespaces.

#![expect(
    unsafe_code,
    reason = "unshare(2), and an ioctl that rustix does not offer"
)]

use std::io;
use std::net::UdpSocket;
use std::os::fd::{AsFd, AsRawFd as _};

use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};

/// Moves the calling thread into a new network namespace with its loopback interface up.
///
/// # Errors
/// It is not allowed.
pub fn enter_new_netns() -> io::Result<()> {
    // SAFETY: no descriptor table is unshared.
    unsafe { unshare_unsafe(UnshareFlags::NEWNET) }?;
    bring_up("lo")
}

/// Moves the calling thread into a network namespace.
///
/// # Errors
/// It is not allowed, or the file is no network namespace.
pub fn enter_netns(netns: &impl AsFd) -> io::Result<()> {
    move_into_link_name_space(netns.as_fd(), Some(LinkNameSpaceType::Network))?;
    Ok(())
}

/// Brings an interface of the calling thread's namespace up.
///
/// # Errors
/// There is none of that name, or it is not allowed.
pub fn bring_up(interface: &str) -> io::Result<()> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    // SAFETY: all-zero is a valid ifreq.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(interface.bytes()) {
        *to = from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: the operation reads one ifreq, which outlives the call.
    let result = unsafe {
        libc::ioctl(
            socket.as_raw_fd(),
            libc::SIOCSIFFLAGS as _,
            &raw const request,
        )
    };
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
