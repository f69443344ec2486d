//! Snapshots of all sockets in all network namespaces: at the start of the tracer, and for a resync
//! after a loss.

use std::collections::{HashMap, HashSet};

use tcpclose_common::TcpState;

use super::time_wait_overflow::{self, TimeWaitOverflows};
use crate::coverage;
use crate::error_chain::error_chain;
use tcpclose_core::types::{EndpointId, Nanos, NetNs, SharedOwner};
use tcpclose_core::{SnapshotSocket, SocketKind};
use tcpclose_sys::kernel::clock::now;
use tcpclose_sys::kernel::loader::TraceOptions;
use tcpclose_sys::kernel::netns::{self, KnownNamespaces, NetNsHandle};
use tcpclose_sys::kernel::sock_diag::{DiagClient, DiagError, DumpQuery, KernelSocket, StateSet};

/// All sockets at one moment.
pub(super) struct SocketSnapshot {
    pub began: Nanos,
    pub ended: Nanos,
    /// The sockets that the filter lets pass, listeners first.
    pub sockets: Vec<SnapshotSocket>,
    /// The inodes of `sockets` that have one.
    pub inodes: HashMap<EndpointId, u32>,
    /// The cookies of all sockets, including those that the filter drops.
    pub alive: HashSet<EndpointId>,
    /// The namespaces whose sockets were all read.
    pub complete: HashSet<NetNs>,
    /// The overflows of TIME_WAIT so far.
    pub overflows: TimeWaitOverflows,
    /// Sentences that describe what could not be read, and why.
    pub unseen: Vec<String>,
    /// The identities ([`coverage::net_identity`]) of the namespaces that were read.
    read_namespaces: HashSet<u64>,
}

impl SocketSnapshot {
    /// Takes a snapshot of the namespace in `options`, or of all namespaces. `owners` are the known
    /// owners of sockets.
    pub fn take(options: &TraceOptions, owners: &HashMap<EndpointId, SharedOwner>) -> Self {
        Self::scan(StateSet::all(), options, owners)
    }

    /// Does as [`Self::take`], also of namespaces that only a descriptor keeps alive: that reads
    /// all descriptors of the host.
    pub fn take_with_descriptors(
        options: &TraceOptions,
        owners: &HashMap<EndpointId, SharedOwner>,
    ) -> Self {
        let mut snapshot = Self::take(options, owners);
        if options.filter.netns.is_none() {
            snapshot.add_by_descriptor(options, owners);
        }
        snapshot.ended = now();
        snapshot
    }

    fn add_by_descriptor(
        &mut self,
        options: &TraceOptions,
        owners: &HashMap<EndpointId, SharedOwner>,
    ) {
        let mut known = KnownNamespaces::from_handles(&netns::scan().namespaces);
        let found = netns::find_by_descriptors(&mut known, &[]);
        for handle in found.namespaces {
            self.add(&handle, StateSet::all(), options, owners);
        }
        let gaps = coverage::scan_gaps(&found.gaps, &self.read_namespaces, false);
        let gaps = gaps.into_iter().filter(|gap| gap.matters);
        self.unseen.extend(gaps.map(|gap| gap.text));
        self.sockets
            .sort_by_key(|socket| socket.state != TcpState::Listen);
    }

    /// Does as [`Self::take`], without sockets in TIME_WAIT: they have no holders, and may be very
    /// many.
    pub fn take_full_sockets(options: &TraceOptions) -> Self {
        Self::scan(StateSet::full_sockets(), options, &HashMap::new())
    }

    fn scan(
        states: StateSet,
        options: &TraceOptions,
        owners: &HashMap<EndpointId, SharedOwner>,
    ) -> Self {
        let mut snapshot = Self::from_sockets(now(), Vec::new());
        match options.filter.netns {
            Some(id) => match netns::by_inode(id) {
                Ok(handle) => snapshot.add(&handle, states, options, owners),
                Err(error) => snapshot.unseen.push(error_chain(&error)),
            },
            None => {
                let scan = netns::scan();
                for handle in scan.namespaces {
                    snapshot.add(&handle, states, options, owners);
                }
                let gaps = coverage::scan_gaps(&scan.gaps, &snapshot.read_namespaces, false);
                let gaps = gaps.into_iter().map(|gap| gap.text);
                snapshot.unseen.extend(gaps);
            }
        }
        snapshot.overflows.complete = snapshot.unseen.is_empty();
        snapshot
            .sockets
            .sort_by_key(|socket| socket.state != TcpState::Listen);
        snapshot.ended = now();
        snapshot
    }

    /// Returns a snapshot that has only these sockets.
    pub(super) fn from_sockets(began: Nanos, sockets: Vec<SnapshotSocket>) -> Self {
        Self {
            began,
            ended: began,
            sockets,
            inodes: HashMap::new(),
            alive: HashSet::new(),
            complete: HashSet::new(),
            overflows: TimeWaitOverflows::default(),
            unseen: Vec::new(),
            read_namespaces: HashSet::new(),
        }
    }

    fn add(
        &mut self,
        handle: &NetNsHandle,
        states: StateSet,
        options: &TraceOptions,
        owners: &HashMap<EndpointId, SharedOwner>,
    ) {
        let (sockets, whole) = match collect(handle, states) {
            Ok(collected) => collected,
            Err(error) => {
                self.unseen.push(error_chain(&error));
                return;
            }
        };
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
        for socket in sockets
            .iter()
            .filter(|socket| passes_filter(options, handle.id(), socket))
        {
            if let Some(inode) = socket.inode {
                self.inodes.insert(socket.id, inode.get());
            }
            self.sockets.push(SnapshotSocket {
                cookie: socket.id,
                netns: handle.id(),
                tuple: socket.tuple,
                state: socket.state,
                kind: kind(socket),
                owner: owners.get(&socket.id).cloned(),
            });
        }
    }
}

fn collect(handle: &NetNsHandle, states: StateSet) -> Result<(Vec<KernelSocket>, bool), DiagError> {
    let mut diag = DiagClient::open_in(handle)?;
    let (sockets, report) = diag.collect(&DumpQuery::new(states).with_info())?;
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
