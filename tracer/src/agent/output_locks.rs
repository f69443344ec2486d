//! Locks for destinations that are not files: they keep a second agent from the same journald,
//! syslog, HTTP or OTLP receiver.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs::{File, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use anyhow::Context as _;
use rustix::fs::{Mode, OFlags};

use crate::output::sink::Target;
use crate::safe_path::{self, ResolvedPath};

/// A file's name has at most 255 bytes (`NAME_MAX`), including the suffix `.lock`.
const MAX_NAME_LEN: usize = 200;

/// A user who may open a lock's file may hold its lock, and so keep the agent from starting.
const MODE: u32 = 0o600;

/// The locks that this agent holds. Its outputs to one destination share a lock, which is released
/// with the last of them.
#[derive(Clone, Debug, Default)]
pub(super) struct OutputLocks(Arc<Mutex<HashMap<String, Weak<File>>>>);

impl OutputLocks {
    /// Takes the lock that an output needs: a file is locked itself, and stdout needs no lock.
    ///
    /// # Errors
    /// Another agent holds the lock, or its file cannot be created.
    pub fn lock_output(
        &self,
        target: &Target,
        directory: &Path,
    ) -> anyhow::Result<Option<Arc<File>>> {
        match target {
            Target::Stdout | Target::File(_) => Ok(None),
            target => self.lock(&target.to_string(), directory).map(Some),
        }
    }

    /// Takes the lock of a destination.
    fn lock(&self, destination: &str, directory: &Path) -> anyhow::Result<Arc<File>> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.retain(|_, lock| lock.strong_count() > 0);
        if let Some(lock) = held.get(destination).and_then(Weak::upgrade) {
            return Ok(lock);
        }
        let lock = Arc::new(lock(destination, directory)?);
        held.insert(destination.to_owned(), Arc::downgrade(&lock));
        Ok(lock)
    }
}

/// Takes the lock of a destination in a directory, which exists.
///
/// # Errors
/// Another agent holds the lock, or its file cannot be created.
pub(super) fn lock(destination: &str, directory: &Path) -> anyhow::Result<File> {
    let path = directory.join(file_name(destination));
    let failed = || {
        format!(
            "its lock {} cannot be taken (set run_directory)",
            path.display()
        )
    };
    safe_path::create_folders(directory).with_context(failed)?;
    take_lock(&path, failed)
}

/// Opens or creates a lock's file, and takes the lock. `failed` says what else the user can do.
///
/// # Errors
/// Another agent holds the lock, or its file cannot be created.
pub(super) fn take_lock(path: &Path, failed: impl Fn() -> String) -> anyhow::Result<File> {
    let file = open(path).with_context(&failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            anyhow::bail!("another tcpclose agent holds {}", path.display())
        }
        Err(TryLockError::Error(error)) => Err(error).with_context(failed),
    }
}

fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NONBLOCK;
    let file = ResolvedPath::find(path)?.open(flags, Mode::from_raw_mode(MODE))?;
    // An earlier version created it for all users to read.
    if file.metadata()?.permissions().mode() & 0o777 != MODE {
        file.set_permissions(Permissions::from_mode(MODE))?;
    }
    Ok(file)
}

/// Returns a file name that is unique to the destination. Bytes that a file name cannot have, and
/// `_` itself, are written as `_2f`. The end of a long name is replaced by a hash.
fn file_name(destination: &str) -> String {
    let mut name = String::new();
    for byte in destination.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b':' => {
                name.push(char::from(byte));
            }
            _ => {
                let _ = write!(name, "_{byte:02x}");
            }
        }
    }
    if name.len() > MAX_NAME_LEN {
        let hash = fnv1a(destination.as_bytes());
        name.truncate(MAX_NAME_LEN);
        // Escaped names never contain `__`.
        let _ = write!(name, "__{hash:032x}");
    }
    name + ".lock"
}

/// Returns the 128-bit hash FNV-1a (Fowler, Noll, Vo): it stays the same in every version, and two
/// destinations never share one by chance.
fn fnv1a(bytes: &[u8]) -> u128 {
    const FNV_OFFSET_BASIS: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const FNV_PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    bytes.iter().fold(FNV_OFFSET_BASIS, |hash, byte| {
        (hash ^ u128::from(*byte)).wrapping_mul(FNV_PRIME)
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;

    use super::*;

    #[test]
    fn a_lock_is_exclusive_and_is_released_with_its_last_output() {
        let directory = std::env::temp_dir().join(format!("tcpclose-locks-{}", std::process::id()));
        let name = "syslog:unix:/dev/log";
        let locks = OutputLocks::default();
        let held = locks.lock(name, &directory).expect("it is free");
        let shared = locks.lock(name, &directory).expect("it is our own");
        let others = OutputLocks::default();
        let error = others.lock(name, &directory).expect_err("it is held");
        let expected = format!(
            "another tcpclose agent holds {}/syslog:unix:_2fdev_2flog.lock",
            directory.display()
        );
        assert_eq!(error.to_string(), expected);
        others
            .lock("journald", &directory)
            .expect("another output is free");
        drop(held);
        others.lock(name, &directory).expect_err("one has it still");
        drop(shared);
        others.lock(name, &directory).expect("it is free again");
        fs::remove_dir_all(&directory).expect("it is ours");
    }

    #[test]
    fn only_its_owner_may_open_a_lock() {
        let directory = std::env::temp_dir().join(format!("tcpclose-modes-{}", std::process::id()));
        let path = directory.join("run/journald.lock");
        let mode = || {
            fs::metadata(&path)
                .expect("it is there")
                .permissions()
                .mode()
                & 0o777
        };
        let lock = || OutputLocks::default().lock("journald", &directory.join("run"));
        drop(lock().expect("it is free"));
        assert_eq!(mode(), 0o600);
        // As an earlier version left it.
        fs::set_permissions(&path, Permissions::from_mode(0o644)).expect("it is ours");
        drop(lock().expect("it is free"));
        assert_eq!(mode(), 0o600);
        fs::remove_dir_all(&directory).expect("it is ours");
    }

    #[test]
    fn every_destination_has_a_lock_file_whose_name_fits() {
        let long = |end: &str| format!("syslog:unix:/{}{end}", "a/".repeat(200));
        let destinations = [
            "unix:/x/y".to_owned(),
            "unix:/x_y".to_owned(),
            "unix:/x_2fy".to_owned(),
            "unix:_x_y".to_owned(),
            long("b"),
            long("c"),
        ];
        let names: BTreeSet<String> = destinations.iter().map(|it| file_name(it)).collect();
        assert_eq!(names.len(), destinations.len());
        assert!(names.iter().all(|name| name.len() <= 255), "{names:?}");
    }
}
