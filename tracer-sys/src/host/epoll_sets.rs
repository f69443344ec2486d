//! Reads the epoll sets of a process, in `/proc/PID/fdinfo`.
//!
//! The kernel lists a set while it holds the set's lock (`ep_show_fdinfo` of fs/eventpoll.c), and
//! starts over with twice the memory until the list fits (`seq_read_iter`): reading a large set
//! holds up the loop that waits on it.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::os::fd::AsFd;

use rustix::fs::{fstat, inotify, major, minor};

use super::proc_dir::ProcDir;
use tcpclose_core::stuck::why::{EpollEvents, EpollSet};

/// The most bytes of a set's list: some 190,000 descriptors.
const MAX_LIST_LEN: u64 = 16 * 1024 * 1024;

/// What distinguishes sockets and other epoll sets among the descriptors in a set.
#[derive(Clone, Copy, Debug)]
pub(super) struct FileKinds {
    /// The device of sockfs, as the kernel prints it.
    sockets: u64,
    /// The device and inode that all anonymous files share.
    anonymous: (u64, u64),
}

/// A line of a set's list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Target {
    fd: u32,
    events: u32,
    inode: u64,
    device: u64,
}

impl FileKinds {
    /// Finds the numbers by files of this process: all sockets are in one file system, whatever
    /// their namespaces are.
    pub(super) fn detect() -> io::Result<Self> {
        let socket = std::os::unix::net::UnixDatagram::unbound()?;
        // Another anonymous file than a set: all have the same inode.
        let anonymous = inotify::init(inotify::CreateFlags::CLOEXEC)?;
        Ok(Self {
            sockets: device_and_inode(socket)?.0,
            anonymous: device_and_inode(anonymous)?,
        })
    }
}

/// Returns the numbers of a file's device and inode; the device's is that of the kernel's own
/// (`MKDEV` of linux/kdev_t.h).
fn device_and_inode(file: impl AsFd) -> io::Result<(u64, u64)> {
    let stat = fstat(file)?;
    let device = (u64::from(major(stat.st_dev)) << 20) | u64::from(minor(stat.st_dev));
    Ok((device, stat.st_ino))
}

/// Reads the sets of these descriptors.
pub(super) fn read(
    process: &ProcDir,
    fds: &[u32],
    kinds: FileKinds,
) -> Result<Vec<EpollSet>, String> {
    let (mut sets, mut nested) = (Vec::new(), HashSet::new());
    for &fd in fds {
        let list = process
            .read_fdinfo(fd, MAX_LIST_LEN)
            .map_err(|error| format!("epoll set {fd} cannot be read: {error}"))?;
        if list.len() as u64 == MAX_LIST_LEN {
            return Err(format!("epoll set {fd} has too many descriptors"));
        }
        let (sockets, others) =
            parse(&list, kinds).ok_or(format!("epoll set {fd} has no inode numbers"))?;
        nested.extend(others);
        sets.push(EpollSet {
            fd,
            sockets,
            is_nested: false,
        });
    }
    for set in &mut sets {
        set.is_nested = nested.contains(&set.fd);
    }
    Ok(sets)
}

/// Sockets by their inodes, with the numbers they were registered under and their events.
type Sockets = BTreeMap<u32, Vec<(u32, EpollEvents)>>;

/// Returns the sockets in a list, and the numbers of what may be other sets. `None` where the
/// kernel gives no inode numbers (before 4.13).
fn parse(list: &[u8], kinds: FileKinds) -> Option<(Sockets, Vec<u32>)> {
    let (mut sockets, mut others) = (Sockets::new(), Vec::new());
    for line in list.split(|byte| *byte == b'\n') {
        if !line.starts_with(b"tfd:") {
            continue;
        }
        let target = parse_target(std::str::from_utf8(line).ok()?)?;
        if target.device == kinds.sockets {
            let registered = (target.fd, EpollEvents(target.events));
            let inode = u32::try_from(target.inode).ok()?;
            sockets.entry(inode).or_default().push(registered);
        } else if (target.device, target.inode) == kinds.anonymous {
            others.push(target.fd);
        }
    }
    Some((sockets, others))
}

/// Parses `tfd: FD events: HEX data: HEX pos:N ino:HEX sdev:HEX`.
fn parse_target(line: &str) -> Option<Target> {
    let field = |name: &str| {
        let (_, rest) = line.split_once(name)?;
        rest.split_ascii_whitespace().next()
    };
    let hex = |name| u64::from_str_radix(field(name)?, 16).ok();
    Some(Target {
        fd: field("tfd:")?.parse().ok()?,
        events: u32::try_from(hex("events:")?).ok()?,
        inode: hex("ino:")?,
        device: hex("sdev:")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const KINDS: FileKinds = FileKinds {
        sockets: 9,
        anonymous: (16, 1033),
    };

    #[test]
    fn sockets_are_distinguished_from_pipes_and_other_sets() {
        // Linux 6.18.
        let list = b"pos:\t0\nflags:\t02000002\nmnt_id:\t17\nino:\t1033\n\
            tfd:        5 events: 80000019 data:                5  pos:0 ino:7347 sdev:9\n\
            tfd:        8 events:       19 data:     7f0000000008  pos:0 ino:7348 sdev:f\n\
            tfd:        9 events: 40000000 data:                9  pos:0 ino:7347 sdev:9\n\
            tfd:        6 events:       19 data:                6  pos:0 ino:409 sdev:10\n";
        let (sockets, others) = parse(list, KINDS).unwrap_or_default();
        let registered = vec![(5, EpollEvents(0x8000_0019)), (9, EpollEvents(0x4000_0000))];
        assert_eq!(sockets, BTreeMap::from([(0x7347, registered)]));
        assert_eq!(others, [6]);
        assert_eq!(parse(b"pos:\t0\n", KINDS), Some((BTreeMap::new(), vec![])));
    }

    #[test]
    fn a_list_without_inodes_is_no_list() {
        let list = b"tfd:        5 events: 80000019 data:                5\n";
        assert_eq!(parse(list, KINDS), None);
        assert_eq!(parse(b"tfd: \xff", KINDS), None);
    }
}
