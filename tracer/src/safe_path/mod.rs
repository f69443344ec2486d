//! Opens the files that the program writes, and its configuration, never through a link that a
//! stranger has placed.
//!
//! The program often runs as root and writes to paths in folders such as /tmp, where every user may
//! place names. Not all kernels protect such folders (`fs.protected_symlinks`), and none protects a
//! folder that belongs to another user.
//!
//! A link is followed, and an existing file is written to, if it belongs to root or to the user of
//! this process, or if its folder is one in which only those two may place names. Hard links count,
//! too: in other folders, a file or link of root with a second name may have been placed by anyone.

mod socket;

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path};

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, PROC_SUPER_MAGIC, Stat, fstat, fstatfs, mkdirat, openat,
    readlinkat, renameat, statat, unlinkat,
};
use rustix::io::Errno;
use thiserror::Error;

use crate::escape::push_for_terminal;
pub(crate) use socket::BoundSocket;

/// Which links are followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trust {
    /// Those that the user of the process or root has placed: to write.
    Own,
    /// Also those of other users in folders of their own, as the kernel does with
    /// `fs.protected_symlinks`: to read a file of a user who has named it.
    Protected,
}

/// The kernel's own limit for one path (`MAXSYMLINKS`).
const MAX_LINKS: usize = 40;

/// The mode of folders that are created.
const FOLDER_MODE: Mode = Mode::from_raw_mode(0o755);

/// What a stranger has placed. The message does not name the path.
#[derive(Debug, Error)]
enum Untrusted {
    #[error(
        "the path leads through the link {name}, which user {uid} placed in a folder that others \
         may write to: remove the link, or choose another path"
    )]
    Link { name: String, uid: u32 },
    #[error(
        "the file belongs to user {uid}, in a folder that others may write to: remove it, or \
         choose another path"
    )]
    File { uid: u32 },
    #[error(
        "the file has several names, in a folder that others may write to, so it may be anybody's \
         link to another file: remove it, or choose another path"
    )]
    ManyNames,
}

impl From<Untrusted> for io::Error {
    fn from(untrusted: Untrusted) -> Self {
        Self::new(io::ErrorKind::PermissionDenied, untrusted)
    }
}

/// The place of a file: a folder that is open, and a name in it. All links of the path have been
/// followed.
#[derive(Debug)]
pub(crate) struct ResolvedPath {
    folder: OwnedFd,
    name: OsString,
    /// Whether the folder is one of procfs: the links there are the kernel's, such as
    /// /proc/self/fd/1, and cannot be followed by their text.
    is_in_proc: bool,
}

impl ResolvedPath {
    /// Follows a path. Its last name need not exist.
    ///
    /// # Errors
    /// A folder does not exist or may not be entered, or a stranger has placed a link in the path.
    pub fn find(path: &Path) -> io::Result<Self> {
        let Some(place) = walk(path, false, Trust::Own)?.1 else {
            return Err(Errno::ISDIR.into());
        };
        Ok(place)
    }

    /// Returns whether a link of procfs leads to the file, which a process has open.
    pub fn is_in_proc(&self) -> bool {
        self.is_in_proc
    }

    /// Opens the file. `O_NOFOLLOW` and `O_CLOEXEC` are added to `flags`.
    ///
    /// # Errors
    /// The file cannot be opened, or a stranger has placed it.
    pub fn open(&self, flags: OFlags, mode: Mode) -> io::Result<File> {
        let flags = flags | self.no_follow() | OFlags::CLOEXEC;
        let file = openat(&self.folder, &self.name, flags, mode)?;
        if !self.is_in_proc {
            check(&fstat(&file)?, &fstat(&self.folder)?)?;
        }
        Ok(File::from(file))
    }

    fn no_follow(&self) -> OFlags {
        match self.is_in_proc {
            true => OFlags::empty(),
            false => OFlags::NOFOLLOW,
        }
    }

    /// Returns what is there now; `None` if there is nothing.
    fn stat(&self) -> io::Result<Option<Stat>> {
        match statat(&self.folder, &self.name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Checks that no stranger has placed the file, without opening it.
    pub fn check(&self) -> io::Result<()> {
        if let Some(stat) = self.stat()?
            && !self.is_in_proc
        {
            check(&stat, &fstat(&self.folder)?)?;
        }
        Ok(())
    }

    /// Renames the file: a suffix is added to its name. Replaces an older file of that name.
    pub fn add_suffix(&self, suffix: &str) -> io::Result<()> {
        let mut name = self.name.clone();
        name.push(suffix);
        Ok(renameat(&self.folder, &self.name, &self.folder, &name)?)
    }

    /// Returns the place beside this one whose name has a suffix added.
    ///
    /// # Errors
    /// The process may have no more descriptors.
    pub fn with_suffix(&self, suffix: &str) -> io::Result<Self> {
        let mut name = self.name.clone();
        name.push(suffix);
        Ok(Self {
            folder: self.folder.try_clone()?,
            name,
            is_in_proc: self.is_in_proc,
        })
    }

    /// Renames the file to the name of a place beside it, whose file it replaces.
    ///
    /// # Errors
    /// The folder may not be written to, or the names are on two file systems.
    pub fn rename_to(&self, other: &Self) -> io::Result<()> {
        Ok(renameat(
            &self.folder,
            &self.name,
            &other.folder,
            &other.name,
        )?)
    }

    /// Creates the file, which must not exist before: a file that was left behind is removed.
    ///
    /// # Errors
    /// The folder may not be written to.
    pub fn create_anew(&self, mode: Mode) -> io::Result<File> {
        self.remove_any()?;
        self.open(OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL, mode)
    }

    /// Removes whatever file is there now.
    pub fn remove_any(&self) -> io::Result<()> {
        match unlinkat(&self.folder, &self.name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Removes the file if it is still the one that is open.
    pub fn remove(&self, open: &File) -> io::Result<()> {
        let (open, named) = (fstat(open)?, self.stat()?);
        if named.is_some_and(|named| (named.st_dev, named.st_ino) == (open.st_dev, open.st_ino)) {
            unlinkat(&self.folder, &self.name, AtFlags::empty())?;
        }
        Ok(())
    }
}

/// Makes a folder and those above it, where they do not exist. Follows no link of a stranger.
/// Returns whether only root and the user of this process may place names in the folder.
pub(crate) fn create_folders(path: &Path) -> io::Result<bool> {
    let (folder, _) = walk(path, true, Trust::Own)?;
    Ok(is_private(&fstat(&folder)?))
}

/// Opens a file to read it. Links of strangers in folders that all users may write to are not
/// followed.
pub(crate) fn open_to_read(path: &Path, flags: OFlags) -> io::Result<File> {
    let (folder, place) = walk(path, false, Trust::Protected)?;
    let Some(place) = place else {
        return Ok(openat(&folder, c".", flags | OFlags::CLOEXEC, Mode::empty())?.into());
    };
    let flags = flags | place.no_follow() | OFlags::CLOEXEC;
    Ok(openat(&place.folder, &place.name, flags, Mode::empty())?.into())
}

/// Follows a path from one name to the next, each in the folder that is open. Returns the last
/// folder and, unless the path ends with a folder, the place of the file.
fn walk(
    path: &Path,
    creates_folders: bool,
    trust: Trust,
) -> io::Result<(OwnedFd, Option<ResolvedPath>)> {
    let mut folder = open_folder(CWD, OsStr::new("."), OFlags::empty())?;
    let mut names = reversed(path);
    let mut links = 0;
    while let Some(name) = names.pop() {
        let is_last = names.is_empty();
        if matches!(name.as_bytes(), b"/" | b"..") {
            folder = open_folder(folder.as_fd(), &name, OFlags::empty())?;
            continue;
        }
        let file_type = match statat(&folder, &name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Some(FileType::from_raw_mode(stat.st_mode)),
            Err(Errno::NOENT) => None,
            Err(error) => return Err(error.into()),
        };
        let is_in_proc = fstatfs(&folder)?.f_type == PROC_SUPER_MAGIC;
        match file_type {
            Some(FileType::Symlink) if !is_in_proc => {
                links += 1;
                if links > MAX_LINKS {
                    return Err(Errno::LOOP.into());
                }
                names.extend(reversed(Path::new(&read_link(&folder, &name, trust)?)));
            }
            None if creates_folders => {
                match mkdirat(&folder, &name, FOLDER_MODE) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(error) => return Err(error.into()),
                }
                folder = open_folder(folder.as_fd(), &name, OFlags::NOFOLLOW)?;
            }
            Some(FileType::Directory) => {
                folder = open_folder(folder.as_fd(), &name, OFlags::NOFOLLOW)?;
            }
            _ if is_last && !creates_folders => {
                let place = ResolvedPath {
                    folder: folder.try_clone()?,
                    name,
                    is_in_proc,
                };
                return Ok((folder, Some(place)));
            }
            _ => folder = open_folder(folder.as_fd(), &name, OFlags::empty())?,
        }
    }
    Ok((folder, None))
}

fn open_folder(at: impl std::os::fd::AsFd, name: &OsStr, flags: OFlags) -> io::Result<OwnedFd> {
    let flags = flags | OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(openat(at, name, flags, Mode::empty())?)
}

/// Returns the names of a path, the last one first.
fn reversed(path: &Path) -> Vec<OsString> {
    let names = path.components().rev();
    names
        .filter(|name| !matches!(name, Component::CurDir))
        .map(|name| name.as_os_str().to_owned())
        .collect()
}

/// Reads a link that no stranger has placed.
fn read_link(folder: &OwnedFd, name: &OsStr, trust: Trust) -> io::Result<OsString> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let link = openat(folder, name, flags, Mode::empty())?;
    let (stat, folder) = (fstat(&link)?, fstat(folder)?);
    let is_protected = |folder: &Stat| {
        let is_open_to_all = Mode::from_raw_mode(folder.st_mode).contains(Mode::WOTH);
        !is_open_to_all || folder.st_uid == stat.st_uid
    };
    let is_trusted = trust == Trust::Protected && is_protected(&folder);
    if !is_trusted && check(&stat, &folder).is_err() {
        let mut shown = String::new();
        push_for_terminal(&mut shown, name.as_bytes());
        let uid = stat.st_uid;
        return Err(Untrusted::Link { name: shown, uid }.into());
    }
    // An empty path means the link that is open: what was checked is what is read.
    let target = readlinkat(&link, c"", Vec::new())?;
    Ok(OsStr::from_bytes(target.as_bytes()).to_owned())
}

/// Checks that no stranger has placed this file or link in this folder.
fn check(entry: &Stat, folder: &Stat) -> Result<(), Untrusted> {
    if is_private(folder) {
        return Ok(());
    }
    if !is_ours(entry) {
        return Err(Untrusted::File { uid: entry.st_uid });
    }
    match entry.st_nlink {
        0 | 1 => Ok(()),
        _ => Err(Untrusted::ManyNames),
    }
}

/// Returns whether only root and the user of this process may place names in a folder.
fn is_private(folder: &Stat) -> bool {
    is_ours(folder) && !others_may_write(folder)
}

fn is_ours(stat: &Stat) -> bool {
    stat.st_uid == 0 || stat.st_uid == rustix::process::geteuid().as_raw()
}

fn others_may_write(folder: &Stat) -> bool {
    Mode::from_raw_mode(folder.st_mode).intersects(Mode::WGRP | Mode::WOTH)
}
