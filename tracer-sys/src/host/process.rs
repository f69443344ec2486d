//! Reads what /proc shows of a process. It chooses its name, executable, command line and cgroup
//! itself: escape them before they are shown.

use std::ffi::CStr;
use std::io;

use super::proc_dir::{ProcDir, stat_field};
use super::systemd_unit::{self, cgroup_path, cgroup_path_v2};
use super::{container, container_names};
use tcpclose_core::process::{Container, Process};
use tcpclose_core::types::StartTime;

/// The most bytes of a command line that are kept: it may be megabytes long.
pub const MAX_COMMAND_LINE_LEN: usize = 4096;

/// More than any of the other files has: a cgroup path for each hierarchy is the longest part.
const MAX_FILE_LEN: u64 = 64 * 1024;

/// Reads what /proc shows of a running process, but for the number of its open descriptors.
///
/// # Errors
/// It does not run, or may not be inspected.
pub fn read_process(pid: u32) -> io::Result<Process> {
    read(&ProcDir::open(pid)?, 0)
}

/// Reads the process's files. Those that cannot be read are left out.
///
/// # Errors
/// The process has exited, or its status has no user.
pub(super) fn read(directory: &ProcDir, open: u64) -> io::Result<Process> {
    let status = directory.read(c"status", MAX_FILE_LEN)?;
    // The name is chopped and escaped there.
    let comm = directory.read(c"comm", MAX_FILE_LEN)?;
    let optional = |name: &CStr| {
        directory
            .read_from_live_task(name, MAX_FILE_LEN)
            .unwrap_or_default()
    };
    let cgroups = String::from_utf8_lossy(&optional(c"cgroup")).into_owned();
    let cgroup = cgroup_path(&cgroups).map(str::to_owned);
    // One more byte shows whether there is more.
    let mut command_line = directory
        .read_from_live_task(c"cmdline", MAX_COMMAND_LINE_LEN as u64 + 1)
        .unwrap_or_default();
    let command_line_cut = command_line.len() > MAX_COMMAND_LINE_LEN;
    command_line.truncate(MAX_COMMAND_LINE_LEN);
    Ok(Process {
        pid: directory.pid,
        started: stat_field(
            &directory.read(c"stat", MAX_FILE_LEN).unwrap_or_default(),
            22,
        )
        .and_then(StartTime::new),
        comm: comm.strip_suffix(b"\n").unwrap_or(&comm).into(),
        uid: real_uid(&status).ok_or(io::ErrorKind::InvalidData)?,
        exe: directory.read_link(c"exe").ok(),
        command_line: command_line.into(),
        command_line_cut,
        open_fds: open,
        fd_limit: descriptor_limit(&optional(c"limits")),
        unit: cgroup.as_deref().and_then(systemd_unit::from_cgroup_path),
        container: container_from_cgroups(&cgroups).map(|mut container| {
            container_names::add_names(&mut container);
            container
        }),
        cgroup_v2: cgroup_path_v2(&cgroups).map(str::to_owned),
        cgroup,
    })
}

pub(crate) fn real_uid(status: &[u8]) -> Option<u32> {
    // The kernel escapes newlines of names, so that no line but the first can be made up.
    let line = status
        .split(|byte| *byte == b'\n')
        .find_map(|line| line.strip_prefix(b"Uid:"))?;
    std::str::from_utf8(line)
        .ok()?
        .split_ascii_whitespace()
        .next()?
        .parse()
        .ok()
}

pub(crate) fn descriptor_limit(limits: &[u8]) -> Option<u64> {
    let limits = std::str::from_utf8(limits).ok()?;
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

/// Returns the container that any of a process's cgroups belongs to: on v1, not every hierarchy has
/// one of the runtime's.
pub(crate) fn container_from_cgroups(cgroups: &str) -> Option<Container> {
    let path = |line: &str| {
        line.splitn(3, ':')
            .nth(2)
            .and_then(container::from_cgroup_path)
    };
    cgroups.lines().rev().find_map(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_is_the_one_that_counts() {
        let limits =
            b"Limit                     Soft Limit           Hard Limit           Units     \n\
            Max cpu time              unlimited            unlimited            seconds   \n\
            Max open files            1024                 524288               files     \n";
        assert_eq!(descriptor_limit(limits), Some(1024));
        assert_eq!(
            descriptor_limit(b"Max open files  unlimited  unlimited  files\n"),
            None
        );
        assert_eq!(descriptor_limit(b""), None);
    }

    #[test]
    fn a_process_name_cannot_fake_the_uid_line() {
        let status = b"Name:\tUid:\\nUid:\t0\nUmask:\t0022\nUid:\t1000\t0\t0\t0\n";
        assert_eq!(real_uid(status), Some(1000));
        assert_eq!(real_uid(b""), None);
    }

    #[test]
    fn arguments_are_split_at_nul() {
        let of = |line: &[u8]| {
            let process = Process {
                command_line: line.into(),
                ..Process::default()
            };
            process.arguments().map(<[u8]>::to_vec).collect::<Vec<_>>()
        };
        assert_eq!(of(b"a\0\0b c\0"), [&b"a"[..], b"", b"b c"]);
        assert_eq!(of(b"nginx: master process"), [b"nginx: master process"]);
        assert_eq!(of(b""), [b""; 0]);
        assert_eq!(of(b"sshd: ann [priv]\0\0\0\0"), [b"sshd: ann [priv]"]);
    }

    #[test]
    fn a_container_is_found_in_any_hierarchy() {
        let id = "9ec39b91f3d70e1beff50a308f77067065ea6be0d91a3378375056cd4422cf3d";
        for text in [
            format!("12:memory:/docker/{id}\n1:name=systemd:/\n0::/\n"),
            format!("0::/system.slice/docker-{id}.scope\n"),
            format!("1:name=systemd:/system.slice/docker-{id}.scope\n0::/x\n"),
        ] {
            let found =
                container_from_cgroups(&text).map(|container| (container.runtime, container.id));
            assert_eq!(found, Some(("docker", id.to_owned())), "{text}");
        }
        assert_eq!(container_from_cgroups("0::/system.slice/a.service\n"), None);
    }

    #[test]
    fn this_process_is_read() -> io::Result<()> {
        let own = read(&ProcDir::open(std::process::id())?, 3)?;
        assert_eq!((own.pid, own.open_fds), (std::process::id(), 3));
        assert_eq!(own.exe.as_deref(), std::env::current_exe().ok().as_deref());
        assert!(own.started.is_some() && !own.comm.is_empty());
        assert_eq!(own.arguments().count(), std::env::args_os().count());
        Ok(())
    }
}
