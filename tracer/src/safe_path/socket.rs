//! Unix sockets at a place: bound and connected to through the folder that is open, so that what
//! was checked is what is used, and so that a long path is no problem (`sun_path` has 108 bytes).

use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::time::Duration;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, chmodat, fstat, renameat, statat, unlinkat};
use rustix::io::Errno;
use socket2::{Domain, SockAddr, Socket, Type};

use super::{ResolvedPath, is_private, open_folder, others_may_write};

/// A user who may write to a socket may connect to it.
const SOCKET_MODE: Mode = Mode::from_raw_mode(0o600);

/// What the name of a socket ends with until it can be used.
const NEW_SUFFIX: &str = ".new";

/// A socket that this process listens on. Its file is removed when this is dropped, if it is still
/// there.
#[derive(Debug)]
pub(crate) struct BoundSocket {
    place: ResolvedPath,
    file: (u64, u64),
}

impl ResolvedPath {
    /// Listens on a unix socket that only its owner may connect to. A socket that is there is
    /// replaced at once; the caller knows that nobody uses it.
    ///
    /// # Errors
    /// Something else is there, or a stranger has placed it, or the socket cannot be made.
    pub fn listen(self, backlog: i32) -> io::Result<(UnixListener, BoundSocket)> {
        self.check_socket()?;
        let mut name = self.name.clone();
        name.push(NEW_SUFFIX);
        let new = Self {
            folder: self.folder.try_clone()?,
            name,
            is_in_proc: self.is_in_proc,
        };
        // Left by an agent that was killed.
        new.check_socket()?;
        match unlinkat(&new.folder, &new.name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.bind(&SockAddr::unix(new.path_through_folder())?)?;
        let ready = || -> io::Result<(u64, u64)> {
            chmodat(&new.folder, &new.name, SOCKET_MODE, AtFlags::empty())?;
            // Nobody can connect before this.
            socket.listen(backlog)?;
            let stat = statat(&new.folder, &new.name, AtFlags::SYMLINK_NOFOLLOW)?;
            renameat(&new.folder, &new.name, &self.folder, &self.name)?;
            Ok((stat.st_dev, stat.st_ino))
        };
        let file = ready().inspect_err(|_| {
            let _ = unlinkat(&new.folder, &new.name, AtFlags::empty());
        })?;
        let listener = UnixListener::from(OwnedFd::from(socket));
        Ok((listener, BoundSocket { place: self, file }))
    }

    /// Connects to the unix socket.
    ///
    /// # Errors
    /// Nobody listens, this user may not connect, or that takes longer than `timeout`.
    pub fn connect(&self, timeout: Duration) -> io::Result<UnixStream> {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.set_write_timeout(Some(timeout))?;
        socket.connect(&SockAddr::unix(self.path_through_folder())?)?;
        Ok(UnixStream::from(OwnedFd::from(socket)))
    }

    /// Returns whether root or the user of this process has given the folder to that user, so that
    /// nobody else can have placed a file in it.
    pub fn is_given_to(&self, uid: u32) -> io::Result<bool> {
        let folder = fstat(&self.folder)?;
        let above = open_folder(&self.folder, "..".as_ref(), OFlags::empty())?;
        let above = fstat(&above)?;
        Ok(folder.st_uid == uid && !others_may_write(&folder) && is_private(&above))
    }

    /// Checks that here is a socket that no stranger has placed, or nothing.
    fn check_socket(&self) -> io::Result<()> {
        self.check()?;
        match self.stat()? {
            Some(stat) if FileType::from_raw_mode(stat.st_mode) != FileType::Socket => {
                let problem = "something else than a socket is there";
                Err(io::Error::new(io::ErrorKind::AlreadyExists, problem))
            }
            _ => Ok(()),
        }
    }

    fn path_through_folder(&self) -> PathBuf {
        let folder = self.folder.as_raw_fd();
        PathBuf::from(format!("/proc/self/fd/{folder}")).join(&self.name)
    }
}

impl Drop for BoundSocket {
    fn drop(&mut self) {
        let ResolvedPath { folder, name, .. } = &self.place;
        let named = statat(folder, name, AtFlags::SYMLINK_NOFOLLOW);
        if named.is_ok_and(|stat| (stat.st_dev, stat.st_ino) == self.file) {
            // What cannot be removed is replaced by the next agent.
            let _ = unlinkat(folder, name, AtFlags::empty());
        }
    }
}
