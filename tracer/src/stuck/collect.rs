//! What the tables of the network namespaces hold.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::thread;
use std::time::Duration;

use tcpclose_common::TcpState;

use super::coverage::{self, CoverageGap, net_identity};
use super::listeners::Listener;
use super::scanner::Wanted;
use super::sockstat;
use tcpclose_core::stuck::{Activity, ObservedSocket};
use tcpclose_core::types::{EndpointId, Inode, Nanos, NetNs};
use tcpclose_sys::host::descriptors::find_holders;
use tcpclose_sys::kernel::clock::now;
use tcpclose_sys::kernel::netns::{self, NetNsError, NetNsHandle};
use tcpclose_sys::kernel::sock_diag::{
    DiagError, DiagSocket, Families, Lookup, Query, Socket, StateSet, Timer,
};

/// Sockets that are asked for again at most.
const ASKED_AGAIN: usize = 4096;

/// What a close() that is under way is given to end.
const CLOSING: Duration = Duration::from_millis(20);

/// What one look found in them.
#[derive(Default)]
pub(super) struct Tables {
    /// When the look began. Ages are told as of then.
    at: Nanos,
    pub close_wait: Vec<ObservedSocket>,
    pub listeners: Vec<Listener>,
    /// What could not be read.
    pub blind: Vec<CoverageGap>,
    /// The namespaces that were looked at, as [`net_identity`] knows them.
    identities: HashSet<u64>,
    /// The same, and the ways in.
    netns_cache: HashMap<NetNs, NetNsHandle>,
}

impl Tables {
    /// Reads those that are wanted. `told`: sockets that were told of as leaks.
    pub fn read<'a>(
        wanted: &Wanted,
        told: impl Iterator<Item = &'a ObservedSocket>,
        at: Nanos,
    ) -> Self {
        let mut by_namespace: HashMap<Option<NetNs>, Vec<ObservedSocket>> = HashMap::new();
        for socket in told {
            by_namespace.entry(socket.netns).or_default().push(*socket);
        }
        let mut tables = Self {
            at,
            ..Self::default()
        };
        let mut read = |tables: &mut Self, handle: NetNsHandle| {
            let told = by_namespace.remove(&Some(handle.id())).unwrap_or_default();
            let is_same = || match wanted
                .cookie
                .map(|known| (known, handle.enter(netns::cookie)))
            {
                Some((known, Ok(Ok(cookie)))) => known == cookie,
                _ => true,
            };
            let there = is_same() && tables.read_namespace(wanted, &handle, &told);
            if there {
                tables.netns_cache.insert(handle.id(), handle);
            } else {
                by_namespace.insert(Some(handle.id()), told);
            }
            there
        };
        if let Some(handle) = &wanted.netns {
            // Its file may be gone, and others still live in it; or another one has its number by now.
            let there = read(&mut tables, handle.clone())
                || netns::by_inode(handle.id()).is_ok_and(|other| read(&mut tables, other));
            if !there {
                let text = format!(
                    "network namespace {} is gone: no process lives in it, and no file leads to it",
                    handle.id()
                );
                tables.blind.push(CoverageGap::note(text));
            }
        } else {
            let scan = netns::find_all();
            let none = scan.found.is_empty();
            for handle in scan.found {
                read(&mut tables, handle);
            }
            if none {
                let told = by_namespace.remove(&None).unwrap_or_default();
                tables.read_own(wanted, &told);
            }
            let unseen = coverage::of_scan(&scan.unseen, &tables.identities);
            tables.blind.extend(unseen);
        }
        tables.keep_held(by_namespace.into_values().flatten());
        tables
    }

    /// A namespace that nothing leads to any more is gone, and its sockets with it; only one that a process still holds
    /// keeps it, out of reach.
    fn keep_held(&mut self, told: impl Iterator<Item = ObservedSocket>) {
        let told: Vec<ObservedSocket> = told.collect();
        let inodes = told.iter().filter_map(|socket| socket.inode);
        let search = find_holders(&inodes.map(Inode::get).collect(), &[]);
        let is_held = |socket: &ObservedSocket| {
            let held = |inode: Inode| search.holders.of(inode.get()).next().is_some();
            socket.inode.is_some_and(held)
        };
        let kept: Vec<ObservedSocket> = told.into_iter().filter(is_held).collect();
        let unreached: BTreeSet<NetNs> = kept.iter().filter_map(|socket| socket.netns).collect();
        let said = unreached.into_iter().map(|netns| {
            CoverageGap::new(format!(
                "network namespace {} cannot be found any more, though processes elsewhere hold sockets of it: they are \
                 shown as they were",
                netns
            ))
        });
        self.blind.extend(said);
        self.close_wait.extend(kept);
    }

    /// Without /proc, the own namespace has no number, and no other is found.
    fn read_own(&mut self, wanted: &Wanted, told: &[ObservedSocket]) {
        let read = DiagSocket::open()
            .and_then(|mut diag| self.read_sockets(wanted, &mut diag, Families::Both, told));
        if let Err(error) = read {
            self.missed("the own network namespace", error, told);
        }
    }

    /// False where it is gone.
    fn read_namespace(
        &mut self,
        wanted: &Wanted,
        handle: &NetNsHandle,
        told: &[ObservedSocket],
    ) -> bool {
        let entered = handle.enter(|| {
            let families = sockstat::families();
            (
                net_identity("thread-self"),
                families.map(|families| (families, DiagSocket::open())),
            )
        });
        let read = match entered {
            Ok((identity, sockets)) => {
                self.identities.extend(identity);
                match sockets {
                    Some((families, Ok(mut diag))) => {
                        self.read_sockets(wanted, &mut diag, families, told)
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
                self.missed(&format!("network namespace {}", handle.id()), error, told);
            }
        }
        true
    }

    fn missed(&mut self, place: &str, error: DiagError, told: &[ObservedSocket]) {
        // What is not seen is not gone.
        self.close_wait.extend_from_slice(told);
        let text = format!("{place}: {:#}", anyhow::Error::from(error));
        self.blind.push(CoverageGap::new(text));
    }

    fn read_sockets(
        &mut self,
        wanted: &Wanted,
        diag: &mut DiagSocket,
        families: Families,
        told: &[ObservedSocket],
    ) -> Result<(), DiagError> {
        let states = StateSet::of(&[TcpState::CloseWait, TcpState::Listen]);
        let begun = now();
        let (sockets, report) =
            diag.collect(&Query::states(states).with_info().family(families))?;
        // The kernel tells ages as of when it came by; a long list takes it 50 ms.
        let listed = begun + Nanos((now() - begun).0 / 2);
        let late = listed - self.at;
        if report.interrupted {
            let text = format!(
                "the sockets of network namespace {} changed while they were listed, each of three times: some may be \
                 missing",
                diag.netns().map_or(0, NetNs::get)
            );
            self.blind.push(CoverageGap::new(text));
        }
        for socket in &sockets {
            match socket.state {
                TcpState::Listen => self.listeners.push(Listener::from(socket)),
                _ if wanted.filter.matches_tuple(diag.netns(), &socket.tuple) => {
                    self.close_wait.push(close_wait(socket, late));
                }
                _ => {}
            }
        }
        // A dump may miss a socket, though seldom.
        for socket in told {
            if sockets
                .binary_search_by_key(&socket.id, |socket| socket.id)
                .is_err()
            {
                let still = still(diag, socket)?;
                self.close_wait
                    .extend(still.as_ref().map(|socket| close_wait(socket, late)));
            }
        }
        Ok(())
    }

    /// Which of these sockets are not in CLOSE_WAIT any more. While /proc was read, whoever held one may have closed it.
    pub fn left(&self, sockets: &[ObservedSocket]) -> HashSet<EndpointId> {
        let mut left = self.left_by_now(sockets.iter());
        if left.len() < sockets.len() {
            // A close() takes the descriptor away first.
            thread::sleep(CLOSING);
            let rest = sockets.iter().filter(|socket| !left.contains(&socket.id));
            let later = self.left_by_now(rest);
            left.extend(later);
        }
        left
    }

    fn left_by_now<'a>(
        &self,
        sockets: impl Iterator<Item = &'a ObservedSocket>,
    ) -> HashSet<EndpointId> {
        let mut by_namespace: HashMap<Option<NetNs>, Vec<&ObservedSocket>> = HashMap::new();
        for socket in sockets.take(ASKED_AGAIN) {
            by_namespace.entry(socket.netns).or_default().push(socket);
        }
        let mut left = HashSet::new();
        for (netns, sockets) in by_namespace {
            let diag = match netns.map(|netns| self.netns_cache.get(&netns)) {
                Some(Some(handle)) => DiagSocket::open_in(handle),
                Some(None) => continue,
                None => DiagSocket::open(),
            };
            let Ok(mut diag) = diag else { continue };
            let gone = sockets
                .into_iter()
                .filter(|socket| matches!(still(&mut diag, socket), Ok(None)));
            left.extend(gone.map(|socket| socket.id));
        }
        left
    }
}

/// The socket as it is now; `None` when it is not in CLOSE_WAIT any more.
fn still(diag: &mut DiagSocket, socket: &ObservedSocket) -> Result<Option<Socket>, DiagError> {
    let lookup = Lookup::tuple(socket.tuple)
        .id(socket.id)
        .interface(socket.interface)
        .with_info();
    let found = diag.lookup(&lookup)?;
    Ok(found.filter(|socket| socket.state == TcpState::CloseWait))
}

/// `late`: how long after the look's beginning the socket was listed.
pub(super) fn close_wait(socket: &Socket, late: Nanos) -> ObservedSocket {
    let ms = |ms: u32| Nanos::from_millis(ms.into()) - late;
    ObservedSocket {
        id: socket.id,
        netns: socket.netns,
        tuple: socket.tuple,
        interface: socket.interface,
        inode: socket.inode,
        uid: socket.uid,
        cgroup: socket.cgroup,
        queued: socket.rqueue,
        unsent: socket.wqueue,
        keepalive: socket.timer == Timer::Keepalive,
        entered: None,
        activity: socket.info.map(|info| Activity {
            since_data: (info.data_segs_in > 0).then(|| ms(info.last_data_recv_ms)),
            since_ack: ms(info.last_ack_recv_ms),
            bytes_acked: info.bytes_acked,
            since_sent: (info.data_segs_out > 0 && info.retransmits == 0)
                .then(|| ms(info.last_data_sent_ms)),
        }),
    }
}
