//! What tests do with sockets beyond std.

#![expect(unsafe_code, reason = "options that rustix does not know")]

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::{MaybeUninit, size_of, zeroed};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, FromRawFd as _, OwnedFd};
use std::time::Duration;

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, bind, connect, ipproto, listen,
    recvmsg, sendmsg, socket_with,
};

use crate::system_call::check;

/// Sets an option that is an int.
///
/// # Panics
/// The kernel does not take it.
pub fn set_option(socket: &impl AsRawFd, level: i32, option: i32, value: i32) {
    // SAFETY: the option reads an int, whose length is given.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            (&raw const value).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    assert_eq!(result, 0, "{}", io::Error::last_os_error());
}

/// Returns the value of an option that is an int.
///
/// # Panics
/// The socket has no such option.
pub fn option(socket: &impl AsRawFd, level: i32, option: i32) -> i32 {
    let mut value: libc::c_int = 0;
    let mut length = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the option writes an int, and the length of its memory is given.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            level,
            option,
            (&raw mut value).cast(),
            &raw mut length,
        )
    };
    assert_eq!(result, 0, "{}", io::Error::last_os_error());
    value
}

/// Makes close() reset the connection.
///
/// # Panics
/// It is no socket.
pub fn reset_on_close(socket: &impl AsFd) {
    rustix::net::sockopt::set_socket_linger(socket, Some(Duration::ZERO)).expect("SO_LINGER");
}

/// Listens for MPTCP connections.
///
/// # Errors
/// The kernel has no MPTCP, or it is switched off (`net.mptcp.enabled`).
pub fn mptcp_listener(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = mptcp_socket(address)?;
    bind(&socket, &address)?;
    listen(&socket, 16)?;
    Ok(socket.into())
}

/// Connects, and offers MPTCP to the peer.
///
/// # Errors
/// As [`mptcp_listener`], or nobody listens.
pub fn mptcp_connect(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = mptcp_socket(address)?;
    connect(&socket, &address)?;
    Ok(socket.into())
}

fn mptcp_socket(address: SocketAddr) -> io::Result<OwnedFd> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let (kind, protocol) = (SocketType::STREAM, Some(ipproto::MPTCP));
    Ok(socket_with(family, kind, SocketFlags::CLOEXEC, protocol)?)
}

/// Sends a descriptor through a unix socket.
///
/// # Errors
/// The socket takes none.
pub fn send_descriptor(through: &impl AsFd, fd: &impl AsFd) -> io::Result<()> {
    let fds = [fd.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&fds));
    let data = [IoSlice::new(&[0])];
    sendmsg(through, &data, &mut control, SendFlags::empty())?;
    Ok(())
}

/// Receives a descriptor that [`send_descriptor`] sent.
///
/// # Errors
/// The socket has none.
pub fn receive_descriptor(through: &impl AsFd) -> io::Result<OwnedFd> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let mut data = [IoSliceMut::new(&mut byte)];
    recvmsg(through, &mut data, &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let mut received = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
        _ => None,
    });
    received
        .next()
        .ok_or_else(|| io::Error::other("no descriptor came"))
}

/// Returns whether a socket is in FIN_WAIT2: its FIN has been acknowledged.
///
/// # Errors
/// It is no TCP socket.
pub fn is_in_fin_wait2(stream: &TcpStream) -> io::Result<bool> {
    const FIN_WAIT2: u8 = 5;
    // The state is the first byte of `struct tcp_info`; the kernel fills as much as there is room
    // for.
    let mut state = 0_u8;
    let mut length = size_of::<u8>() as u32;
    let to = (&raw mut state).cast();
    // SAFETY: the kernel writes at most `length` bytes to `state`, and both outlive the call.
    check(unsafe {
        libc::getsockopt(
            stream.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            to,
            &raw mut length,
        )
    })?;
    Ok(state == FIN_WAIT2)
}

/// Dissolves the connection of a socket, which may connect again afterwards: connect() to
/// `AF_UNSPEC`.
///
/// # Errors
/// The kernel refuses it.
pub fn disconnect(stream: &TcpStream) -> io::Result<()> {
    // SAFETY: all-zero is a valid sockaddr.
    let mut nowhere: libc::sockaddr = unsafe { zeroed() };
    nowhere.sa_family = libc::AF_UNSPEC as libc::sa_family_t;
    let length = size_of::<libc::sockaddr>() as u32;
    // SAFETY: the address outlives the call and has the length given.
    check(unsafe { libc::connect(stream.as_raw_fd(), &raw const nowhere, length) }).map(drop)
}

/// Keeps a copy of a descriptor in a table of io_uring's, until what is returned is dropped. /proc
/// shows no descriptor for it.
///
/// # Errors
/// The kernel has no io_uring, or refuses it.
pub fn keep_in_io_uring(fd: &impl AsRawFd) -> io::Result<OwnedFd> {
    const IORING_REGISTER_FILES: libc::c_uint = 2;
    let number: libc::c_int = fd.as_raw_fd();
    // `struct io_uring_params` has 120 bytes, all of which may be 0.
    let mut params = [0_u8; 120];
    // SAFETY: the kernel writes the parameters, for which there is room, and reads one number.
    unsafe {
        let ring = libc::syscall(libc::SYS_io_uring_setup, 4, params.as_mut_ptr());
        let ring = OwnedFd::from_raw_fd(check(ring as libc::c_int)?);
        let registered = libc::syscall(
            libc::SYS_io_uring_register,
            ring.as_raw_fd(),
            IORING_REGISTER_FILES,
            &raw const number,
            1,
        );
        check(registered as libc::c_int)?;
        Ok(ring)
    }
}

/// A mapping of a socket's memory, for receiving without copies (tcp(7), `TCP_ZEROCOPY_RECEIVE`).
pub struct SocketMapping(*mut libc::c_void);

/// The length of a mapping.
const MAPPING_LEN: usize = 4096;

impl SocketMapping {
    /// Maps a socket's memory.
    ///
    /// # Errors
    /// The kernel refuses it.
    pub fn new(socket: &impl AsRawFd) -> io::Result<Self> {
        // SAFETY: the kernel chooses an address that is free, and nobody reads there.
        let address = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                MAPPING_LEN,
                libc::PROT_READ,
                libc::MAP_SHARED,
                socket.as_raw_fd(),
                0,
            )
        };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Self(address))
    }
}

impl Drop for SocketMapping {
    fn drop(&mut self) {
        // SAFETY: it was mapped with this length, and nobody reads there.
        unsafe { libc::munmap(self.0, MAPPING_LEN) };
    }
}
