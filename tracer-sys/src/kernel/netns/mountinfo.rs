//! Mounts of network namespaces in `/proc/PID/mountinfo` (proc_pid_mountinfo(5)).

use std::ffi::OsString;
use std::io::{self, BufRead};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use super::parse_link;
use tcpclose_core::types::NetNs;

/// Calls `found` with each network namespace that is mounted somewhere, and its mount point as the process whose
/// mountinfo it is sees it.
///
/// The namespace's number is the mount's root, `net:[4026532281]`, so that no mount point need be touched: it may be on
/// a dead NFS server, or below another mount.
pub fn read(mut mountinfo: impl BufRead, mut found: impl FnMut(NetNs, PathBuf)) -> io::Result<()> {
    let mut line = Vec::new();
    while mountinfo.read_until(b'\n', &mut line)? > 0 {
        if let Some((id, point)) = parse(line.trim_ascii_end()) {
            found(id, point);
        }
        line.clear();
    }
    Ok(())
}

/// `ID PARENT MAJOR:MINOR ROOT POINT OPTIONS [OPTIONAL...] - TYPE SOURCE OPTIONS`
fn parse(line: &[u8]) -> Option<(NetNs, PathBuf)> {
    let mut fields = line.split(|&byte| byte == b' ');
    let id = NetNs::new(parse_link(fields.nth(3)?, "net")?)?;
    let point = fields.next()?;
    // A directory of any file system may be called "net:[1]" too.
    let kind = fields.skip_while(|field| field != b"-").nth(1)?;
    (kind == b"nsfs").then(|| (id, PathBuf::from(OsString::from_vec(unescape(point)))))
}

/// Undoes the kernel's `\ooo` for space, tab, newline, backslash and `#`.
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
                plain.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
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

    fn mounts(text: &str) -> Vec<(u32, PathBuf)> {
        let mut all = vec![];
        read(text.as_bytes(), |id, point| all.push((id.get(), point))).expect("memory is readable");
        all
    }

    #[test]
    fn named_and_container_namespaces_are_found_among_other_mounts() {
        let text = "\
22 28 0:21 / /proc rw,nosuid shared:12 - proc proc rw
418 26 0:4 net:[4026532281] /run/netns/blue rw shared:220 - nsfs nsfs rw
419 26 0:4 net:[4026532400] /run/docker/netns/1-ab\\040c\\134 rw - nsfs nsfs rw
420 26 0:4 mnt:[4026532500] /run/snapd/ns/x.mnt rw - nsfs nsfs rw
";
        assert_eq!(
            mounts(text),
            [
                (4026532281, PathBuf::from("/run/netns/blue")),
                (4026532400, PathBuf::from("/run/docker/netns/1-ab c\\")),
            ]
        );
    }

    #[test]
    fn a_directory_that_is_called_like_a_namespace_is_none() {
        assert_eq!(mounts("1 2 8:1 net:[7] /mnt rw - ext4 /dev/sda1 rw\n"), []);
    }

    #[test]
    fn a_line_cut_anywhere_is_no_mount() {
        let line = "418 26 0:4 net:[4026532281] /run/netns/blue rw shared:220 - nsfs nsfs rw";
        for end in 0..line.find("nsfs").expect("it is there") + 4 - 1 {
            assert_eq!(mounts(&line[..end]), [], "{end}");
        }
    }
}
