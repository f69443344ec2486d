//! Collects the connections that this host opened, with their local ports, in every network
//! namespace.

use std::collections::{BTreeMap, HashMap, HashSet};

use tcpclose_common::TcpState;
use tcpclose_core::TIME_WAIT;
use tcpclose_core::filter::ConnectionFilter;
use tcpclose_core::routes::{PortHolder, RouteUsage, ScannedPort};
use tcpclose_core::summary::Route;
use tcpclose_core::types::{Inode, Nanos, NetNs, Opening, Port, Tuple};
use tcpclose_sys::kernel::clock::now;
use tcpclose_sys::kernel::netns::{NetNsError, NetNsHandle};
use tcpclose_sys::kernel::sock_diag::{
    DiagClient, DiagError, DumpQuery, KernelSocket, SocketFamilies, StateSet,
};

use super::ephemeral_ports::{EphemeralPorts, EphemeralPortsError};
use crate::coverage::{CoverageGap, namespace_text};
use crate::error_chain::error_chain;
use crate::namespace_walk::{NamespaceReader, NamespaceWalk};
use crate::sockstat;

/// A route as a scan has found it.
pub(super) struct FoundRoute {
    pub usage: RouteUsage,
    /// The live connections: the inodes of their sockets, `None` without a file.
    pub live: Vec<Option<Inode>>,
    /// The minisockets, by their local ports.
    pub minisockets: Vec<(Port, Tuple)>,
}

/// The routes of all namespaces that were read.
pub(super) struct FoundRoutes<'a> {
    filter: &'a ConnectionFilter,
    /// Those of which a connection passes the filter on addresses.
    pub routes: Vec<FoundRoute>,
    pub gaps: Vec<CoverageGap>,
    /// Namespaces with routes whose ports are not known, by the reason.
    unknown: BTreeMap<String, Vec<Option<NetNs>>>,
}

/// A connection that has a local port.
struct Connection {
    tuple: Tuple,
    holder: PortHolder,
    opening: Option<Opening>,
    timestamps: Option<bool>,
    inode: Option<Inode>,
}

/// The connections of one route.
#[derive(Default)]
struct Members {
    ports: Vec<ScannedPort>,
    live: Vec<(Port, Option<Inode>)>,
    minisockets: Vec<(Port, Tuple)>,
    timestamps: Option<bool>,
    /// Whether one of them passes the filter on addresses.
    is_wanted: bool,
}

impl NamespaceReader for FoundRoutes<'_> {
    fn read(&mut self, walk: &mut NamespaceWalk, handle: &NetNsHandle) -> bool {
        let entered = walk.enter(handle, || {
            let families = sockstat::families_with_time_wait()?;
            Some((families, EphemeralPorts::read(), DiagClient::open()))
        });
        let read = match entered {
            Ok(Some((families, ephemeral, Ok(mut diag)))) => {
                self.read_sockets(walk, &mut diag, families, ephemeral)
            }
            Ok(Some((_, _, Err(error)))) => Err(error),
            Ok(None) => Ok(()),
            Err(error) => Err(error.into()),
        };
        match read {
            Ok(()) => {}
            Err(DiagError::Namespace(NetNsError::Vanished(_))) => return false,
            Err(error) => self.note_unread(&namespace_text(Some(handle.id())), &error),
        }
        true
    }

    fn read_own(&mut self, walk: &mut NamespaceWalk) {
        let read = DiagClient::open().and_then(|mut diag| {
            let ephemeral = EphemeralPorts::read();
            self.read_sockets(walk, &mut diag, SocketFamilies::Both, ephemeral)
        });
        if let Err(error) = read {
            self.note_unread("the own network namespace", &error);
        }
    }
}

impl<'a> FoundRoutes<'a> {
    pub fn new(filter: &'a ConnectionFilter) -> Self {
        Self {
            filter,
            routes: Vec::new(),
            gaps: Vec::new(),
            unknown: BTreeMap::new(),
        }
    }

    /// Notes once for each reason in which namespaces it is not known which ports connect() may
    /// choose.
    pub fn note_unknown(&mut self) {
        for (why, namespaces) in std::mem::take(&mut self.unknown) {
            let first = namespace_text(namespaces.first().copied().flatten());
            let others = match namespaces.len() {
                0 | 1 => String::new(),
                several => format!(" and {} others", several - 1),
            };
            let text =
                format!("how many ports connect() may choose in {first}{others} is unknown: {why}");
            self.gaps.push(CoverageGap::new(text));
        }
    }

    fn note_unread(&mut self, namespace: &str, error: &DiagError) {
        let text = format!("{namespace}: {}", error_chain(error));
        self.gaps.push(CoverageGap::new(text));
    }

    fn read_sockets(
        &mut self,
        walk: &mut NamespaceWalk,
        diag: &mut DiagClient,
        families: SocketFamilies,
        ephemeral: Result<EphemeralPorts, EphemeralPortsError>,
    ) -> Result<(), DiagError> {
        let begun = now();
        let (mut connections, mut bound) = (Vec::new(), HashSet::new());
        let query = DumpQuery::new(StateSet::all()).with_info();
        let listed = |socket: &KernelSocket| {
            walk.known.inodes.extend(socket.inode.map(Inode::get));
            match (socket.tuple.local_port, socket.state) {
                (None, _) => {}
                // What comes in is on a port of a listening socket.
                (Some(port), TcpState::Listen | TcpState::SynRecv) => drop(bound.insert(port)),
                (Some(_), _) => connections.push(Connection::new(socket, begun)),
            }
        };
        let report = diag.dump_all(&query.with_families(families), listed)?;
        let at = begun + Nanos((now() - begun).0 / 2);
        if report.interrupted {
            let text = format!(
                "the sockets of {} changed during each of three attempts to list them: some may be missing",
                namespace_text(diag.netns())
            );
            self.gaps.push(CoverageGap::new(text));
        }
        self.add(diag.netns(), connections, &bound, ephemeral, at);
        Ok(())
    }

    /// Groups the connections of a namespace by route.
    fn add(
        &mut self,
        netns: Option<NetNs>,
        connections: Vec<Connection>,
        listening: &HashSet<Port>,
        ephemeral: Result<EphemeralPorts, EphemeralPortsError>,
        at: Nanos,
    ) {
        let accepted = connections
            .iter()
            .filter(|one| one.opening == Some(Opening::Passive));
        let accepted = accepted.filter_map(|one| one.tuple.local_port);
        let ephemeral = ephemeral.map(|mut ephemeral| {
            ephemeral.leave_out(listening.iter().copied().chain(accepted));
            ephemeral
        });
        let mut members: HashMap<Route, Members> = HashMap::new();
        for connection in &connections {
            let Some(port) = connection.tuple.local_port else {
                continue;
            };
            let may_choose = match &ephemeral {
                Ok(ephemeral) => ephemeral.contains(port),
                Err(_) => {
                    let was_accepted = connection.opening == Some(Opening::Passive);
                    !was_accepted && !listening.contains(&port)
                }
            };
            if !may_choose || connection.tuple.is_self_test() {
                continue;
            }
            let route = Route {
                netns,
                local: connection.tuple.local().ip(),
                peer: connection.tuple.peer(),
            };
            let of_route = members.entry(route).or_default();
            of_route.add(port, connection);
            of_route.is_wanted |= self.filter.matches_addresses(netns, &connection.tuple);
        }
        members.retain(|_, members| members.is_wanted);
        let settings = ephemeral.as_ref().ok().map(EphemeralPorts::settings);
        if let Err(error) = &ephemeral
            && !members.is_empty()
        {
            let namespaces = self.unknown.entry(error.to_string()).or_default();
            namespaces.push(netns);
        }
        let found = members.into_iter().map(|(route, mut members)| {
            // A dump may list a connection twice.
            members.live.sort_unstable();
            members.live.dedup_by_key(|(port, _)| *port);
            members.minisockets.sort_unstable_by_key(|(port, _)| *port);
            members.minisockets.dedup_by_key(|(port, _)| *port);
            // What a new connection has taken over counts as that connection's.
            let live = &members.live;
            let is_live = |port| live.binary_search_by_key(&port, |(port, _)| *port).is_ok();
            members.minisockets.retain(|(port, _)| !is_live(*port));
            FoundRoute {
                usage: RouteUsage::new(route, members.ports, settings, members.timestamps, at),
                live: members.live.into_iter().map(|(_, inode)| inode).collect(),
                minisockets: members.minisockets,
            }
        });
        self.routes.extend(found);
    }
}

impl Connection {
    fn new(socket: &KernelSocket, at: Nanos) -> Self {
        let holder = match socket.remaining_ms() {
            Some(ms) if socket.state == TcpState::TimeWait => {
                let end = at + Nanos::from_millis(ms.into());
                PortHolder::TimeWait(end - TIME_WAIT)
            }
            Some(_) => PortHolder::FinWait2,
            None => PortHolder::Socket,
        };
        Self {
            tuple: socket.tuple,
            holder,
            opening: socket.opening(),
            timestamps: socket.info.map(|info| info.timestamps),
            inode: socket.inode,
        }
    }
}

impl Members {
    fn add(&mut self, port: Port, connection: &Connection) {
        let holder = connection.holder;
        self.ports.push(ScannedPort { port, holder });
        if holder == PortHolder::Socket {
            self.live.push((port, connection.inode));
        } else {
            self.minisockets.push((port, connection.tuple));
        }
        self.timestamps = self.timestamps.or(connection.timestamps);
    }
}
