//! Files of the file system nsfs, each of which is a namespace (ioctl_ns(2)).

#![expect(unsafe_code, reason = "an ioctl that rustix does not have")]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::MetadataExt as _;

use rustix::fs::fstatfs;
use tcpclose_core::types::NetNs;

/// `NSFS_MAGIC` of `linux/magic.h`.
const NSFS_MAGIC: u32 = 0x6e73_6673;

/// `NS_GET_NSTYPE` of `linux/nsfs.h`, since 4.11.
const NS_GET_NSTYPE: libc::Ioctl = 0xb703;

/// Returns whether a file, which need not be open for reading, is in such a file system.
pub(super) fn contains(file: &File) -> io::Result<bool> {
    Ok(fstatfs(file)?.f_type as u32 == NSFS_MAGIC)
}

/// Returns whether such a file is a network namespace.
pub(super) fn is_network_namespace(file: &File) -> bool {
    // SAFETY: this ioctl takes no argument.
    let kind = unsafe { libc::ioctl(file.as_raw_fd(), NS_GET_NSTYPE) };
    kind == libc::CLONE_NEWNET
}

/// Returns the number of a network namespace, given its file. Numbers are 32 bits wide in the
/// kernel (`struct ns_common`).
pub(super) fn id(file: &File) -> io::Result<Option<NetNs>> {
    let inode = file.metadata()?.ino();
    Ok(u32::try_from(inode).ok().and_then(NetNs::new))
}
