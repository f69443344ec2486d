//! Reads the mounts that a process sees: `/proc/PID/mountinfo` (proc_pid_mountinfo(5)).
//!
//! By hand: other people choose the bytes of mount points, and the crate `procfs`, which wants
//! UTF-8, would lose all of a process's mounts to one that is not.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

/// One mount. Its fields are as the kernel writes them, with `\ooo` for space, tab, newline,
/// backslash and `#`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mount<'a> {
    device: &'a [u8],
    root: &'a [u8],
    point: &'a [u8],
    /// The type of its file system.
    pub file_system: &'a [u8],
}

impl<'a> Mount<'a> {
    /// Parses `ID PARENT MAJOR:MINOR ROOT POINT OPTIONS [OPTIONAL...] - TYPE SOURCE OPTIONS`;
    /// `None` for any other line.
    pub fn parse(line: &'a [u8]) -> Option<Self> {
        let mut fields = line.split(|&byte| byte == b' ');
        Some(Self {
            device: fields.nth(2)?,
            root: fields.next()?,
            point: fields.next()?,
            file_system: fields.skip_while(|field| field != b"-").nth(1)?,
        })
    }

    /// Returns the number of its device, which `stat` shows for the files in it.
    pub fn device(&self) -> Option<u64> {
        let (major, minor) = std::str::from_utf8(self.device).ok()?.split_once(':')?;
        Some(rustix::fs::makedev(
            major.parse().ok()?,
            minor.parse().ok()?,
        ))
    }

    /// Returns what is mounted, unescaped: a path inside the file system, `net:[4026532281]` for a
    /// network namespace.
    pub fn root(&self) -> Vec<u8> {
        unescape(self.root)
    }

    /// Returns where it is mounted, unescaped, as the process sees it.
    pub fn point(&self) -> PathBuf {
        PathBuf::from(OsString::from_vec(unescape(self.point)))
    }
}

/// Opens a process's mountinfo. For a process that has exited the kernel returns EINVAL here
/// (`mounts_open_common` in `fs/proc_namespace.c`), which becomes ESRCH, as with the other files of
/// a process.
pub(crate) fn open(path: &Path) -> io::Result<BufReader<File>> {
    match File::open(path) {
        Ok(file) => Ok(BufReader::new(file)),
        Err(error) if error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => {
            Err(Errno::SRCH.into())
        }
        Err(error) => Err(error),
    }
}

/// Calls `each` with every mount.
pub(crate) fn read(mut mountinfo: impl BufRead, mut each: impl FnMut(Mount<'_>)) -> io::Result<()> {
    let mut line = Vec::new();
    while mountinfo.read_until(b'\n', &mut line)? > 0 {
        if let Some(mount) = Mount::parse(line.trim_ascii_end()) {
            each(mount);
        }
        line.clear();
    }
    Ok(())
}

fn unescape(mut field: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(field.len());
    while let [first, rest @ ..] = field {
        field = match rest {
            [
                a @ b'0'..=b'3',
                b @ b'0'..=b'7',
                c @ b'0'..=b'7',
                after @ ..,
            ] if *first == b'\\' => {
                plain.push(((a - b'0') << 6) | ((b - b'0') << 3) | (c - b'0'));
                after
            }
            _ => {
                plain.push(*first);
                rest
            }
        };
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_read_whatever_their_optional_fields() {
        let text = "\
22 28 0:21 / /proc rw,nosuid shared:12 - proc proc rw
419 26 0:4 net:[4026532400] /run/docker/netns/1-ab\\040c\\134 rw - nsfs nsfs rw
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:9 master:1 - cgroup2 cgroup2 rw
";
        let mut mounts = Vec::new();
        read(text.as_bytes(), |mount| {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            mounts.push((
                mount.device(),
                text(&mount.root()),
                mount.point(),
                text(mount.file_system),
            ));
        })
        .expect("memory is readable");
        let mount = |minor, root: &str, point: &str, file_system: &str| {
            let device = Some(rustix::fs::makedev(0, minor));
            (device, root.into(), point.into(), file_system.into())
        };
        assert_eq!(
            mounts,
            [
                mount(21, "/", "/proc", "proc"),
                mount(4, "net:[4026532400]", "/run/docker/netns/1-ab c\\", "nsfs"),
                mount(38, "/", "/sys/fs/cgroup/unified", "cgroup2"),
            ]
        );
    }

    #[test]
    fn a_mount_point_that_is_not_utf_8_does_not_affect_others() {
        let mut points = Vec::new();
        let text = b"1 2 0:4 / /a\xff rw - nsfs nsfs rw\n1 2 0:4 / /b rw - nsfs nsfs rw\n";
        read(&text[..], |mount| points.push(mount.point())).expect("memory is readable");
        assert_eq!(points.len(), 2);
        assert_eq!(points[1], Path::new("/b"));
    }

    #[test]
    fn a_truncated_line_is_skipped() {
        let line = b"418 26 0:4 net:[4026532281] /run/netns/blue rw shared:220 - nsfs nsfs rw";
        let file_system = line.iter().position(|&byte| byte == b'-').unwrap() + 2;
        for end in 0..file_system {
            assert_eq!(Mount::parse(&line[..end]), None, "{end}");
        }
    }

    #[test]
    fn a_non_numeric_device_is_skipped() {
        let mount = Mount::parse(b"1 2 0:x / /a rw - cgroup2 a rw").expect("a mount");
        assert_eq!(mount.device(), None);
    }
}
