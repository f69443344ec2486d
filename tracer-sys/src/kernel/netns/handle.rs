//! One network namespace, and how it is entered.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::thread;

use rustix::io::Errno;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tcpclose_core::types::NetNs;

use super::error::NetNsError;
use super::nsfs;
use super::socket_descriptor;
use crate::host::namespace_link;
use crate::host::proc_dir::is_process_gone;

/// A network namespace, and the files that lead to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetNsHandle {
    id: NetNs,
    pub(super) sources: Vec<NetNsSource>,
}

/// A file that leads to a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NetNsSource {
    /// The namespace of a thread.
    Task { pid: u32, tid: u32 },
    /// A mount, as this process sees it.
    Mount { pid: u32, point: PathBuf },
    /// A path that the caller has given.
    Path(PathBuf),
    /// A descriptor of the namespace's own file.
    Descriptor { pid: u32, fd: u32 },
    /// A descriptor of a socket in the namespace.
    Socket { pid: u32, fd: u32 },
}

impl NetNsSource {
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
            Self::Descriptor { pid, fd } | Self::Socket { pid, fd } => {
                format!("/proc/{pid}/fd/{fd}").into()
            }
        }
    }

    fn open(&self) -> Result<(NetNs, OwnedFd), NetNsError> {
        match self {
            Self::Socket { pid, fd } => socket_descriptor::copy(*pid, *fd)
                .and_then(|socket| socket_descriptor::open_netns(&socket))
                .map_err(|error| NetNsError::Open(self.path(), error)),
            _ => open_namespace(&self.path()),
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
    pub(super) fn from_file(path: &Path) -> Result<Self, NetNsError> {
        let (id, _) = open_namespace(path)?;
        Ok(Self {
            id,
            sources: vec![NetNsSource::Path(path.into())],
        })
    }

    /// Returns the namespace's number.
    #[must_use]
    pub fn id(&self) -> NetNs {
        self.id
    }

    pub(super) fn with_source(id: NetNs, source: NetNsSource) -> Self {
        Self {
            id,
            sources: vec![source],
        }
    }

    /// Returns a file that leads to the namespace, or did when it was found; `None` where only a
    /// socket does.
    #[must_use]
    pub fn path(&self) -> Option<PathBuf> {
        let file = |source: &&NetNsSource| !matches!(source, NetNsSource::Socket { .. });
        self.sources.iter().find(file).map(NetNsSource::path)
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
            match source.open() {
                Ok((id, file)) if id == self.id => return Ok(file),
                // The file leads elsewhere by now.
                Ok(_) | Err(NetNsError::NotANetNs(_)) => {}
                Err(NetNsError::Open(_, error)) if is_process_gone(&error) => {}
                Err(NetNsError::Open(path, error)) => match error.kind() {
                    io::ErrorKind::NotADirectory => {}
                    // The descriptor was closed, and may be of another file by now.
                    _ if matches!(source, NetNsSource::Socket { .. })
                        && socket_descriptor::is_other_file(&error) => {}
                    io::ErrorKind::PermissionDenied => failure = NetNsError::NotPermitted(self.id),
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
    read_netns(Path::new("/proc/thread-self/ns/net"))
}

/// Reads the network namespace that a link of procfs refers to.
pub(super) fn read_netns(link: &Path) -> io::Result<NetNs> {
    NetNs::new(namespace_link::read(link, "net")?).ok_or(io::ErrorKind::InvalidData.into())
}

/// Returns the cookie of the calling thread's network namespace (`SO_NETNS_COOKIE`, since 5.14): a
/// number that no later namespace gets, unlike the inode number.
///
/// # Errors
/// The kernel has none, or no socket can be opened.
pub fn cookie() -> io::Result<u64> {
    socket_descriptor::netns_cookie(&std::os::unix::net::UnixDatagram::unbound()?)
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
    if !nsfs::contains(&unopened).map_err(failed)? {
        return Err(other());
    }
    let file = File::open(format!("/proc/self/fd/{}", unopened.as_raw_fd())).map_err(failed)?;
    if !nsfs::is_network_namespace(&file) {
        return Err(other());
    }
    let id = nsfs::id(&file).map_err(failed)?.ok_or_else(other)?;
    Ok((id, file.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vanished_namespace_has_its_own_error() {
        let mut handle = NetNsHandle::new(NetNs::new(1).expect("it is not 0"));
        handle.sources.push(NetNsSource::Task {
            pid: u32::MAX,
            tid: u32::MAX,
        });
        // The right file, but another namespace.
        handle
            .sources
            .push(NetNsSource::Path("/proc/self/ns/net".into()));
        let error = handle.enter(|| ()).expect_err("no such namespace");
        assert!(
            matches!(error, NetNsError::Vanished(id) if id.get() == 1),
            "{error}"
        );
    }
}
