//! Finds all network namespaces of the host.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::fs;
use std::io;
use std::mem;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::handle::{self, NetNsHandle, NetNsSource, current};
use crate::host::mountinfo::{self, Mount};
use crate::host::namespace_link::{self, INITIAL_PID_NS};
use crate::host::proc_dir::{is_process_gone, numbered_entries};
use tcpclose_core::types::NetNs;

/// Paths to one namespace that are kept, in case the process or mount behind the first is gone when
/// it is entered.
const MAX_SOURCES: usize = 4;

/// The most paths through tasks, so that there is room for mounts, which outlive tasks.
const MAX_TASK_SOURCES: usize = 2;

/// Processes of one mount namespace that are tried for their mountinfo.
const MAX_PROCESSES_PER_MOUNT_NS: usize = 3;

/// The network namespaces of a host.
#[derive(Debug, Default)]
pub struct NetNsScan {
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
    /// The descriptors of this process, and of so many more: [`super::find_by_descriptors`] needs
    /// them.
    Descriptors {
        /// The first process.
        pid: u32,
        /// How many others there are.
        more: usize,
    },
    /// The namespace of a socket, which nothing else is known to lead to.
    NamespaceOfSocket {
        /// The process that holds the socket.
        pid: u32,
        /// Its descriptor.
        fd: u32,
    },
}

impl fmt::Display for ScanGap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.target {
            ScanTarget::Proc if self.reason.kind() == io::ErrorKind::NotFound => f.write_str(
                "/proc is not mounted: only the own network namespace is visible, and no holder of any socket \
                 can be found; mount it (mount -t proc proc /proc)",
            ),
            ScanTarget::Proc => write!(f, "/proc cannot be read ({})", self.reason),
            ScanTarget::HiddenProcesses => f.write_str(
                "/proc hides processes (hidepid): run as root, or with CAP_SYS_PTRACE; where it is mounted with \
                 hidepid=ptraceable, only another mount of it shows all",
            ),
            ScanTarget::OtherPidNamespaces => f.write_str(
                "processes outside this container are not visible, nor are their network namespaces: \
                 run in the host's pid namespace (docker: --pid=host; Kubernetes: hostPID), or name \
                 a network namespace (--netns /proc/self/ns/net)",
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
            ScanTarget::Descriptors { pid, more } => {
                write!(f, "the descriptors of process {pid}")?;
                if more > 0 {
                    write!(f, " and {more} more")?;
                }
                write!(
                    f,
                    " cannot be examined ({}): network namespaces that only they keep alive are not found",
                    self.reason
                )
            }
            ScanTarget::NamespaceOfSocket { pid, fd } => write!(
                f,
                "descriptor {fd} of process {pid} keeps a network namespace alive that nothing else leads to and that \
                 cannot be opened ({}): run as root, or with CAP_NET_ADMIN, CAP_SYS_ADMIN and CAP_SYS_PTRACE",
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
/// A namespace that only an open descriptor or a socket keeps alive is not found: that takes a
/// readlink for every descriptor of the host ([`super::find_by_descriptors`]).
///
/// A chrooted process's mountinfo shows only what is below its root; so the first process of a
/// mount namespace is read, normally its init.
#[must_use]
pub fn scan() -> NetNsScan {
    scan_below(Path::new("/proc"))
}

/// `proc` is where procfs is mounted.
fn scan_below(proc: &Path) -> NetNsScan {
    let mut scanner = NetNsScanner {
        proc,
        scan: NetNsScan::default(),
        known: HashMap::new(),
        mount_namespaces: BTreeMap::new(),
    };
    // Another file system that is mounted there has no processes.
    if let Err(reason) = fs::symlink_metadata(proc.join("self")) {
        scanner.add_gap(ScanTarget::Proc, reason);
        return scanner.scan;
    }
    if let (Ok(id), Some(own)) = (current(), NetNsSource::own_thread(proc)) {
        scanner.add(id, own);
    }
    if let Err(reason) = scanner.read_mounts("thread-self/mountinfo", NetNsSource::Path) {
        scanner.add_gap(ScanTarget::Mounts(std::process::id()), reason);
    }
    scanner.read_processes();
    scanner.read_other_mounts();
    if namespace_link::read(&proc.join("self/ns/pid"), "pid").ok() != Some(INITIAL_PID_NS) {
        scanner.add_gap(ScanTarget::OtherPidNamespaces, denied());
    }
    scanner.scan
}

fn denied() -> io::Error {
    io::ErrorKind::PermissionDenied.into()
}

struct NetNsScanner<'a> {
    proc: &'a Path,
    scan: NetNsScan,
    /// Where each namespace is in `scan.namespaces`.
    known: HashMap<NetNs, usize>,
    /// Some processes of each mount namespace.
    mount_namespaces: BTreeMap<u32, Vec<u32>>,
}

impl NetNsScanner<'_> {
    fn add(&mut self, id: NetNs, source: NetNsSource) {
        let at = *self.known.entry(id).or_insert_with(|| {
            self.scan.namespaces.push(NetNsHandle::new(id));
            self.scan.namespaces.len() - 1
        });
        let sources = &mut self.scan.namespaces[at].sources;
        let room = match source {
            NetNsSource::Task { .. } => MAX_TASK_SOURCES,
            NetNsSource::Path(_)
            | NetNsSource::Mount { .. }
            | NetNsSource::Descriptor { .. }
            | NetNsSource::Socket { .. } => MAX_SOURCES,
        };
        if sources.len() < room {
            sources.push(source);
        }
    }

    fn add_gap(&mut self, target: ScanTarget, reason: io::Error) {
        self.scan.gaps.push(ScanGap { target, reason });
    }

    fn read_netns(&self, path: &str) -> io::Result<NetNs> {
        handle::read_netns(&self.proc.join(path))
    }

    fn read_processes(&mut self) {
        let pids = match numbered_entries(self.proc) {
            Ok(pids) => pids,
            Err(reason) => return self.add_gap(ScanTarget::Proc, reason),
        };
        let mut saw_init = false;
        for pid in pids {
            match pid {
                Ok(pid) => {
                    saw_init |= pid == 1;
                    self.read_process(pid);
                }
                Err(reason) => return self.add_gap(ScanTarget::Proc, reason),
            }
        }
        // Every pid namespace that has processes has its init.
        if !saw_init {
            self.add_gap(ScanTarget::HiddenProcesses, denied());
        }
    }

    fn read_process(&mut self, pid: u32) {
        let read = match self.read_task(pid, pid) {
            Err(error) if is_process_gone(&error) => self.read_other_tasks(pid, Self::read_task),
            Ok(()) if self.has_threads(pid) => self.read_other_tasks(pid, Self::read_network),
            read => read,
        };
        match read {
            Err(error) if !is_process_gone(&error) => self.add_gap(ScanTarget::Process(pid), error),
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
            self.add(id, NetNsSource::Task { pid, tid });
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
        self.add(id, NetNsSource::Task { pid, tid });
        let mounts = namespace_link::read(&self.proc.join(directory).join("mnt"), "mnt")?;
        let pids = self.mount_namespaces.entry(mounts).or_default();
        if pids.len() < MAX_PROCESSES_PER_MOUNT_NS {
            pids.push(pid);
        }
        Ok(())
    }

    fn read_other_tasks(
        &mut self,
        pid: u32,
        read: fn(&mut Self, u32, u32) -> io::Result<()>,
    ) -> io::Result<()> {
        for tid in numbered_entries(&self.proc.join(format!("{pid}/task")))? {
            let tid = tid?;
            if tid == pid {
                continue;
            }
            match read(self, pid, tid) {
                Err(error) if is_process_gone(&error) => {}
                read => read?,
            }
        }
        Ok(())
    }

    /// Reads the mounts of the mount namespaces that the caller's thread is not in.
    fn read_other_mounts(&mut self) {
        let own = namespace_link::read(&self.proc.join("thread-self/ns/mnt"), "mnt").ok();
        let namespaces = mem::take(&mut self.mount_namespaces);
        for (_, pids) in namespaces.iter().filter(|(id, _)| Some(**id) != own) {
            for &pid in pids {
                let through = |point| NetNsSource::Mount { pid, point };
                match self.read_mounts(&format!("{pid}/mountinfo"), through) {
                    Ok(()) => break,
                    Err(reason) if is_process_gone(&reason) => {}
                    Err(reason) => {
                        self.add_gap(ScanTarget::Mounts(pid), reason);
                        break;
                    }
                }
            }
        }
    }

    fn read_mounts(
        &mut self,
        path: &str,
        source: impl Fn(PathBuf) -> NetNsSource,
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
    namespace_link::parse(&mount.root(), "net").and_then(NetNs::new)
}

#[cfg(test)]
mod tests;
