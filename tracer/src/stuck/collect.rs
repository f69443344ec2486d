//! Collects what the kernel's tables hold, in every network namespace.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::thread;
use std::time::Duration;

use tcpclose_common::TcpState;

use super::listeners::Listener;
use super::observe::{STATES, observe};
use super::sockstat;
use super::task_file_iter::TaskFileIter;
use crate::coverage::{self, CoverageGap, net_identity};
use tcpclose_core::filter::ConnectionFilter;
use tcpclose_core::stuck::{ObservedSocket, STUCK_STATES};
use tcpclose_core::types::{EndpointId, Inode, Nanos, NetNs};
use tcpclose_sys::host::descriptors::find_holders;
use tcpclose_sys::kernel::clock::now;
use tcpclose_sys::kernel::netns::{self, NetNsError, NetNsHandle};
use tcpclose_sys::kernel::sock_diag::{
    DiagClient, DiagError, DumpQuery, KernelSocket, SocketFamilies, SocketLookup,
};

/// Sockets that are looked up once more at most.
const LOOKED_UP_AGAIN: usize = 4096;

/// The time that a close() under way gets to end.
const CLOSING: Duration = Duration::from_millis(20);

/// What is collected.
pub(super) struct Wanted<'a> {
    /// The connections. `netns` is the handle of its namespace.
    pub filter: &'a ConnectionFilter,
    /// The only namespace to be read; `None` for all.
    pub netns: Option<&'a NetNsHandle>,
    /// Distinguishes that namespace from a later one with its number; `None` where it is not known.
    pub netns_cookie: Option<u64>,
}

/// What one scan has found in the tables.
pub struct Collected {
    /// When the scan began; the spans in it count from here.
    pub(super) at: Nanos,
    /// The sockets in a state in which they can be stuck.
    pub(crate) sockets: Vec<ObservedSocket>,
    pub(super) listeners: Vec<Listener>,
    /// What could not be read.
    pub(super) gaps: Vec<CoverageGap>,
    /// The kernel's list of all open files, where it is being made.
    pub(super) files: Option<TaskFileIter>,
    /// The namespaces that were read, as [`net_identity`] knows them.
    identities: HashSet<u64>,
    /// The same namespaces.
    handles: HashMap<NetNs, NetNsHandle>,
}

impl Collected {
    /// Reads the tables. `known`: sockets that the last scan found stuck; a dump may miss one.
    pub(super) fn read<'a>(
        wanted: &Wanted<'_>,
        known: impl Iterator<Item = &'a ObservedSocket>,
        files: Option<TaskFileIter>,
    ) -> Self {
        let mut by_namespace: HashMap<Option<NetNs>, Vec<ObservedSocket>> = HashMap::new();
        for socket in known {
            by_namespace.entry(socket.netns).or_default().push(*socket);
        }
        let mut collected = Self {
            at: now(),
            sockets: Vec::new(),
            listeners: Vec::new(),
            gaps: Vec::new(),
            files,
            identities: HashSet::new(),
            handles: HashMap::new(),
        };
        let mut read = |collected: &mut Self, handle: NetNsHandle| {
            let netns = Some(handle.id());
            let known = by_namespace.remove(&netns).unwrap_or_default();
            let is_same = || match wanted
                .netns_cookie
                .map(|wanted| (wanted, handle.enter(netns::cookie)))
            {
                Some((wanted, Ok(Ok(cookie)))) => wanted == cookie,
                _ => true,
            };
            let is_there = is_same() && collected.read_namespace(wanted, &handle, &known);
            if is_there {
                collected.handles.insert(handle.id(), handle);
            } else {
                by_namespace.insert(netns, known);
            }
            is_there
        };
        if let Some(handle) = wanted.netns {
            // Its file may be gone, and others still live in it; or another one has its number by
            // now.
            let is_there = read(&mut collected, handle.clone())
                || netns::by_inode(handle.id()).is_ok_and(|other| read(&mut collected, other));
            if !is_there {
                let text = format!(
                    "network namespace {} is gone: no process lives in it, and no file leads to it",
                    handle.id()
                );
                collected.gaps.push(CoverageGap::note(text));
            }
        } else {
            let scan = netns::scan();
            let has_none = scan.namespaces.is_empty();
            for handle in scan.namespaces {
                read(&mut collected, handle);
            }
            if has_none {
                let known = by_namespace.remove(&None).unwrap_or_default();
                collected.read_own(wanted, &known);
            }
            let unseen = coverage::of_scan(&scan.gaps, &collected.identities);
            collected.gaps.extend(unseen);
        }
        collected.keep_held(by_namespace.into_values().flatten());
        collected
    }

    /// A namespace that nothing leads to any more is gone, and its sockets with it, unless a
    /// process still holds one of them: that keeps it, out of reach.
    fn keep_held(&mut self, known: impl Iterator<Item = ObservedSocket>) {
        let known: Vec<ObservedSocket> = known.collect();
        let inodes = known.iter().filter_map(|socket| socket.inode);
        let search = find_holders(&inodes.map(Inode::get).collect(), &[]);
        let is_held = |socket: &ObservedSocket| {
            let held = |inode: Inode| search.descriptors.of(inode.get()).next().is_some();
            socket.inode.is_some_and(held)
        };
        let kept: Vec<ObservedSocket> = known.into_iter().filter(is_held).collect();
        let unreached: BTreeSet<NetNs> = kept.iter().filter_map(|socket| socket.netns).collect();
        let gaps = unreached.into_iter().map(|netns| {
            CoverageGap::new(format!(
                "network namespace {netns} cannot be found any more, though processes elsewhere hold sockets of it: \
                 they are shown as they were"
            ))
        });
        self.gaps.extend(gaps);
        self.sockets.extend(kept);
    }

    /// Without /proc the own namespace has no number, and no other is found.
    fn read_own(&mut self, wanted: &Wanted<'_>, known: &[ObservedSocket]) {
        let read = DiagClient::open()
            .and_then(|mut diag| self.read_sockets(wanted, &mut diag, SocketFamilies::Both, known));
        if let Err(error) = read {
            self.not_read("the own network namespace", error, known);
        }
    }

    /// Returns false where the namespace is gone.
    fn read_namespace(
        &mut self,
        wanted: &Wanted<'_>,
        handle: &NetNsHandle,
        known: &[ObservedSocket],
    ) -> bool {
        let entered = handle.enter(|| {
            let families = sockstat::families();
            (
                net_identity("thread-self"),
                families.map(|families| (families, DiagClient::open())),
            )
        });
        let read = match entered {
            Ok((identity, sockets)) => {
                self.identities.extend(identity);
                match sockets {
                    Some((families, Ok(mut diag))) => {
                        self.read_sockets(wanted, &mut diag, families, known)
                    }
                    Some((_, Err(error))) => Err(error),
                    None => Ok(()),
                }
            }
            Err(error) => Err(error.into()),
        };
        match read {
            Ok(()) => {}
            // And its sockets with it.
            Err(DiagError::Namespace(NetNsError::Vanished(_))) => return false,
            Err(error) => {
                self.not_read(&format!("network namespace {}", handle.id()), error, known);
            }
        }
        true
    }

    fn not_read(&mut self, namespace: &str, error: DiagError, known: &[ObservedSocket]) {
        // A socket that is not seen is not gone.
        self.sockets.extend_from_slice(known);
        let text = format!("{namespace}: {:#}", anyhow::Error::from(error));
        self.gaps.push(CoverageGap::new(text));
    }

    fn read_sockets(
        &mut self,
        wanted: &Wanted<'_>,
        diag: &mut DiagClient,
        families: SocketFamilies,
        known: &[ObservedSocket],
    ) -> Result<(), DiagError> {
        let begun = now();
        let query = DumpQuery::states(STATES.with(TcpState::Listen));
        let (sockets, report) = diag.collect(&query.with_info().family(families))?;
        // The kernel computes ages when it comes to a socket; a long list takes it 50 ms.
        let listed = begun + Nanos((now() - begun).0 / 2);
        let late = listed - self.at;
        if report.interrupted {
            let text = format!(
                "the sockets of network namespace {} changed while they were listed, each of three times: some may be \
                 missing",
                diag.netns().map_or(0, NetNs::get)
            );
            self.gaps.push(CoverageGap::new(text));
        }
        for socket in &sockets {
            match socket.state {
                TcpState::Listen => self.listeners.push(Listener::from(socket)),
                _ if wanted.filter.matches_tuple(diag.netns(), &socket.tuple) => {
                    self.sockets.push(observe(socket, late));
                }
                _ => {}
            }
        }
        // A dump may miss a socket, though seldom.
        for socket in known {
            let place = sockets.binary_search_by_key(&socket.id, |socket| socket.id);
            if place.is_err() {
                let found = look_up(diag, socket)?;
                self.sockets
                    .extend(found.as_ref().map(|socket| observe(socket, late)));
            }
        }
        Ok(())
    }

    /// Returns which of these sockets have left their state. While /proc was read, the process that
    /// held one may have closed it.
    pub(super) fn gone(&self, sockets: &[ObservedSocket]) -> HashSet<EndpointId> {
        let mut gone = self.gone_by_now(sockets.iter());
        if gone.len() < sockets.len() {
            // A close() takes the descriptor away first.
            thread::sleep(CLOSING);
            let rest = sockets.iter().filter(|socket| !gone.contains(&socket.id));
            let later = self.gone_by_now(rest);
            gone.extend(later);
        }
        gone
    }

    fn gone_by_now<'a>(
        &self,
        sockets: impl Iterator<Item = &'a ObservedSocket>,
    ) -> HashSet<EndpointId> {
        let mut by_namespace: HashMap<Option<NetNs>, Vec<&ObservedSocket>> = HashMap::new();
        for socket in sockets.take(LOOKED_UP_AGAIN) {
            by_namespace.entry(socket.netns).or_default().push(socket);
        }
        let mut gone = HashSet::new();
        for (netns, sockets) in by_namespace {
            let diag = match netns.map(|netns| self.handles.get(&netns)) {
                Some(Some(handle)) => DiagClient::open_in(handle),
                Some(None) => continue,
                None => DiagClient::open(),
            };
            let Ok(mut diag) = diag else { continue };
            let absent = sockets
                .into_iter()
                .filter(|socket| matches!(look_up(&mut diag, socket), Ok(None)));
            gone.extend(absent.map(|socket| socket.id));
        }
        gone
    }
}

/// Returns the socket as it is now; `None` when it is not in a state any more in which it can be
/// stuck.
fn look_up(
    diag: &mut DiagClient,
    socket: &ObservedSocket,
) -> Result<Option<KernelSocket>, DiagError> {
    let lookup = SocketLookup::tuple(socket.tuple)
        .id(socket.id)
        .interface(socket.interface)
        .with_info();
    let found = diag.find(&lookup)?;
    Ok(found.filter(|socket| STUCK_STATES.contains(&socket.state)))
}
