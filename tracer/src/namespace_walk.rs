//! Walks over the network namespaces of this host, for scans of their sockets.

use std::collections::{BTreeSet, HashMap, HashSet};

use tcpclose_common::SocketDescriptor;
use tcpclose_core::types::NetNs;
use tcpclose_sys::kernel::netns::{
    self, KnownNamespaces, NamespacesByDescriptor, NetNsError, NetNsHandle, NetNsScan,
};
use tcpclose_sys::kernel::sock_diag::{DiagClient, DiagError};

use crate::coverage::{self, CoverageGap, net_identity};
use crate::task_file_iter::TaskFileIter;

/// Which namespaces are walked over.
pub(crate) struct WalkScope<'a> {
    /// The only namespace; `None` for all.
    pub netns: Option<&'a NetNsHandle>,
    /// Distinguishes that namespace from a later one with its number; `None` where it is not known.
    pub netns_cookie: Option<u64>,
    /// The only processes whose sockets are wanted; empty for those of all.
    pub pids: &'a BTreeSet<u32>,
}

/// Reads what a scan wants of each namespace.
pub(crate) trait NamespaceReader {
    /// Reads a namespace, through [`NamespaceWalk::enter`]. Returns `false` if it has vanished.
    fn read(&mut self, walk: &mut NamespaceWalk, handle: &NetNsHandle) -> bool;

    /// Reads the own namespace where there is no /proc: it has no number then, and no other is
    /// found.
    fn read_own(&mut self, walk: &mut NamespaceWalk);
}

/// The namespaces of one walk.
#[derive(Default)]
pub(crate) struct NamespaceWalk {
    /// The namespaces that were read, as [`net_identity`] knows them.
    identities: HashSet<u64>,
    /// Their numbers, and the inodes of the sockets that their lists show: readers add the latter.
    pub known: KnownNamespaces,
    /// How they are entered, to probe their sockets again.
    handles: HashMap<NetNs, NetNsHandle>,
    /// What could not be read.
    pub gaps: Vec<CoverageGap>,
}

impl NamespaceWalk {
    /// Has every namespace of the scope read, also those that only a descriptor keeps alive.
    /// Returns the descriptors that the kernel's iterator over open files has listed, where it ran.
    pub fn run(
        &mut self,
        scope: &WalkScope<'_>,
        files: Option<TaskFileIter>,
        reader: &mut impl NamespaceReader,
    ) -> Option<Vec<SocketDescriptor>> {
        if let Some(handle) = scope.netns {
            // Its file may be gone, and others still live in it; or another one has its number by
            // now.
            let is_there = self.read_if_same(scope, handle.clone(), reader)
                || netns::by_inode(handle.id())
                    .is_ok_and(|other| self.read_if_same(scope, other, reader));
            if !is_there {
                let text = format!(
                    "network namespace {} is gone: no process lives in it, and no file leads to it",
                    handle.id()
                );
                self.gaps.push(CoverageGap::note(text));
            }
            return files.and_then(TaskFileIter::finish);
        }
        let NetNsScan {
            namespaces,
            mut gaps,
        } = netns::scan();
        let has_none = namespaces.is_empty();
        self.known.ids = namespaces.iter().map(NetNsHandle::id).collect();
        for handle in namespaces {
            self.read(handle, reader);
        }
        let files = files.and_then(TaskFileIter::finish);
        let held = self.find_by_descriptors(scope, files.as_deref());
        for handle in held.namespaces {
            self.read(handle, reader);
        }
        if has_none {
            reader.read_own(self);
        }
        gaps.extend(held.gaps);
        let unseen = coverage::scan_gaps(&gaps, &self.identities, !scope.pids.is_empty());
        self.gaps.extend(unseen);
        files
    }

    /// Calls `work` inside a namespace, and notes that it is being read.
    ///
    /// # Errors
    /// `work` was not called.
    pub fn enter<T: Send>(
        &mut self,
        handle: &NetNsHandle,
        work: impl FnOnce() -> T + Send,
    ) -> Result<T, NetNsError> {
        let (identity, cookie, result) =
            handle.enter(|| (net_identity("thread-self"), netns::cookie(), work()))?;
        self.identities.extend(identity);
        self.known.cookies.extend(cookie);
        Ok(result)
    }

    /// Opens sock_diag in a namespace that was read; `None` where that fails.
    pub fn open_diag(&self, netns: Option<NetNs>) -> Option<DiagClient> {
        let opened: Result<DiagClient, DiagError> = match netns {
            Some(netns) => DiagClient::open_in(self.handles.get(&netns)?),
            None => DiagClient::open(),
        };
        opened.ok()
    }

    fn read(&mut self, handle: NetNsHandle, reader: &mut impl NamespaceReader) -> bool {
        let is_there = reader.read(self, &handle);
        if is_there {
            self.handles.insert(handle.id(), handle);
        }
        is_there
    }

    fn read_if_same(
        &mut self,
        scope: &WalkScope<'_>,
        handle: NetNsHandle,
        reader: &mut impl NamespaceReader,
    ) -> bool {
        let cookie = scope
            .netns_cookie
            .map(|wanted| (wanted, handle.enter(netns::cookie)));
        let is_same = match cookie {
            Some((wanted, Ok(Ok(cookie)))) => wanted == cookie,
            _ => true,
        };
        is_same && self.read(handle, reader)
    }

    /// Finds the namespaces that only a descriptor keeps alive: of any process, or of those whose
    /// sockets are wanted.
    fn find_by_descriptors(
        &mut self,
        scope: &WalkScope<'_>,
        files: Option<&[SocketDescriptor]>,
    ) -> NamespacesByDescriptor {
        match files {
            Some(files) => netns::find_among_descriptors(&mut self.known, files),
            None => {
                let pids: Vec<u32> = scope.pids.iter().copied().collect();
                netns::find_by_descriptors(&mut self.known, &pids)
            }
        }
    }
}
