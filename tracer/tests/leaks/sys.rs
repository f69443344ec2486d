//! The system calls that std does not offer. All `unsafe` of these tests is in this file.

#![expect(unsafe_code, reason = "system calls that std does not offer")]

use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// Moves the calling thread to a network namespace of its own.
pub fn unshare_network() -> io::Result<()> {
    // SAFETY: no pointer is passed; it changes the calling thread only.
    check(unsafe { libc::unshare(libc::CLONE_NEWNET) }).map(drop)
}

/// Gives the calling thread a descriptor table of its own, with this one descriptor in it.
pub fn unshare_files(kept: RawFd) -> io::Result<()> {
    let kept = libc::c_uint::try_from(kept).map_err(io::Error::other)?;
    // SAFETY: no pointers are passed; they change the calling thread only, which owns no other descriptor.
    unsafe {
        check(libc::unshare(libc::CLONE_FILES))?;
        check(libc::close_range(0, kept - 1, 0))?;
        check(libc::close_range(kept + 1, libc::c_uint::MAX, 0)).map(drop)
    }
}

/// Closes a descriptor of the calling thread's table that nothing there owns.
pub fn close_number(fd: RawFd) -> io::Result<()> {
    // SAFETY: its owner is in another thread, whose table is another.
    check(unsafe { libc::close(fd) }).map(drop)
}

/// Brings the loopback interface of the calling thread's namespace up.
pub fn loopback_up() -> io::Result<()> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0")?;
    // SAFETY: all-zero bytes are a valid `ifreq`.
    let mut request: libc::ifreq = unsafe { zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = *from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: `request` is an `ifreq`, as this ioctl wants, and lives through the call.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &request) }).map(drop)
}

/// Sets an option that is an int.
pub fn set_option(
    socket: &impl AsRawFd,
    level: libc::c_int,
    option: libc::c_int,
    value: libc::c_int,
) {
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
    check(result).expect("the kernel knows this option");
}

/// Makes close() send a RST.
pub fn set_linger_zero(socket: &impl AsRawFd) {
    let linger = libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    // SAFETY: the option reads a `linger`, whose length is given.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_LINGER,
            (&raw const linger).cast(),
            size_of::<libc::linger>() as libc::socklen_t,
        )
    };
    check(result).expect("the kernel knows this option");
}

/// Makes the command start with a copy of `fd` as each of the `numbers`, and die with the calling thread. The numbers
/// must be higher than any in use here: one may be that of std's own pipe, through which exec() tells of its success.
pub fn inherit(command: &mut Command, fd: &impl AsRawFd, numbers: &[RawFd]) {
    let (fd, numbers) = (fd.as_raw_fd(), numbers.to_vec());
    // SAFETY: only async-signal-safe calls, no memory of the parent is changed.
    unsafe {
        command.pre_exec(move || {
            check(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL))?;
            numbers
                .iter()
                .try_for_each(|&number| check(libc::dup2(fd, number)).map(drop))
        });
    }
}

/// Makes the command start as an ordinary user without any capability.
pub fn as_nobody(command: &mut Command) {
    const NOBODY: libc::uid_t = 65534;
    // SAFETY: only async-signal-safe calls, no memory of the parent is touched.
    unsafe {
        command.pre_exec(|| {
            check(libc::setgroups(0, std::ptr::null()))?;
            check(libc::setgid(NOBODY))?;
            check(libc::setuid(NOBODY)).map(drop)
        });
    }
}

/// Lets one look into other processes.
pub const CAP_SYS_PTRACE: libc::c_ulong = 19;

/// Makes the command start with this capability alone.
pub fn may_only(command: &mut Command, kept: libc::c_ulong) {
    // SAFETY: only async-signal-safe calls, no memory of the parent is touched.
    unsafe {
        command.pre_exec(move || {
            // The kernel knows no capability beyond the first that it refuses.
            for capability in 0..64 {
                if capability != kept
                    && libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) != 0
                {
                    break;
                }
            }
            Ok(())
        });
    }
}

/// Makes the command start in a mount namespace of its own whose /proc hides other users' processes. Call it before
/// [`as_nobody`].
pub fn with_hidden_processes(command: &mut Command) {
    // SAFETY: only system calls, on C strings that live for ever.
    unsafe {
        command.pre_exec(|| {
            let none = std::ptr::null();
            let private = libc::MS_REC | libc::MS_PRIVATE;
            let (kind, place) = (c"proc".as_ptr(), c"/proc".as_ptr());
            check(libc::unshare(libc::CLONE_NEWNS))?;
            check(libc::mount(none, c"/".as_ptr(), none, private, none.cast()))?;
            check(libc::mount(
                kind,
                place,
                kind,
                0,
                c"hidepid=2".as_ptr().cast(),
            ))
            .map(drop)
        });
    }
}

/// Makes the command start in a mount namespace of its own where something else is mounted over /proc.
pub fn without_proc(command: &mut Command) {
    // SAFETY: only system calls, on C strings that live for ever.
    unsafe {
        command.pre_exec(|| {
            let none = std::ptr::null();
            let private = libc::MS_REC | libc::MS_PRIVATE;
            let kind = c"tmpfs".as_ptr();
            check(libc::unshare(libc::CLONE_NEWNS))?;
            check(libc::mount(none, c"/".as_ptr(), none, private, none.cast()))?;
            check(libc::mount(kind, c"/proc".as_ptr(), kind, 0, none.cast())).map(drop)
        });
    }
}

/// A `struct cmsghdr` with room for one descriptor behind it.
#[repr(C)]
struct Control {
    header: libc::cmsghdr,
    fd: RawFd,
    padding: [u8; 4],
}

/// `CMSG_LEN(sizeof(int))`: the length without padding.
const CONTROL_LEN: usize = size_of::<libc::cmsghdr>() + size_of::<RawFd>();

impl Control {
    fn new(fd: RawFd) -> Self {
        // SAFETY: all-zero bytes are valid for integers.
        let mut control: Self = unsafe { zeroed() };
        control.header.cmsg_len = CONTROL_LEN as _;
        control.header.cmsg_level = libc::SOL_SOCKET;
        control.header.cmsg_type = libc::SCM_RIGHTS;
        control.fd = fd;
        control
    }

    /// Sends or receives it, with one byte of data.
    fn pass(&mut self, call: impl FnOnce(&mut libc::msghdr) -> libc::ssize_t) -> io::Result<()> {
        let mut byte = [0u8];
        let mut part = libc::iovec {
            iov_base: byte.as_mut_ptr().cast(),
            iov_len: 1,
        };
        // SAFETY: all-zero bytes are a valid message.
        let mut message: libc::msghdr = unsafe { zeroed() };
        message.msg_iov = &raw mut part;
        message.msg_iovlen = 1;
        message.msg_control = std::ptr::from_mut(self).cast();
        message.msg_controllen = size_of::<Self>() as _;
        check(call(&mut message) as libc::c_int).map(drop)
    }
}

/// Sends a descriptor through a unix socket.
pub fn send_descriptor(through: &impl AsRawFd, fd: &impl AsRawFd) -> io::Result<()> {
    // SAFETY: the message's pointers are to what outlives the call, with their lengths.
    Control::new(fd.as_raw_fd())
        .pass(|message| unsafe { libc::sendmsg(through.as_raw_fd(), message, 0) })
}

/// Receives a descriptor that [`send_descriptor`] sent.
pub fn receive_descriptor(through: &impl AsRawFd) -> io::Result<OwnedFd> {
    let mut control = Control::new(-1);
    // SAFETY: the message's pointers are to what outlives the call, with their lengths.
    control.pass(|message| unsafe {
        libc::recvmsg(through.as_raw_fd(), message, libc::MSG_CMSG_CLOEXEC)
    })?;
    assert!(control.fd >= 0, "a descriptor came");
    // SAFETY: the kernel has just made it for this process.
    Ok(unsafe { OwnedFd::from_raw_fd(control.fd) })
}

/// Moves the calling thread into a network namespace.
pub fn enter_network(netns: &impl AsRawFd) -> io::Result<()> {
    // SAFETY: takes no pointers; the descriptor is borrowed for the call.
    check(unsafe { libc::setns(netns.as_raw_fd(), libc::CLONE_NEWNET) }).map(drop)
}

/// What Ctrl-C sends, to a child of ours.
pub fn interrupt(pid: u32) -> io::Result<()> {
    let pid = libc::pid_t::try_from(pid).map_err(io::Error::other)?;
    // SAFETY: takes no pointers.
    check(unsafe { libc::kill(pid, libc::SIGINT) }).map(drop)
}
