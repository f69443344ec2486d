//! One network namespace, and how it is entered.

#![expect(
    unsafe_code,
    reason = "an ioctl and a socket option that rustix does not have"
)]

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;

use rustix::fs::fstatfs;
use rustix::io::Errno;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tcpclose_core::types::NetNs;

use super::error::NetNsError;

/// `NSFS_MAGIC` of `linux/magic.h`.
const NSFS_MAGIC: u32 = 0x6e73_6673;

/// `NS_GET_NSTYPE` of `linux/nsfs.h`, ioctl_ns(2), since 4.11.
const NS_GET_NSTYPE: libc::Ioctl = 0xb703;

/// `SO_NETNS_COOKIE` of `asm-generic/socket.h`.
const SO_NETNS_COOKIE: libc::c_int = 71;

/// A network namespace, and the files that lead to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetNsHandle {
    id: NetNs,
    pub(super) sources: Vec<NetnsSource>,
}

/// A file that leads to a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NetnsSource {
    /// The namespace of a thread.
    Task { pid: u32, tid: u32 },
    /// A mount, as this process sees it.
    Mount { pid: u32, point: PathBuf },
    /// A path that the caller has given.
    Path(PathBuf),
}

impl NetnsSource {
    pub(super) fn own_thread(proc: &Path) -> Option<Self> {
        // The link reads PID/task/TID.
        let task = fs::read_link("/proc/thread-self").ok()?;
        Some(Self::Path(proc.join(task).join("ns/net")))
    }

    fn path(&self) -> PathBuf {
        match self {
            Self::Task { pid, tid } => format!("/proc/{pid}/task/{tid}/ns/net").into(),
            Self::Mount { pid, point } => {
                let below = point.strip_prefix("/").unwrap_or(point);
                Path::new(&format!("/proc/{pid}/root")).join(below)
            }
            Self::Path(path) => path.clone(),
        }
    }
}

impl NetNsHandle {
    pub(in crate::kernel) fn new(id: NetNs) -> Self {
        Self {
            id,
            sources: Vec::new(),
        }
    }

    /// Returns the namespace that this file refers to.
    pub(super) fn of_file(path: &Path) -> Result<Self, NetNsError> {
        let (id, _) = open_namespace(path)?;
        Ok(Self {
            id,
            sources: vec![NetnsSource::Path(path.into())],
        })
    }

    /// Returns the namespace's number.
    #[must_use]
    pub fn id(&self) -> NetNs {
        self.id
    }

    /// Returns a file that leads to the namespace, or did when it was found.
    #[must_use]
    pub fn path(&self) -> Option<PathBuf> {
        self.sources.first().map(NetnsSource::path)
    }

    /// Calls `work` inside the namespace and returns its result.
    ///
    /// A thread of its own enters the namespace and ends with the work, so that no other thread
    /// ever leaves its namespace. Sockets that are opened in the namespace stay in it, and keep it
    /// alive; `/proc/thread-self/net` shows its counters. When the caller's thread is in that
    /// namespace already, `work` is called directly, which needs no rights.
    ///
    /// # Errors
    /// `work` was not called.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, NetNsError> {
        if current().ok() == Some(self.id) {
            return Ok(work());
        }
        let file = self.open()?;
        thread::scope(|scope| {
            let worker = thread::Builder::new()
                .name("netns".into())
                .spawn_scoped(scope, || {
                    let kind = Some(LinkNameSpaceType::Network);
                    move_into_link_name_space(file.as_fd(), kind).map_err(|error| match error {
                        Errno::PERM => NetNsError::NotPermitted(self.id),
                        error => NetNsError::Enter(self.id, error.into()),
                    })?;
                    Ok(work())
                })
                .map_err(NetNsError::Thread)?;
            worker
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    fn open(&self) -> Result<OwnedFd, NetNsError> {
        let mut failure = NetNsError::Vanished(self.id);
        for source in &self.sources {
            match open_namespace(&source.path()) {
                Ok((id, file)) if id == self.id => return Ok(file),
                // The file leads elsewhere by now.
                Ok(_) | Err(NetNsError::NotANetNs(_)) => {}
                Err(NetNsError::Open(path, error)) => match Errno::from_io_error(&error) {
                    Some(Errno::NOENT | Errno::SRCH | Errno::NOTDIR) => {}
                    Some(Errno::ACCESS | Errno::PERM) => {
                        failure = NetNsError::NotPermitted(self.id);
                    }
                    _ => failure = NetNsError::Open(path, error),
                },
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }
}

/// Returns the network namespace of the calling thread.
///
/// # Errors
/// `/proc` is not mounted or not readable.
pub fn current() -> io::Result<NetNs> {
    let link = fs::read_link("/proc/thread-self/ns/net")?;
    parse_link(link.as_os_str().as_encoded_bytes(), "net")
        .and_then(NetNs::new)
        .ok_or(io::ErrorKind::InvalidData.into())
}

/// Returns the cookie of the calling thread's network namespace (`SO_NETNS_COOKIE`, since 5.14): a
/// number that no later namespace gets, unlike the inode number.
///
/// # Errors
/// The kernel has none, or no socket can be opened.
pub fn cookie() -> io::Result<u64> {
    let socket = std::os::unix::net::UnixDatagram::unbound()?;
    let mut cookie = 0_u64;
    let mut length = size_of::<u64>() as libc::socklen_t;
    // SAFETY: the option writes 8 bytes, for which there is room, and its length.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
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

/// Opens a namespace's file, and no other file: a path through another process's root is of that
/// process's choosing, and opening a FIFO or a device for reading would block or act.
fn open_namespace(path: &Path) -> Result<(NetNs, OwnedFd), NetNsError> {
    let failed = |error| NetNsError::Open(path.into(), error);
    let other = || NetNsError::NotANetNs(path.into());
    let unopened = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_PATH)
        .open(path)
        .map_err(failed)?;
    let file_system = fstatfs(&unopened).map_err(|error| failed(error.into()))?;
    if file_system.f_type as u32 != NSFS_MAGIC {
        return Err(other());
    }
    let file = File::open(format!("/proc/self/fd/{}", unopened.as_raw_fd())).map_err(failed)?;
    if !is_network_namespace(&file) {
        return Err(other());
    }
    // Namespace numbers are 32 bits wide in the kernel (`struct ns_common`).
    let inode = file.metadata().map_err(failed)?.ino();
    let id = u32::try_from(inode)
        .ok()
        .and_then(NetNs::new)
        .ok_or_else(other)?;
    Ok((id, file.into()))
}

fn is_network_namespace(file: &File) -> bool {
    // SAFETY: this ioctl takes no argument.
    let kind = unsafe { libc::ioctl(file.as_raw_fd(), NS_GET_NSTYPE) };
    kind == libc::CLONE_NEWNET
}

/// Returns the number in `net:[4026531840]`, for the kind `net`.
pub(super) fn parse_link(link: &[u8], kind: &str) -> Option<u32> {
    let number = link
        .strip_prefix(kind.as_bytes())?
        .strip_prefix(b":[")?
        .strip_suffix(b"]")?;
    std::str::from_utf8(number).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_of_another_kind_are_not_taken() {
        assert_eq!(parse_link(b"net:[4026531840]", "net"), Some(4026531840));
        for wrong in [
            &b"mnt:[1]"[..],
            b"net:[]",
            b"net:[1",
            b"net:[99999999999]",
            b"net",
            b"",
        ] {
            assert_eq!(parse_link(wrong, "net"), None);
        }
    }

    #[test]
    fn a_namespace_that_is_gone_is_said_to_be() {
        let mut handle = NetNsHandle::new(NetNs::new(1).expect("it is not 0"));
        handle.sources.push(NetnsSource::Task {
            pid: u32::MAX,
            tid: u32::MAX,
        });
        // The right file, but another namespace.
        handle
            .sources
            .push(NetnsSource::Path("/proc/self/ns/net".into()));
        let error = handle.enter(|| ()).expect_err("no such namespace");
        assert!(
            matches!(error, NetNsError::Vanished(id) if id.get() == 1),
            "{error}"
        );
    }
}
