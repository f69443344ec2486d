//! Finds one network namespace: by its number, its file, or the name that `ip netns` knows.

use std::io;
use std::path::Path;

use tcpclose_core::types::NetNs;

use super::by_descriptor::{KnownNamespaces, find_by_descriptors};
use super::error::NetNsError;
use super::handle::NetNsHandle;
use super::scan::scan;

/// Where iproute2 keeps named namespaces (ip-netns(8)), and where it does on hosts without `/run`.
const NETNS_DIRS: [&str; 2] = ["/run/netns", "/var/run/netns"];

/// Returns the namespace with this number, if [`scan`] or [`find_by_descriptors`] finds it.
///
/// # Errors
/// [`NetNsError::NotFound`].
pub fn by_inode(id: NetNs) -> Result<NetNsHandle, NetNsError> {
    let found = scan_for(id);
    found
        .into_iter()
        .find(|handle| handle.id() == id)
        .ok_or(NetNsError::NotFound(id))
}

/// Returns all namespaces that [`scan`] finds, and where `wanted` is not among them those that
/// [`find_by_descriptors`] finds.
pub(in crate::kernel) fn scan_for(wanted: NetNs) -> Vec<NetNsHandle> {
    let mut found = scan().namespaces;
    let mut known = KnownNamespaces {
        ids: found.iter().map(NetNsHandle::id).collect(),
        ..KnownNamespaces::default()
    };
    if !known.ids.contains(&wanted) {
        found.extend(find_by_descriptors(&mut known, &[]).namespaces);
    }
    found
}

/// Returns the namespace that this file refers to: `/proc/PID/ns/net`, `/run/netns/NAME`, or any
/// other mount of it.
///
/// # Errors
/// The file cannot be opened, or is something else.
pub fn by_path(path: &Path) -> Result<NetNsHandle, NetNsError> {
    NetNsHandle::from_file(path)
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
    for directory in NETNS_DIRS {
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
pub fn by_spec(spec: &str) -> Result<NetNsHandle, NetNsError> {
    if spec.contains('/') {
        return by_path(Path::new(spec));
    }
    match (by_name(spec), spec.parse().ok().and_then(NetNs::new)) {
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
    fn a_file_that_is_not_a_network_namespace_is_refused() {
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
