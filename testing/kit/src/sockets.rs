//! What tests do with sockets beyond std.

#![expect(unsafe_code, reason = "options that rustix does not know")]

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

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

/// Makes close() reset the connection.
///
/// # Panics
/// It is no socket.
pub fn reset_on_close(socket: &impl AsFd) {
    rustix::net::sockopt::set_socket_linger(socket, Some(Duration::ZERO)).expect("SO_LINGER");
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
