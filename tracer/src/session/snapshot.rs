//! Snapshots of all sockets in all network namespaces: at the start of the tracer, and for a resync
//! after a loss.

use std::collections::{HashMap, HashSet};

use tcpclose_common::TcpState;

use super::time_wait_overflow::{self, TimeWaitOverflows};
use crate::coverage;
use crate::error_chain::error_chain;
use tcpclose_core::types::{EndpointId, Nanos, NetNs};
use tcpclose_core::{SnapshotSocket, SocketKind};
use tcpclose_sys::kernel::clock::now;
use tcpclose_sys::kernel::loader::TraceOptions;
use tcpclose_sys::kernel::netns::{self, KnownNamespaces, NetNsHandle};
use tcpclose_sys::kernel::sock_diag::{DiagClient, DiagError, DumpQuery, KernelSocket, StateSet};

/// All sockets, as they were while the snapshot was taken.
pub(super) struct SocketSnapshot {
    pub began: Nanos,
    /// The sockets that the filter lets pass.
    pub parts: Vec<SnapshotPart>,
    /// The inodes of those that have one.
    pub inodes: HashMap<EndpointId, u32>,
    /// The cookies of all sockets, including those that the filter drops.
    pub alive: HashSet<EndpointId>,
    /// The namespaces whose sockets were all read.
    pub complete: HashSet<NetNs>,
    /// The overflows of TIME_WAIT so far.
    pub overflows: TimeWaitOverflows,
    /// Sentences that describe what could not be read, and why.
    pub unseen: Vec<String>,
    /// The namespaces that were found.
    namespaces: Vec<NetNsHandle>,
    /// The identities ([`coverage::net_identity`]) of the namespaces that were read.
    read_namespaces: HashSet<u64>,
}

/// The sockets of namespaces that were read at nearly the same time, so that the timers of
/// minisockets show when these began. Listeners come first.
pub(super) struct SnapshotPart {
    pub at: Nanos,
    pub sockets: Vec<SnapshotSocket>,
}

/// How much time there may be between the namespaces of a part: less than the error of timers.
const MAX_PART_DURATION: Nanos = Nanos::from_millis(5);

impl SocketSnapshot {
    /// Takes a snapshot of the namespace in `options`, or of all namespaces.
    pub fn take(options: &TraceOptions) -> Self {
        let mut snapshot = Self::new(now());
        match options.filter.netns {
            Some(id) => match netns::by_inode(id) {
                Ok(handle) => snapshot.add(&handle, options),
                Err(error) => snapshot.unseen.push(error_chain(&error)),
            },
            None => {
                let scan = netns::scan();
                for handle in &scan.namespaces {
                    snapshot.add(handle, options);
                }
                snapshot.namespaces = scan.namespaces;
                let gaps = coverage::scan_gaps(&scan.gaps, &snapshot.read_namespaces, false);
                let gaps = gaps.into_iter().map(|gap| gap.text);
                snapshot.unseen.extend(gaps);
            }
        }
        snapshot.overflows.complete = snapshot.unseen.is_empty();
        snapshot
    }

    /// Takes a snapshot of the namespaces that only a descriptor keeps alive, and which this one
    /// lacks. It reads all descriptors of the host.
    pub fn take_by_descriptors(&self, options: &TraceOptions) -> Self {
        let mut snapshot = Self::new(now());
        if options.filter.netns.is_some() {
            return snapshot;
        }
        let mut known = KnownNamespaces::from_handles(&self.namespaces);
        known.inodes.extend(self.inodes.values());
        let found = netns::find_by_descriptors(&mut known, &[]);
        for handle in found.namespaces {
            snapshot.add(&handle, options);
        }
        let read = self.read_namespaces.union(&snapshot.read_namespaces);
        let gaps = coverage::scan_gaps(&found.gaps, &read.copied().collect(), false);
        let gaps = gaps.into_iter().filter(|gap| gap.matters);
        snapshot.unseen.extend(gaps.map(|gap| gap.text));
        snapshot
    }

    fn new(began: Nanos) -> Self {
        Self {
            began,
            parts: Vec::new(),
            inodes: HashMap::new(),
            alive: HashSet::new(),
            complete: HashSet::new(),
            overflows: TimeWaitOverflows::default(),
            unseen: Vec::new(),
            namespaces: Vec::new(),
            read_namespaces: HashSet::new(),
        }
    }

    /// Returns a snapshot that has only these sockets.
    #[cfg(test)]
    pub(super) fn from_sockets(at: Nanos, sockets: Vec<SnapshotSocket>) -> Self {
        Self {
            parts: vec![SnapshotPart { at, sockets }],
            ..Self::new(at)
        }
    }

    fn add(&mut self, handle: &NetNsHandle, options: &TraceOptions) {
        let (sockets, whole) = match collect(handle) {
            Ok(collected) => collected,
            Err(error) => {
                self.unseen.push(error_chain(&error));
                return;
            }
        };
        let at = now();
        match handle.enter(|| {
            (
                time_wait_overflow::count(),
                coverage::net_identity("thread-self"),
            )
        }) {
            Ok((count, identity)) => {
                let count = count.map(|count| (handle.id(), count));
                self.overflows.counts.extend(count);
                self.read_namespaces.extend(identity);
            }
            Err(error) => self.unseen.push(error_chain(&error)),
        }
        if whole {
            self.complete.insert(handle.id());
        }
        self.alive.extend(sockets.iter().map(|socket| socket.id));
        let wanted = sockets
            .iter()
            .filter(|socket| passes_filter(options, handle.id(), socket));
        let mut shown = Vec::new();
        for socket in wanted {
            if let Some(inode) = socket.inode {
                self.inodes.insert(socket.id, inode.get());
            }
            shown.push(SnapshotSocket {
                cookie: socket.id,
                netns: handle.id(),
                tuple: socket.tuple,
                state: socket.state,
                kind: kind(socket),
                owner: None,
            });
        }
        if shown.is_empty() {
            return;
        }
        shown.sort_by_key(|socket| socket.state != TcpState::Listen);
        match self.parts.last_mut() {
            // Listeners of one namespace say nothing of another's connections.
            Some(part) if at - part.at < MAX_PART_DURATION => part.sockets.append(&mut shown),
            _ => self.parts.push(SnapshotPart { at, sockets: shown }),
        }
    }
}

fn collect(handle: &NetNsHandle) -> Result<(Vec<KernelSocket>, bool), DiagError> {
    let mut diag = DiagClient::open_in(handle)?;
    let (sockets, report) = diag.collect(&DumpQuery::new(StateSet::all()).with_info())?;
    Ok((sockets, !report.interrupted && report.skipped == 0))
}

fn kind(socket: &KernelSocket) -> SocketKind {
    match socket.remaining_ms() {
        Some(left) => SocketKind::Minisocket(Nanos::from_millis(left.into())),
        None => SocketKind::full(socket.opening()),
    }
}

/// Returns whether the filter lets a socket pass. The eBPF programs filter the records likewise.
fn passes_filter(options: &TraceOptions, netns: NetNs, socket: &KernelSocket) -> bool {
    if socket.state == TcpState::Listen {
        return options.filter.matches_listener(&socket.tuple);
    }
    options.filter.matches_tuple(Some(netns), &socket.tuple)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tcpclose_sys::kernel::netns::NetNsError;
    use tcpclose_sys::kernel::sock_diag::DiagError;

    #[test]
    fn a_gap_is_reported_with_its_cause() {
        let error = DiagError::Namespace(NetNsError::Vanished(NetNs::new(7).expect("it is not 0")));
        let expected =
            "cannot list the sockets of a network namespace: network namespace 7 is gone";
        assert_eq!(error_chain(&error), expected);
    }
}
