//! Reads which namespaces a process is in, from the links below `/proc/PID/ns` (namespaces(7)).

use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::{fs, io};

/// Number of the initial pid namespace: `PROC_PID_INIT_INO` of `include/linux/proc_ns.h`, now in
/// `linux/nsfs.h`. It is the same on every kernel.
pub(crate) const INITIAL_PID_NS: u32 = 0xEFFF_FFFC;

/// Number of the initial user namespace: `PROC_USER_INIT_INO`, as above.
const INITIAL_USER_NS: u32 = 0xEFFF_FFFD;

/// Reads the number of a namespace from a link such as `/proc/self/ns/net`; `kind` is `net` there.
pub(crate) fn read(path: &Path, kind: &str) -> io::Result<u32> {
    let link = fs::read_link(path)?;
    parse(link.as_os_str().as_bytes(), kind).ok_or(io::ErrorKind::InvalidData.into())
}

/// Returns the number in `net:[4026531840]`, for the kind `net`.
pub(crate) fn parse(link: &[u8], kind: &str) -> Option<u32> {
    let number = link
        .strip_prefix(kind.as_bytes())?
        .strip_prefix(b":[")?
        .strip_suffix(b"]")?;
    std::str::from_utf8(number).ok()?.parse().ok()
}

/// Returns whether /proc's ids are those that eBPF programs see: both are of the initial pid
/// namespace. False where that is not known.
#[must_use]
pub fn in_initial_pid_namespace() -> bool {
    read(Path::new("/proc/self/ns/pid"), "pid").is_ok_and(|id| id == INITIAL_PID_NS)
}

/// Returns whether this process is in the host's own user namespace. A /proc without that link
/// counts as yes: kernels without user namespaces have none.
#[must_use]
pub fn in_initial_user_namespace() -> bool {
    read(Path::new("/proc/self/ns/user"), "user").map_or(true, |id| id == INITIAL_USER_NS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_of_another_kind_are_not_taken() {
        assert_eq!(parse(b"net:[4026531840]", "net"), Some(4026531840));
        for wrong in [
            &b"mnt:[1]"[..],
            b"net:[]",
            b"net:[1",
            b"net:[99999999999]",
            b"net",
            b"",
        ] {
            assert_eq!(parse(wrong, "net"), None);
        }
    }
}
