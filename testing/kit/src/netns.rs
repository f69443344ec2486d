//! Network namespaces of our own, so that neither other tests nor the host's traffic can disturb.

#![expect(
    unsafe_code,
    reason = "unshare(2), and an ioctl that rustix does not offer"
)]

use std::fs::File;
use std::io;
use std::net::UdpSocket;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};
use std::os::unix::fs::MetadataExt as _;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc;
use std::thread;

use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};

use crate::{Outcome, command, skip};

/// A network namespace with its loopback interface up. It is gone when this, all processes in it and all sockets made in
/// it are.
pub struct NetNs {
    handle: File,
    inode: u64,
}

impl NetNs {
    /// Makes a namespace. The calling thread stays where it is.
    ///
    /// # Panics
    /// Where that is not allowed; see [`skip::is_root`].
    #[must_use]
    pub fn new() -> Self {
        Self::try_new().expect("a network namespace of one's own")
    }

    /// As [`Self::new`] for programs that report their errors.
    ///
    /// # Errors
    /// It is not allowed.
    pub fn try_new() -> io::Result<Self> {
        let make = || {
            enter_new_netns()?;
            File::open("/proc/thread-self/ns/net")
        };
        let handle = thread::scope(|scope| join(scope.spawn(make)))?;
        let inode = handle.metadata()?.ino();
        Ok(Self { handle, inode })
    }

    /// Returns its number, as `tcpclose --netns` takes it.
    #[must_use]
    pub fn inode(&self) -> u64 {
        self.inode
    }

    /// Moves the calling thread inside, for good.
    ///
    /// # Errors
    /// It is not allowed.
    pub fn enter(&self) -> io::Result<()> {
        enter_netns(&self.handle)
    }

    /// Runs the closure inside. Sockets that it makes belong to the namespace wherever they are used later.
    ///
    /// # Panics
    /// Where the namespace cannot be entered, and with the closure.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let inside = || {
            self.enter().expect("entering the namespace");
            work()
        };
        thread::scope(|scope| join(scope.spawn(inside)))
    }

    /// Returns a command that will run inside. Spawn it while this is alive.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command::spawn_in_netns(&mut command, &self.handle);
        command
    }
}

impl Default for NetNs {
    fn default() -> Self {
        Self::new()
    }
}

impl AsFd for NetNs {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.handle.as_fd()
    }
}

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

/// Runs a test in a new network namespace, whose path it is given.
///
/// # Errors
/// The test's.
pub fn in_own_network(test: impl FnOnce(&str) -> Outcome + Send) -> Outcome {
    if !skip::is_root() {
        return Ok(());
    }
    elsewhere(|path| test(path).map_err(|error| io::Error::other(error.to_string())))?;
    Ok(())
}

/// Does `work` in a thread of its own, in a new network namespace, whose path it is given.
///
/// # Errors
/// The work's, or it is not allowed.
pub fn elsewhere<T: Send>(work: impl FnOnce(&str) -> io::Result<T> + Send) -> io::Result<T> {
    let inside = || {
        enter_new_netns()?;
        let path = own_path()?;
        work(path.to_str().ok_or(io::ErrorKind::InvalidData)?)
    };
    thread::scope(|scope| join(scope.spawn(inside)))
}

/// A thread that stays in a network namespace of its own.
pub struct Resident {
    /// Where its namespace is found.
    pub path: PathBuf,
    leave: Option<mpsc::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Resident {
    /// Starts the thread. `furnish` runs inside; what it returns lives as long as the thread.
    ///
    /// # Errors
    /// Those of `furnish`, or it is not allowed.
    pub fn with<T>(furnish: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<Self> {
        let (leave, wait) = mpsc::channel::<()>();
        let (ready, furnished) = mpsc::channel();
        let thread = thread::spawn(move || {
            let room = enter_new_netns().and_then(|()| furnish());
            let (room, path) = match room {
                Ok(room) => (Some(room), own_path()),
                Err(error) => (None, Err(error)),
            };
            let _ = ready.send(path);
            let _ = wait.recv();
            drop(room);
        });
        Ok(Self {
            path: furnished.recv().map_err(io::Error::other)??,
            leave: Some(leave),
            thread: Some(thread),
        })
    }
}

impl Drop for Resident {
    fn drop(&mut self) {
        drop(self.leave.take());
        let _ = self.thread.take().map(thread::JoinHandle::join);
    }
}

/// The path of the calling thread's network namespace, for other threads too.
fn own_path() -> io::Result<PathBuf> {
    let task = std::fs::read_link("/proc/thread-self")?;
    Ok(Path::new("/proc").join(task).join("ns/net"))
}

fn join<T>(thread: thread::ScopedJoinHandle<T>) -> T {
    thread.join().unwrap_or_else(|panic| resume_unwind(panic))
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
