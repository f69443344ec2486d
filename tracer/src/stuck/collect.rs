//! Collects what the kernel's tables hold, in every network namespace.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::thread;
use std::time::Duration;

use tcpclose_common::{SocketDescriptor, TcpState};

use super::agent_answers::KnownSockets;
use super::listeners::ListeningSocket;
use super::mptcp::{self, MptcpSockets};
use super::observe::{OBSERVED_STATES, observe_stuck};
use crate::coverage::{CoverageGap, namespace_text};
use crate::error_chain::error_chain;
use crate::namespace_walk::{NamespaceReader, NamespaceWalk, WalkScope};
use crate::sockstat;
use crate::task_file_iter::TaskFileIter;
use tcpclose_core::filter::ConnectionFilter;
use tcpclose_core::stuck::ObservedSocket;
use tcpclose_core::types::{EndpointId, Inode, Nanos, NetNs};
use tcpclose_sys::host::descriptors::find_holders;
use tcpclose_sys::kernel::clock::now;
use tcpclose_sys::kernel::netns::{NetNsError, NetNsHandle};
use tcpclose_sys::kernel::sock_diag::{
    DiagClient, DiagError, DumpQuery, KernelSocket, SocketFamilies, SocketLookup,
};

/// The most sockets that are looked up a second time.
pub(super) const MAX_RELOOKUPS: usize = 4096;

/// How long to wait for a close() that is in progress.
pub(super) const CLOSE_DELAY: Duration = Duration::from_millis(20);

/// Which sockets a scan reads.
pub(super) struct ScanScope<'a> {
    /// The connections. `netns` is the handle of its namespace.
    pub filter: &'a ConnectionFilter,
    /// The only namespace to be read; `None` for all.
    pub netns: Option<&'a NetNsHandle>,
    /// Distinguishes that namespace from a later one with its number; `None` where it is not known.
    pub netns_cookie: Option<u64>,
    /// The silence after which established connections are read that nothing guards; `None`: no
    /// established connection is read.
    pub dead_after: Option<Nanos>,
}

impl ScanScope<'_> {
    /// Returns whether a socket is to be judged: of established connections only those that may be
    /// dead are.
    fn is_wanted(&self, socket: &ObservedSocket) -> bool {
        socket.state != TcpState::Established
            || self
                .dead_after
                .is_some_and(|after| socket.may_be_dead(after))
    }
}

/// The sockets that one scan has read from the kernel's tables.
pub struct ScannedSockets {
    /// When the scan began; the spans in it count from here.
    pub(super) at: Nanos,
    /// The sockets in a state in which they can be stuck.
    pub(crate) sockets: Vec<ObservedSocket>,
    pub(super) listeners: Vec<ListeningSocket>,
    /// What could not be read.
    pub(super) gaps: Vec<CoverageGap>,
    /// The descriptors that the kernel's iterator over open files has listed, where it ran.
    pub(super) files: Option<Vec<SocketDescriptor>>,
    /// What a running agent knows of the sockets.
    pub(super) known: KnownSockets,
    /// The namespaces that were read, to probe their sockets again.
    walk: NamespaceWalk,
}

/// Reads the sockets of one namespace after the other.
struct SocketReader<'a> {
    scope: &'a ScanScope<'a>,
    /// The sockets that the last scan found stuck, of namespaces that were not read yet.
    known: HashMap<Option<NetNs>, Vec<ObservedSocket>>,
    collected: ScannedSockets,
}

impl NamespaceReader for SocketReader<'_> {
    fn read(&mut self, walk: &mut NamespaceWalk, handle: &NetNsHandle) -> bool {
        let netns = Some(handle.id());
        let known = self.known.remove(&netns).unwrap_or_default();
        let is_there = self
            .collected
            .read_namespace(walk, self.scope, handle, &known);
        if !is_there {
            self.known.insert(netns, known);
        }
        is_there
    }

    fn read_own(&mut self, walk: &mut NamespaceWalk) {
        let known = self.known.remove(&None).unwrap_or_default();
        self.collected.read_own(walk, self.scope, &known);
    }
}

impl ScannedSockets {
    /// Reads the tables. `known`: sockets that the last scan found stuck; a dump may miss one.
    pub(super) fn read<'a>(
        scope: &ScanScope<'_>,
        known: impl Iterator<Item = &'a ObservedSocket>,
        files: Option<TaskFileIter>,
    ) -> Self {
        let mut by_namespace: HashMap<Option<NetNs>, Vec<ObservedSocket>> = HashMap::new();
        for socket in known {
            by_namespace.entry(socket.netns).or_default().push(*socket);
        }
        let mut reader = SocketReader {
            scope,
            known: by_namespace,
            collected: Self {
                at: now(),
                sockets: Vec::new(),
                listeners: Vec::new(),
                gaps: Vec::new(),
                files: None,
                known: KnownSockets::default(),
                walk: NamespaceWalk::default(),
            },
        };
        let mut walk = NamespaceWalk::default();
        let walked = WalkScope {
            netns: scope.netns,
            netns_cookie: scope.netns_cookie,
            pids: &scope.filter.pids,
        };
        let files = walk.run(&walked, files, &mut reader);
        let SocketReader {
            known,
            mut collected,
            ..
        } = reader;
        collected.files = files;
        collected.gaps.append(&mut walk.gaps);
        collected.walk = walk;
        collected.retain_with_holders(known.into_values().flatten());
        collected
    }

    /// A namespace that nothing leads to any more is gone, and its sockets with it, unless a
    /// process still holds one of them: that keeps it, out of reach.
    fn retain_with_holders(&mut self, known: impl Iterator<Item = ObservedSocket>) {
        let known: Vec<ObservedSocket> = known.collect();
        let inodes = known.iter().filter_map(|socket| socket.inode);
        let search = find_holders(&inodes.map(Inode::get).collect(), &[]);
        let is_held = |socket: &ObservedSocket| {
            let held = |inode: Inode| search.descriptors.for_inode(inode.get()).next().is_some();
            socket.inode.is_some_and(held)
        };
        let kept: Vec<ObservedSocket> = known.into_iter().filter(is_held).collect();
        let unreached: BTreeSet<NetNs> = kept.iter().filter_map(|socket| socket.netns).collect();
        let gaps = unreached.into_iter().map(|netns| {
            CoverageGap::new(format!(
                "network namespace {netns} can no longer be found, but processes outside it still hold its \
                 sockets; they are shown as last seen"
            ))
        });
        self.gaps.extend(gaps);
        self.sockets.extend(kept);
    }

    fn read_own(
        &mut self,
        walk: &mut NamespaceWalk,
        scope: &ScanScope<'_>,
        known: &[ObservedSocket],
    ) {
        let read = DiagClient::open().and_then(|mut diag| {
            let in_use = (Some(SocketFamilies::Both), sockstat::has_mptcp());
            self.read_sockets(walk, scope, &mut diag, in_use, known)
        });
        if let Err(error) = read {
            self.note_unread_namespace("the own network namespace", error, known);
        }
    }

    /// Reads the sockets of a namespace. Returns `false` if the namespace has vanished.
    fn read_namespace(
        &mut self,
        walk: &mut NamespaceWalk,
        scope: &ScanScope<'_>,
        handle: &NetNsHandle,
        known: &[ObservedSocket],
    ) -> bool {
        let entered = walk.enter(handle, || {
            let (families, has_mptcp) = (sockstat::families(), sockstat::has_mptcp());
            let is_in_use = families.is_some() || has_mptcp;
            is_in_use.then(|| ((families, has_mptcp), DiagClient::open()))
        });
        let read = match entered {
            Ok(Some((in_use, Ok(mut diag)))) => {
                self.read_sockets(walk, scope, &mut diag, in_use, known)
            }
            Ok(Some((_, Err(error)))) => Err(error),
            Ok(None) => Ok(()),
            Err(error) => Err(error.into()),
        };
        match read {
            Ok(()) => {}
            // And its sockets with it.
            Err(DiagError::Namespace(NetNsError::Vanished(_))) => return false,
            Err(error) => {
                self.note_unread_namespace(
                    &format!("network namespace {}", handle.id()),
                    error,
                    known,
                );
            }
        }
        true
    }

    fn note_unread_namespace(
        &mut self,
        namespace: &str,
        error: DiagError,
        known: &[ObservedSocket],
    ) {
        // A socket that is not seen is not gone.
        self.sockets.extend_from_slice(known);
        let text = format!("{namespace}: {}", error_chain(&error));
        self.gaps.push(CoverageGap::new(text));
    }

    /// Reads the sockets of a namespace that has some of these families, and MPTCP sockets or none.
    fn read_sockets(
        &mut self,
        walk: &mut NamespaceWalk,
        scope: &ScanScope<'_>,
        diag: &mut DiagClient,
        (families, has_mptcp): (Option<SocketFamilies>, bool),
        known: &[ObservedSocket],
    ) -> Result<(), DiagError> {
        let begun = now();
        let states = OBSERVED_STATES.with(TcpState::Listen);
        let query = DumpQuery::new(match scope.dead_after {
            Some(_) => states.with(TcpState::Established),
            None => states,
        });
        let listed = families.map(|families| query.with_info().with_families(families));
        let listed = listed.map(|query| diag.collect(&query)).transpose()?;
        let (mut sockets, report) = listed.unwrap_or_default();
        // The kernel computes ages when it comes to a socket; a long list takes it 50 ms.
        let listed = begun + Nanos((now() - begun).0 / 2);
        let late = listed - self.at;
        if report.interrupted {
            let text = format!(
                "the sockets of {} changed during each of three attempts to list them: some may be missing",
                namespace_text(diag.netns())
            );
            self.gaps.push(CoverageGap::new(text));
        }
        if has_mptcp {
            self.add_mptcp(diag, &mut sockets)?;
        }
        for socket in &sockets {
            walk.known.inodes.extend(socket.inode.map(Inode::get));
            match socket.state {
                TcpState::Listen => self.listeners.push(ListeningSocket::from(socket)),
                _ if scope.filter.matches_tuple(diag.netns(), &socket.tuple) => {
                    let observed = observe_stuck(socket, late);
                    self.sockets
                        .extend(observed.filter(|socket| scope.is_wanted(socket)));
                }
                _ => {}
            }
        }
        // A dump may miss a socket, though seldom.
        for socket in known {
            let place = sockets.binary_search_by_key(&socket.id, |socket| socket.id);
            if place.is_err() {
                let found = look_up(diag, socket)?;
                let observed = found.and_then(|socket| observe_stuck(&socket, late));
                self.sockets
                    .extend(observed.filter(|socket| scope.is_wanted(socket)));
            }
        }
        Ok(())
    }

    /// Adds the MPTCP connections to a list of TCP sockets, in the place of their subflows.
    fn add_mptcp(
        &mut self,
        diag: &mut DiagClient,
        sockets: &mut Vec<KernelSocket>,
    ) -> Result<(), DiagError> {
        match MptcpSockets::read(diag) {
            Ok(mptcp) => {
                mptcp.remove_subflows(sockets);
                self.gaps.extend(mptcp.gap(diag.netns()));
                sockets.extend(mptcp.observed);
                sockets.sort_by_key(|socket| socket.id);
            }
            Err(error @ DiagError::MptcpUnavailable) => {
                let netns = namespace_text(diag.netns());
                let text = format!("{netns} has MPTCP sockets, and {error}");
                self.gaps.push(CoverageGap::new(text));
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Returns which of these sockets have left their state. While /proc was read, the process that
    /// held one may have closed it.
    pub(super) fn vanished(&self, sockets: &[ObservedSocket]) -> HashSet<EndpointId> {
        let mut vanished = self.vanished_now(sockets.iter());
        if vanished.len() < sockets.len() {
            // A close() takes the descriptor away first.
            thread::sleep(CLOSE_DELAY);
            let rest = sockets
                .iter()
                .filter(|socket| !vanished.contains(&socket.id));
            let later = self.vanished_now(rest);
            vanished.extend(later);
        }
        vanished
    }

    /// Opens sock_diag in a namespace that was read; `None` where that fails.
    pub(super) fn open_diag(&self, netns: Option<NetNs>) -> Option<DiagClient> {
        self.walk.open_diag(netns)
    }

    fn vanished_now<'a>(
        &self,
        sockets: impl Iterator<Item = &'a ObservedSocket>,
    ) -> HashSet<EndpointId> {
        let mut by_namespace: HashMap<Option<NetNs>, Vec<&ObservedSocket>> = HashMap::new();
        for socket in sockets.take(MAX_RELOOKUPS) {
            by_namespace.entry(socket.netns).or_default().push(socket);
        }
        let mut vanished = HashSet::new();
        for (netns, sockets) in by_namespace {
            let Some(mut diag) = self.open_diag(netns) else {
                continue;
            };
            let absent = sockets
                .into_iter()
                .filter(|socket| matches!(look_up(&mut diag, socket), Ok(None)));
            vanished.extend(absent.map(|socket| socket.id));
        }
        vanished
    }
}

/// Returns the socket as it is now; `None` when it has left its state.
pub(super) fn look_up(
    diag: &mut DiagClient,
    socket: &ObservedSocket,
) -> Result<Option<KernelSocket>, DiagError> {
    if socket.mptcp {
        return mptcp::look_up(diag, socket.id);
    }
    let lookup = SocketLookup::new(socket.tuple)
        .with_id(socket.id)
        .with_interface(socket.interface)
        .with_info();
    let found = diag.lookup_on_any_interface(&lookup)?;
    Ok(found.filter(|found| found.state == socket.state && !found.is_minisocket()))
}
