//! Finds network namespaces that only a descriptor keeps alive: one of the namespace's own file, or
//! one of a socket in it. No process lives in such a namespace, and it is mounted nowhere.
//!
//! What no descriptor refers to is not found: a socket whose message is on its way through a unix
//! socket, or that only io_uring holds, in a namespace that nothing else leads to.

use std::collections::HashSet;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use super::handle::{NetNsHandle, NetNsSource};
use super::scan::{ScanGap, ScanTarget};
use super::socket_descriptor;
use crate::host::descriptor_links::{socket_inode, visit_descriptors_of};
use crate::host::namespace_link;
use crate::host::proc_dir::{is_process_gone, numbered_entries};
use tcpclose_common::SocketDescriptor;
use tcpclose_core::types::NetNs;

/// What is known of the namespaces that were found otherwise, so that their sockets need not be
/// examined.
#[derive(Debug, Default)]
pub struct KnownNamespaces {
    /// The inode numbers of the namespaces.
    pub ids: HashSet<NetNs>,
    /// Their cookies ([`super::cookie`]).
    pub cookies: HashSet<u64>,
    /// Inodes of sockets that are in them.
    pub inodes: HashSet<u32>,
}

impl KnownNamespaces {
    /// Returns what can be known of these namespaces, each of which is entered.
    #[must_use]
    pub fn from_handles(namespaces: &[NetNsHandle]) -> Self {
        let cookie = |handle: &NetNsHandle| handle.enter(super::cookie).ok()?.ok();
        Self {
            ids: namespaces.iter().map(NetNsHandle::id).collect(),
            cookies: namespaces.iter().filter_map(cookie).collect(),
            inodes: HashSet::new(),
        }
    }
}

/// Namespaces that only a socket keeps alive.
#[derive(Debug, Default)]
pub struct NamespacesByDescriptor {
    /// A handle of each namespace, once.
    pub namespaces: Vec<NetNsHandle>,
    /// Where there may be more, and which cannot be opened.
    pub gaps: Vec<ScanGap>,
}

/// Searches the descriptors of all processes, or of these. `known` gets what is found.
///
/// It costs a readlink call for each descriptor, and three calls for each socket that is not known.
/// Opening the namespace of a socket needs `CAP_SYS_PTRACE`, and `CAP_NET_ADMIN` in the user
/// namespace that owns it.
#[must_use]
pub fn find_by_descriptors(known: &mut KnownNamespaces, pids: &[u32]) -> NamespacesByDescriptor {
    let mut search = Search::new(known);
    if pids.is_empty() {
        // What cannot be listed is a gap of the scan.
        let all = numbered_entries(Path::new("/proc"));
        for pid in all.into_iter().flatten().flatten() {
            search.read_process(pid);
        }
    } else {
        pids.iter().for_each(|&pid| search.read_process(pid));
    }
    search.finish()
}

/// As [`find_by_descriptors`], among these descriptors of sockets.
#[must_use]
pub fn find_among_descriptors(
    known: &mut KnownNamespaces,
    sockets: &[SocketDescriptor],
) -> NamespacesByDescriptor {
    let mut search = Search::new(known);
    for of_one in sockets.chunk_by(|one, next| one.pid == next.pid) {
        let mut process = HolderProcess::new(of_one[0].pid);
        for socket in of_one {
            search.read_socket(&mut process, socket.fd, socket.inode);
        }
        search.note_failure(process.pid, process.failure);
    }
    search.finish()
}

/// A process whose sockets are examined.
struct HolderProcess {
    pid: u32,
    /// A pidfd, once it was needed.
    opened: Option<OwnedFd>,
    /// Why a socket could not be examined.
    failure: Option<io::Error>,
}

impl HolderProcess {
    const fn new(pid: u32) -> Self {
        Self {
            pid,
            opened: None,
            failure: None,
        }
    }

    fn copy(&mut self, fd: u32) -> io::Result<OwnedFd> {
        let process = match self.opened.take() {
            Some(process) => process,
            None => socket_descriptor::open_process(self.pid)?,
        };
        socket_descriptor::copy_from(self.opened.insert(process), fd)
    }
}

struct Search<'a> {
    known: &'a mut KnownNamespaces,
    found: NamespacesByDescriptor,
    /// The cookies of namespaces that may not be opened.
    refused: HashSet<u64>,
    /// The first process that could not be examined, why, and the number of all.
    unreadable: Option<(u32, io::Error)>,
    unreadable_count: usize,
}

impl<'a> Search<'a> {
    fn new(known: &'a mut KnownNamespaces) -> Self {
        Self {
            known,
            found: NamespacesByDescriptor::default(),
            refused: HashSet::new(),
            unreadable: None,
            unreadable_count: 0,
        }
    }

    fn finish(mut self) -> NamespacesByDescriptor {
        if let Some((pid, reason)) = self.unreadable {
            self.found.gaps.push(ScanGap {
                target: ScanTarget::Descriptors {
                    pid,
                    more: self.unreadable_count - 1,
                },
                reason,
            });
        }
        self.found
    }

    fn note_failure(&mut self, pid: u32, failure: Option<io::Error>) {
        if let Some(error) = failure.filter(|error| !is_process_gone(error)) {
            self.unreadable_count += 1;
            self.unreadable.get_or_insert((pid, error));
        }
    }

    fn read_process(&mut self, pid: u32) {
        let mut process = HolderProcess::new(pid);
        let mut examined = false;
        let read = visit_descriptors_of(pid, |fd, link| {
            if let Some(inode) = socket_inode(link) {
                examined |= self.read_socket(&mut process, fd, inode);
            } else if let Some(id) = namespace_link::parse(link, "net").and_then(NetNs::new) {
                examined |= self.add(id, NetNsSource::Descriptor { pid, fd });
            }
        });
        let failure = match read {
            // /proc/PID/fd and pidfd_getfd() look at the first thread.
            Ok(false) if examined => Some(io::Error::other("its first thread has exited")),
            Ok(_) => process.failure,
            Err(error) => Some(error),
        };
        self.note_failure(pid, failure);
    }

    /// Finds the namespace of a socket. Returns whether it was not known to be in a known one.
    fn read_socket(&mut self, process: &mut HolderProcess, fd: u32, inode: u32) -> bool {
        if self.known.inodes.contains(&inode) {
            return false;
        }
        let (pid, result) = (process.pid, self.open_netns_of(process, fd));
        match result {
            Ok(Some((id, cookie))) => {
                self.known.cookies.extend(cookie);
                self.add(id, NetNsSource::Socket { pid, fd });
            }
            Ok(None) => {}
            // It was closed meanwhile, or is of another file by now.
            Err(error) if socket_descriptor::is_other_file(&error) => {}
            Err(error) => process.failure = process.failure.take().or(Some(error)),
        }
        true
    }

    /// Returns the namespace of a socket, with its cookie; `None` where that is known, or
    /// reported as out of reach.
    fn open_netns_of(
        &mut self,
        process: &mut HolderProcess,
        fd: u32,
    ) -> io::Result<Option<(NetNs, Option<u64>)>> {
        let socket = process.copy(fd)?;
        // Kernels before 5.14 have no cookie.
        let cookie = socket_descriptor::netns_cookie(&socket).ok();
        let is_done =
            |cookie| self.known.cookies.contains(&cookie) || self.refused.contains(&cookie);
        if cookie.is_some_and(is_done) {
            return Ok(None);
        }
        match (socket_descriptor::open_netns(&socket), cookie) {
            (Ok((id, _)), cookie) => Ok(Some((id, cookie))),
            (Err(reason), Some(cookie)) if !socket_descriptor::is_other_file(&reason) => {
                self.refused.insert(cookie);
                let target = ScanTarget::NamespaceOfSocket {
                    pid: process.pid,
                    fd,
                };
                self.found.gaps.push(ScanGap { target, reason });
                Ok(None)
            }
            (Err(reason), _) => Err(reason),
        }
    }

    fn add(&mut self, id: NetNs, source: NetNsSource) -> bool {
        let is_new = self.known.ids.insert(id);
        if is_new {
            let handle = NetNsHandle::with_source(id, source);
            self.found.namespaces.push(handle);
        }
        is_new
    }
}
