//! Finds all network namespaces of the host.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::io;
use std::mem;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::handle::{NetNsHandle, NetnsSource, current, parse_link};
use crate::host::mountinfo::{self, Mount};
use crate::host::proc_dir::is_gone;
use tcpclose_core::types::NetNs;

/// Paths to one namespace that are kept, in case the process or mount behind the first is gone when
/// it is entered.
const MAX_SOURCES: usize = 4;

/// The most paths through tasks, so that there is room for mounts, which outlive tasks.
const MAX_TASKS: usize = 2;

/// Processes of one mount namespace that are tried for their mountinfo.
const MAX_WITNESSES: usize = 3;

/// Number of the initial pid namespace: `PROC_PID_INIT_INO` of `include/linux/proc_ns.h`, now in
/// `linux/nsfs.h`.
const INITIAL_PID_NS: u32 = 0xEFFF_FFFC;

/// The network namespaces of a host.
#[derive(Debug, Default)]
pub struct NetnsScan {
    /// Each namespace once, the caller's own first.
    pub namespaces: Vec<NetNsHandle>,
    /// Where there may be more.
    pub gaps: Vec<ScanGap>,
}

/// What could not be read, though it may lead to namespaces.
#[derive(Debug)]
pub struct ScanGap {
    /// What should have been read.
    pub target: ScanTarget,
    /// Why the kernel refused.
    pub reason: io::Error,
}

/// What is read to find namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ScanTarget {
    /// All of `/proc`.
    Proc,
    /// Processes that `/proc` does not show to the caller (mounted with `hidepid=`).
    HiddenProcesses,
    /// Processes outside the caller's pid namespace.
    OtherPidNamespaces,
    /// The namespaces of this process.
    Process(u32),
    /// The mounts that this process sees, and others of the same mount namespace.
    Mounts(u32),
}

impl fmt::Display for ScanGap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.target {
            ScanTarget::Proc if self.reason.kind() == io::ErrorKind::NotFound => f.write_str(
                "/proc is not mounted: no network namespace is seen but the own, and nobody who holds a socket; mount \
                 it (mount -t proc proc /proc)",
            ),
            ScanTarget::Proc => write!(f, "/proc cannot be read ({})", self.reason),
            ScanTarget::HiddenProcesses => f.write_str(
                "/proc hides processes (hidepid): run as root, or with CAP_SYS_PTRACE; where it is mounted with \
                 hidepid=ptraceable, only another mount of it shows all",
            ),
            ScanTarget::OtherPidNamespaces => f.write_str(
                "processes outside this container are not visible: run in the host's pid namespace \
                 (docker: --pid=host)",
            ),
            ScanTarget::Process(pid) => write!(
                f,
                "the network namespace of process {pid} cannot be read ({}): run as root, or with \
                 CAP_SYS_PTRACE",
                self.reason
            ),
            ScanTarget::Mounts(pid) => write!(
                f,
                "namespaces mounted in the mount namespace of process {pid} cannot be listed ({})",
                self.reason
            ),
        }
    }
}

/// Finds every network namespace that a process lives in or that is mounted somewhere, without
/// entering or opening any.
///
/// It costs two readlink calls a process (which network namespace, which mount namespace), one for
/// each further thread, and one mountinfo for each mount namespace.
///
/// A namespace that only an open descriptor or a socket keeps alive is not found: that would take a
/// readlink for every descriptor of the host.
///
/// A chrooted process's mountinfo shows only what is below its root; so the first process of a
/// mount namespace is read, normally its init.
#[must_use]
pub fn scan() -> NetnsScan {
    scan_below(Path::new("/proc"))
}

/// `proc` is where procfs is mounted.
fn scan_below(proc: &Path) -> NetnsScan {
    let mut scanner = NetnsScanner {
        proc,
        scan: NetnsScan::default(),
        known: HashMap::new(),
        mount_namespaces: BTreeMap::new(),
    };
    // Another file system that is mounted there has no processes.
    if let Err(reason) = fs::symlink_metadata(proc.join("self")) {
        scanner.gap(ScanTarget::Proc, reason);
        return scanner.scan;
    }
    if let (Ok(id), Some(own)) = (current(), NetnsSource::own_thread(proc)) {
        scanner.add(id, own);
    }
    if let Err(reason) = scanner.read_mounts("thread-self/mountinfo", NetnsSource::Path) {
        scanner.gap(ScanTarget::Mounts(std::process::id()), reason);
    }
    scanner.read_processes();
    scanner.read_other_mounts();
    if scanner.read_link("self/ns/pid", "pid").ok() != Some(INITIAL_PID_NS) {
        scanner.gap(ScanTarget::OtherPidNamespaces, denied());
    }
    scanner.scan
}

fn denied() -> io::Error {
    io::ErrorKind::PermissionDenied.into()
}

struct NetnsScanner<'a> {
    proc: &'a Path,
    scan: NetnsScan,
    /// Where each namespace is in `scan.namespaces`.
    known: HashMap<NetNs, usize>,
    /// Some processes of each mount namespace.
    mount_namespaces: BTreeMap<u32, Vec<u32>>,
}

impl NetnsScanner<'_> {
    fn add(&mut self, id: NetNs, source: NetnsSource) {
        let at = *self.known.entry(id).or_insert_with(|| {
            self.scan.namespaces.push(NetNsHandle::new(id));
            self.scan.namespaces.len() - 1
        });
        let sources = &mut self.scan.namespaces[at].sources;
        let room = match source {
            NetnsSource::Task { .. } => MAX_TASKS,
            NetnsSource::Path(_) | NetnsSource::Mount { .. } => MAX_SOURCES,
        };
        if sources.len() < room {
            sources.push(source);
        }
    }

    fn gap(&mut self, target: ScanTarget, reason: io::Error) {
        self.scan.gaps.push(ScanGap { target, reason });
    }

    fn read_link(&self, path: &str, kind: &str) -> io::Result<u32> {
        let link = fs::read_link(self.proc.join(path))?;
        parse_link(link.as_os_str().as_bytes(), kind).ok_or(io::ErrorKind::InvalidData.into())
    }

    fn read_netns(&self, path: &str) -> io::Result<NetNs> {
        NetNs::new(self.read_link(path, "net")?).ok_or(io::ErrorKind::InvalidData.into())
    }

    fn read_processes(&mut self) {
        let entries = match fs::read_dir(self.proc) {
            Ok(entries) => entries,
            Err(reason) => return self.gap(ScanTarget::Proc, reason),
        };
        let mut saw_init = false;
        for entry in entries {
            match entry {
                Ok(entry) => {
                    if let Some(pid) = number(&entry.file_name()) {
                        saw_init |= pid == 1;
                        self.read_process(pid);
                    }
                }
                Err(reason) => return self.gap(ScanTarget::Proc, reason),
            }
        }
        // Every pid namespace that has processes has its init.
        if !saw_init {
            self.gap(ScanTarget::HiddenProcesses, denied());
        }
    }

    fn read_process(&mut self, pid: u32) {
        let read = match self.read_task(pid, pid) {
            Err(error) if is_gone(&error) => self.read_other_tasks(pid, Self::read_task),
            Ok(()) if self.has_threads(pid) => self.read_other_tasks(pid, Self::read_network),
            read => read,
        };
        match read {
            Err(error) if !is_gone(&error) => self.gap(ScanTarget::Process(pid), error),
            Ok(()) | Err(_) => {}
        }
    }

    /// Returns whether a process has more threads than the first: the directory of the threads
    /// counts them among its links (`proc_task_getattr` in `fs/proc/base.c`).
    fn has_threads(&self, pid: u32) -> bool {
        let directory = fs::metadata(self.proc.join(format!("{pid}/task")));
        directory.is_ok_and(|directory| directory.nlink() > 3)
    }

    /// Reads the network namespace of one thread: each may have entered another one.
    fn read_network(&mut self, pid: u32, tid: u32) -> io::Result<()> {
        let id = self.read_netns(&format!("{pid}/task/{tid}/ns/net"))?;
        if !self.known.contains_key(&id) {
            self.add(id, NetnsSource::Task { pid, tid });
        }
        Ok(())
    }

    fn read_task(&mut self, pid: u32, tid: u32) -> io::Result<()> {
        let directory = if tid == pid {
            format!("{pid}/ns")
        } else {
            format!("{pid}/task/{tid}/ns")
        };
        let id = self.read_netns(&format!("{directory}/net"))?;
        self.add(id, NetnsSource::Task { pid, tid });
        let mounts = self.read_link(&format!("{directory}/mnt"), "mnt")?;
        let witnesses = self.mount_namespaces.entry(mounts).or_default();
        if witnesses.len() < MAX_WITNESSES {
            witnesses.push(pid);
        }
        Ok(())
    }

    fn read_other_tasks(
        &mut self,
        pid: u32,
        read: fn(&mut Self, u32, u32) -> io::Result<()>,
    ) -> io::Result<()> {
        for entry in fs::read_dir(self.proc.join(format!("{pid}/task")))? {
            match number(&entry?.file_name()) {
                Some(tid) if tid != pid => match read(self, pid, tid) {
                    Err(error) if is_gone(&error) => {}
                    read => read?,
                },
                _ => {}
            }
        }
        Ok(())
    }

    /// Reads the mounts of the mount namespaces that the caller's thread is not in.
    fn read_other_mounts(&mut self) {
        let own = self.read_link("thread-self/ns/mnt", "mnt").ok();
        let namespaces = mem::take(&mut self.mount_namespaces);
        for (_, witnesses) in namespaces.iter().filter(|(id, _)| Some(**id) != own) {
            for &pid in witnesses {
                let through = |point| NetnsSource::Mount { pid, point };
                match self.read_mounts(&format!("{pid}/mountinfo"), through) {
                    Ok(()) => break,
                    Err(reason) if is_gone(&reason) => {}
                    Err(reason) => {
                        self.gap(ScanTarget::Mounts(pid), reason);
                        break;
                    }
                }
            }
        }
    }

    fn read_mounts(
        &mut self,
        path: &str,
        source: impl Fn(PathBuf) -> NetnsSource,
    ) -> io::Result<()> {
        let file = mountinfo::open(&self.proc.join(path))?;
        mountinfo::read(file, |mount| {
            if let Some(id) = mounted_namespace(&mount) {
                self.add(id, source(mount.point()));
            }
        })
    }
}

/// Returns the network namespace that is mounted.
///
/// Its number is in the mount's root, so that no mount point is touched: that may be on a dead NFS
/// server, or below another mount.
pub(crate) fn mounted_namespace(mount: &Mount<'_>) -> Option<NetNs> {
    // A directory of any file system may be called "net:[1]" too.
    if mount.file_system != b"nsfs" {
        return None;
    }
    parse_link(&mount.root(), "net").and_then(NetNs::new)
}

fn number(name: &OsStr) -> Option<u32> {
    name.to_str()?.parse().ok()
}

#[cfg(test)]
#[path = "scan_tests.rs"]
mod tests;
