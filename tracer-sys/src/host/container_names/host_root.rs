//! Reads files below a root directory, and never outside of it.

use std::fs::{self, File};
use std::io::Read as _;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, OFlags, RawDir, ResolveFlags, fstat, openat, openat2};

/// The root of process 1: the host's, for a process in a container with the host's pid namespace.
const ROOT_OF_INIT: &str = "/proc/1/root";

/// A root directory.
#[derive(Debug)]
pub(super) struct HostRoot(OwnedFd);

impl HostRoot {
    /// Opens this process's root, and that of process 1 where it is another one and may be read.
    pub(super) fn all() -> Vec<Self> {
        let identity = |path: &str| {
            let metadata = fs::metadata(path).ok()?;
            Some((metadata.dev(), metadata.ino()))
        };
        let own = Self::open(Path::new("/"));
        let is_other = identity(ROOT_OF_INIT).is_some_and(|init| Some(init) != identity("/"));
        let of_init = if is_other {
            Self::open(Path::new(ROOT_OF_INIT))
        } else {
            None
        };
        own.into_iter().chain(of_init).collect()
    }

    pub(super) fn open(path: &Path) -> Option<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        openat(CWD, path, flags, Mode::empty()).ok().map(Self)
    }

    /// Reads the regular file at `name` below `directory`; `None` where there is none, or where it
    /// is longer than `limit`.
    ///
    /// The way to the directory may have links, as administrators move such directories to other
    /// disks; they count from this root. No link is followed below it: a process that can write
    /// there must not choose what is read.
    pub(super) fn read(&self, directory: &str, name: &str, limit: u64) -> Option<Vec<u8>> {
        let directory = self.directory(directory, OFlags::PATH)?;
        // NONBLOCK: a FIFO in place of the file must not block.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let resolve =
            ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let file = openat2(&directory, name, flags, Mode::empty(), resolve).ok()?;
        let stat = fstat(&file).ok()?;
        let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        if !is_file || u64::try_from(stat.st_size).ok()? > limit {
            return None;
        }
        let mut bytes = Vec::new();
        // It may grow meanwhile.
        File::from(file)
            .take(limit + 1)
            .read_to_end(&mut bytes)
            .ok()?;
        (bytes.len() as u64 <= limit).then_some(bytes)
    }

    /// Calls `found` with the name of each entry of a directory, at most `limit` of them. Names
    /// that are not UTF-8 are left out.
    pub(super) fn list(&self, directory: &str, limit: usize, mut found: impl FnMut(&str)) {
        let Some(directory) = self.directory(directory, OFlags::RDONLY) else {
            return;
        };
        let mut buffer = [MaybeUninit::uninit(); 8192];
        let mut entries = RawDir::new(&directory, &mut buffer);
        let mut left = limit;
        while let Some(Ok(entry)) = entries.next() {
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            if left == 0 {
                return;
            }
            left -= 1;
            if let Ok(name) = name.to_str() {
                found(name);
            }
        }
    }

    fn directory(&self, path: &str, access: OFlags) -> Option<OwnedFd> {
        let flags = access | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        openat2(&self.0, path, flags, Mode::empty(), resolve).ok()
    }
}
