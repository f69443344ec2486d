//! One look at the host: every namespace's sockets in CLOSE_WAIT, and who holds the old ones.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::mem;

use tcpclose_common::TcpState;

use super::blind::{self, Blind, net_identity};
use super::held::Held;
use super::in_use;
use super::listeners::Listener;
use super::report::{Owner, Report};
use super::walk::Walk;
use super::witness::Testimony;
use crate::host::descriptors::Search;
use crate::kernel::monotonic::now;
use crate::kernel::netns::{self, NetNsError, NetNsHandle, Place};
use crate::kernel::sock_diag::{
    DiagError, DiagSocket, Families, Lookup, Query, Socket, StateSet, Timer,
};
use crate::lifecycle::leak::{Activity, CloseWait, Growths, Leak, LeakEnd, Ledger};
use crate::lifecycle::types::{ConnId, IpVersion, Nanos, NetNs};

/// Which sockets are looked for.
pub struct Wanted {
    /// The least age.
    pub min_age: Nanos,
    /// Held by these; empty for any.
    pub pids: Vec<u32>,
    /// On these; empty for any.
    pub local_ports: BTreeSet<u16>,
    /// With these; empty for any.
    pub peer_ports: BTreeSet<u16>,
    /// Of this version; else of both.
    pub ip: Option<IpVersion>,
    /// Only there; else everywhere.
    pub netns: Option<NetNsHandle>,
    /// Half-closes at work too.
    pub still_sending: bool,
}

impl Wanted {
    fn has(&self, socket: &Socket) -> bool {
        let tuple = &socket.tuple;
        let among = |ports: &BTreeSet<u16>, port| ports.is_empty() || ports.contains(&port);
        among(&self.local_ports, tuple.local_port)
            && among(&self.peer_ports, tuple.peer_port)
            && self.ip.is_none_or(|ip| ip == tuple.ip())
    }
}

/// Looks, and remembers what it saw for the next look.
pub struct Looker {
    wanted: Wanted,
    ledger: Ledger,
    growths: Growths<(Owner, u64)>,
    /// Leaks of the last report.
    told: HashSet<ConnId>,
    blind: Vec<Blind>,
    testimony: Option<Testimony>,
}

/// A leak of the last report that is no more.
#[derive(Clone, Copy, Debug)]
pub struct Resolved {
    /// As it was when it was last seen.
    pub leak: Leak,
    /// When it ended; where nobody saw that, when it was missed.
    pub at: Nanos,
    /// How it ended.
    pub end: LeakEnd,
}

/// What the namespaces' tables hold.
#[derive(Default)]
struct Tables {
    /// When the look began. Ages are told as of then.
    at: Nanos,
    close_wait: Vec<CloseWait>,
    listeners: Vec<Listener>,
    /// The namespaces that were looked at.
    identities: HashSet<u64>,
}

impl Looker {
    /// Looks for what is wanted.
    #[must_use]
    pub fn new(wanted: Wanted) -> Self {
        Self {
            wanted,
            ledger: Ledger::default(),
            growths: Growths::default(),
            told: HashSet::new(),
            blind: vec![],
            testimony: None,
        }
    }

    /// Believes this witness, from now on.
    #[must_use]
    pub fn with_testimony(mut self, testimony: Testimony) -> Self {
        self.testimony = Some(testimony);
        self
    }

    /// What the last look could not see.
    #[must_use]
    pub fn take_blind(&mut self) -> Vec<Blind> {
        mem::take(&mut self.blind)
    }

    /// What is there now, and what was a leak in the last report and is gone.
    pub fn look(&mut self) -> (Report, Vec<Resolved>) {
        let at = now();
        let mut tables = Tables {
            at,
            ..Tables::default()
        };
        let walk = match &*self.wanted.pids {
            [] => Walk::begin(),
            _ => None,
        };
        let contained = self.read_tables(&mut tables);
        if let Some(testimony) = &self.testimony {
            for socket in &mut tables.close_wait {
                socket.entered = testimony.entered(socket.id);
            }
        }
        let look = self.ledger.look(tables.close_wait, at, self.wanted.min_age);
        let mut leaks = look.old;
        let sending = leaks.iter().filter(|leak| !leak.verdict.is_leak()).count();
        if !self.wanted.still_sending {
            leaks.retain(|leak| leak.verdict.is_leak());
        }

        let served = tables
            .listeners
            .iter()
            .map(|listener| (listener.netns, listener.port))
            .collect();
        let (held, search) = Held::find(
            leaks.iter().map(|leak| &leak.socket),
            &tables.listeners,
            &self.wanted.pids,
            walk,
        );
        self.blind.extend(unseen_holders(
            &leaks,
            &held,
            &search,
            contained,
            &self.wanted.pids,
        ));

        let only_some = !self.wanted.pids.is_empty();
        let mut report = Report {
            at,
            min_age: self.wanted.min_age,
            leaks,
            held,
            own: netns::current().ok(),
            served,
            sending: if only_some { 0 } else { sending },
            younger: if only_some { 0 } else { look.younger },
            hidden: if only_some { 0 } else { look.hidden },
            unseen_processes: search.hidden || contained || !search.unreadable.is_empty(),
            ..Report::default()
        };
        if only_some {
            let leaks = mem::take(&mut report.leaks);
            let is_held = |leak: &Leak| report.held.descriptors(&leak.socket).next().is_some();
            report.leaks = leaks.into_iter().filter(is_held).collect();
        }
        report.group();
        report.grow(&mut self.growths);

        let mut resolved = look.resolved;
        resolved.retain(|leak| self.told.contains(&leak.socket.id));
        let gone: Vec<ConnId> = resolved.iter().map(|leak| leak.socket.id).collect();
        let testimony = self.testimony.as_ref();
        let left = testimony.map_or_else(HashMap::new, |testimony| testimony.take_left(&gone));
        let resolved = resolved.into_iter().map(|leak| {
            let left = left.get(&leak.socket.id);
            let (at, end) = *left.unwrap_or(&(at, LeakEnd::Unknown));
            Resolved { leak, at, end }
        });
        let told = report.leaks.iter().filter(|leak| leak.verdict.is_leak());
        self.told = told.map(|leak| leak.socket.id).collect();
        (report, resolved.collect())
    }

    /// Says whether there are processes outside of what /proc can show.
    fn read_tables(&mut self, tables: &mut Tables) -> bool {
        let mut told: HashMap<NetNs, Vec<CloseWait>> = HashMap::new();
        for socket in self.ledger.told() {
            told.entry(socket.netns).or_default().push(*socket);
        }
        if let Some(handle) = self.wanted.netns.clone() {
            self.read_namespace(&handle, &told, tables);
            return false;
        }
        let scan = netns::find_all();
        for handle in &scan.found {
            self.read_namespace(handle, &told, tables);
        }
        self.blind
            .extend(blind::of_scan(&scan.unseen, &tables.identities));
        scan.unseen
            .iter()
            .any(|unseen| unseen.place == Place::OtherPidNamespaces)
    }

    fn read_namespace(
        &mut self,
        handle: &NetNsHandle,
        told: &HashMap<NetNs, Vec<CloseWait>>,
        tables: &mut Tables,
    ) {
        let told = told.get(&handle.id()).map_or(&[][..], Vec::as_slice);
        let entered = handle.enter(|| {
            let families = in_use::families();
            (
                net_identity("thread-self"),
                families.map(|families| (families, DiagSocket::open())),
            )
        });
        let read = match entered {
            Ok((identity, sockets)) => {
                tables.identities.extend(identity);
                match sockets {
                    Some((families, Ok(mut diag))) => {
                        self.read_sockets(&mut diag, families, told, tables)
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
            Err(DiagError::Namespace(NetNsError::Vanished(_))) if self.wanted.netns.is_none() => {}
            Err(error) => {
                // What is not seen is not gone.
                tables.close_wait.extend_from_slice(told);
                let text = format!(
                    "network namespace {}: {:#}",
                    handle.id().0,
                    anyhow::Error::from(error)
                );
                self.blind.push(Blind::new(text));
            }
        }
    }

    fn read_sockets(
        &mut self,
        diag: &mut DiagSocket,
        families: Families,
        told: &[CloseWait],
        tables: &mut Tables,
    ) -> Result<(), DiagError> {
        let states = StateSet::of(&[TcpState::CloseWait, TcpState::Listen]);
        let begun = now();
        let (sockets, report) =
            diag.collect(&Query::states(states).with_info().family(families))?;
        // The kernel tells ages as of when it came by; a long list takes it 50 ms.
        let listed = begun + Nanos((now() - begun).0 / 2);
        let late = listed - tables.at;
        if report.interrupted {
            let text = format!(
                "the sockets of network namespace {} changed while they were listed, each of three times: some may be \
                 missing",
                diag.netns().0
            );
            self.blind.push(Blind::new(text));
        }
        for socket in &sockets {
            match socket.state {
                TcpState::Listen => tables.listeners.push(Listener::from(socket)),
                _ if self.wanted.has(socket) => tables.close_wait.push(close_wait(socket, late)),
                _ => {}
            }
        }
        // A dump may miss a socket, though seldom.
        for socket in told {
            if sockets
                .binary_search_by_key(&socket.id, |socket| socket.id)
                .is_err()
            {
                let lookup = Lookup::tuple(socket.tuple)
                    .id(socket.id)
                    .interface(socket.interface)
                    .with_info();
                let still = diag
                    .lookup(&lookup)?
                    .filter(|socket| socket.state == TcpState::CloseWait);
                tables
                    .close_wait
                    .extend(still.as_ref().map(|socket| close_wait(socket, late)));
            }
        }
        Ok(())
    }
}

/// What is missing among the holders of these leaks.
fn unseen_holders(
    leaks: &[Leak],
    held: &Held,
    search: &Search,
    contained: bool,
    pids: &[u32],
) -> Option<Blind> {
    let accepted = leaks.iter().filter(|leak| leak.socket.inode != 0);
    let unheld = accepted.filter(|leak| held.holders.of(leak.socket.inode).next().is_none());
    blind::of_search(search, unheld.count(), contained, !pids.is_empty())
}

/// `late`: how long after the look's beginning the socket was listed.
pub(super) fn close_wait(socket: &Socket, late: Nanos) -> CloseWait {
    let ms = |ms: u32| Nanos::from_millis(ms.into()) - late;
    CloseWait {
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
            bytes_sent: info.bytes_sent,
        }),
    }
}
