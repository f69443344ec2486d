//! The file of a recording or a report, from its check to its first byte.

use std::fs::{File, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use rustix::fs::{Mode, OFlags, fcntl_setfl};

use crate::safe_path::ResolvedPath;

/// Only the owner may read it, as it shows who connects to whom.
const FILE_MODE: u32 = 0o600;

/// What is added to the name of an older recording that is moved aside.
pub const OLD_SUFFIX: &str = ".old";

/// What becomes of a file that exists. Pipes and devices are written to in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IfExists {
    /// It is refused.
    Refuse,
    /// It is overwritten.
    Overwrite,
    /// It is renamed: [`OLD_SUFFIX`] is added to its name, and replaces an older one of that name.
    MoveAside,
}

/// A file that is open, locked, and still as it was.
#[derive(Debug)]
pub(crate) struct Destination {
    place: ResolvedPath,
    file: File,
    kind: Kind,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    /// A file that was created here, and is removed if the recording never begins.
    New,
    Overwritten,
    MovedAside,
    /// A pipe or a device.
    Stream,
    /// The recording has begun.
    Begun,
}

impl Destination {
    /// Opens or creates the file, without waiting for a reader or another program.
    pub fn prepare(path: &Path, if_exists: IfExists) -> io::Result<Self> {
        let place = ResolvedPath::find(path)?;
        let (file, kind) = match create(&place) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                open_existing(&place, if_exists)?
            }
            created => (created?, Kind::New),
        };
        Ok(Self { place, file, kind })
    }

    /// Returns the file, which is now empty and whose owner alone may read it.
    pub fn begin(mut self) -> io::Result<File> {
        match self.kind {
            Kind::Overwritten => {
                let only_owner = Permissions::from_mode(FILE_MODE);
                self.file.set_permissions(only_owner)?;
                self.file.set_len(0)?;
            }
            Kind::MovedAside => {
                self.place.add_suffix(OLD_SUFFIX)?;
                self.file = create(&self.place)?;
            }
            Kind::New | Kind::Stream | Kind::Begun => {}
        }
        self.kind = Kind::Begun;
        self.file.try_clone()
    }
}

impl Drop for Destination {
    fn drop(&mut self) {
        if let Kind::New = self.kind {
            // A start that fails leaves nothing behind.
            let _ = self.place.remove(&self.file);
        }
    }
}

fn open_existing(place: &ResolvedPath, if_exists: IfExists) -> io::Result<(File, Kind)> {
    // Without O_NONBLOCK, opening a pipe would wait for its reader.
    let file = place.open(OFlags::WRONLY | OFlags::NONBLOCK, Mode::empty());
    let file = file.map_err(|error| match error.raw_os_error() {
        Some(libc::ENXIO) => io::Error::other("no process reads from this pipe"),
        _ => error,
    })?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        // The thread that writes may block.
        fcntl_setfl(&file, OFlags::empty())?;
        return Ok((file, Kind::Stream));
    }
    lock(&file)?;
    let owner = metadata.uid();
    match if_exists {
        // The shell has made the file: `record /dev/stdout >FILE`.
        _ if place.is_in_proc() => Ok((file, Kind::Overwritten)),
        IfExists::Refuse => Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "the file exists; name another one, or overwrite it with --force",
        )),
        // Its owner could read what is written.
        IfExists::Overwrite if owner != rustix::process::geteuid().as_raw() => {
            let message = format!(
                "the file belongs to user {owner}, who could read what is written; remove it, or \
                 name another one"
            );
            Err(io::Error::new(io::ErrorKind::PermissionDenied, message))
        }
        IfExists::Overwrite => Ok((file, Kind::Overwritten)),
        IfExists::MoveAside => Ok((file, Kind::MovedAside)),
    }
}

/// Creates and locks a file.
fn create(place: &ResolvedPath) -> io::Result<File> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
    let file = place.open(flags, Mode::from_raw_mode(FILE_MODE))?;
    lock(&file)?;
    Ok(file)
}

fn lock(file: &File) -> io::Result<()> {
    file.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => {
            io::Error::other("another program writes to it; stop that one, or name another file")
        }
        TryLockError::Error(error) => error,
    })
}
