//! Finds one network namespace: by its number, its file, or the name that `ip netns` knows.

use std::io;
use std::path::Path;

use tcpclose_core::types::NetNs;

use super::error::NetNsError;
use super::handle::NetNsHandle;
use super::scan::scan;

/// Where iproute2 keeps named namespaces (ip-netns(8)), and where it does on hosts without `/run`.
const NAMED: [&str; 2] = ["/run/netns", "/var/run/netns"];

/// Returns the namespace with this number, if [`scan`] finds it.
///
/// # Errors
/// [`NetNsError::NotFound`].
pub fn by_inode(id: NetNs) -> Result<NetNsHandle, NetNsError> {
    let found = scan().namespaces;
    found
        .into_iter()
        .find(|handle| handle.id() == id)
        .ok_or(NetNsError::NotFound(id))
}

/// Returns the namespace that this file refers to: `/proc/PID/ns/net`, `/run/netns/NAME`, or any
/// other mount of it.
///
/// # Errors
/// The file cannot be opened, or is something else.
pub fn by_path(path: &Path) -> Result<NetNsHandle, NetNsError> {
    NetNsHandle::of_file(path)
}

/// Returns the namespace that `ip netns` knows by this name.
///
/// # Errors
/// There is none of that name, or its file cannot be opened.
pub fn by_name(name: &str) -> Result<NetNsHandle, NetNsError> {
    let unknown = || NetNsError::UnknownName(name.into());
    if name.contains('/') || matches!(name, "" | "." | "..") {
        return Err(unknown());
    }
    for directory in NAMED {
        match by_path(&Path::new(directory).join(name)) {
            Err(NetNsError::Open(_, error)) if error.kind() == io::ErrorKind::NotFound => {}
            other => return other,
        }
    }
    Err(unknown())
}

/// Returns the namespace that a user means with PATH, INODE or NAME: a path has a slash, an inode
/// is a number and not the name of a namespace.
///
/// # Errors
/// As [`by_path`], [`by_inode`] and [`by_name`].
pub fn by_user(words: &str) -> Result<NetNsHandle, NetNsError> {
    if words.contains('/') {
        return by_path(Path::new(words));
    }
    match (by_name(words), words.parse().ok().and_then(NetNs::new)) {
        (Err(NetNsError::UnknownName(_)), Some(inode)) => by_inode(inode),
        (named, _) => named,
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::kernel::netns::current;

    #[test]
    fn the_caller_s_namespace_needs_no_rights_to_work_in() {
        let own = by_path(Path::new("/proc/thread-self/ns/net")).expect("the own namespace");
        assert_eq!(current().expect("/proc is mounted"), own.id());
        let caller = thread::current().id();
        assert_eq!(
            own.enter(|| thread::current().id()).expect("entered"),
            caller
        );
    }

    #[test]
    fn what_is_no_network_namespace_is_said_to_be_none() {
        for path in ["/proc/self/ns/mnt", "/dev/null", "/"] {
            let error = by_path(Path::new(path)).expect_err("no network namespace");
            assert!(matches!(error, NetNsError::NotANetNs(_)), "{path}: {error}");
        }
    }

    #[test]
    fn names_cannot_leave_their_directory() {
        for name in ["", ".", "..", "../../proc/self/ns/net"] {
            assert!(matches!(by_name(name), Err(NetNsError::UnknownName(_))));
        }
    }
}
