//! Probes of single sockets that may be stuck.

use std::collections::{HashMap, HashSet};
use std::thread;

use tcpclose_common::TcpState;

use super::collect::{CLOSE_DELAY, MAX_RELOOKUPS, look_up};
use super::holders::{self, SocketHolders};
use super::listeners::ListeningSocket;
use super::observe::{OBSERVED_STATES, observe_stuck};
use super::preference::Preference;
use super::unreachable::UnreachableNamespaces;
use crate::other_namespaces::OtherNamespaces;
use tcpclose_core::ProbeRequest;
use tcpclose_core::stuck::{ObservedSocket, ProbedSocket, STUCK_STATES, StuckProbeResponse};
use tcpclose_core::types::{EndpointId, Nanos, NetNs};
use tcpclose_sys::kernel::clock::now;
use tcpclose_sys::kernel::netns_cache::NetNsCache;
use tcpclose_sys::kernel::sock_diag::{
    DiagClient, DiagError, DumpQuery, KernelSocket, SocketLookup, StateSet,
};

/// The most sockets of a namespace that are looked up one by one; more are read by a dump, for
/// which the kernel walks over all sockets of the host.
const MAX_SINGLE_LOOKUPS: usize = 64;

/// Probes sockets in whatever namespace they live, and searches /proc for their holders. That may
/// take a second, so it is for a thread of its own.
#[derive(Debug)]
pub struct StuckProber {
    netns_cache: NetNsCache,
    unreachable: UnreachableNamespaces,
}

impl Default for StuckProber {
    fn default() -> Self {
        Self {
            netns_cache: NetNsCache::with_namespaces_by_descriptor(),
            unreachable: UnreachableNamespaces::default(),
        }
    }
}

/// The sockets that a probe has found.
#[derive(Default)]
struct ProbedSockets {
    /// Each with its request.
    sockets: Vec<(ProbeRequest, ObservedSocket)>,
    listeners: Vec<ListeningSocket>,
}

impl StuckProber {
    /// Probes these sockets.
    #[must_use]
    pub fn probe(&mut self, requests: &[ProbeRequest]) -> StuckProbeResponse {
        let at = now();
        let mut found = ProbedSockets::default();
        let mut by_namespace: HashMap<Option<NetNs>, Vec<ProbeRequest>> = HashMap::new();
        for request in requests {
            let same = by_namespace.entry(request.netns).or_default();
            same.push(*request);
        }
        for (netns, requests) in by_namespace {
            let Some(netns) = netns else {
                found.search_everywhere(&requests, at);
                continue;
            };
            match self.netns_cache.open_diag(netns) {
                Ok(mut diag) => drop(found.search(&mut diag, &requests, at)),
                Err(_) => self.unreachable.note(netns, &requests),
            }
        }
        let sockets = found.sockets.iter().map(|(_, socket)| socket);
        let (holders, search) = SocketHolders::find(sockets, &found.listeners, &[], None);
        let vanished = self.vanished(&found, &holders);
        let sockets = found.sockets.iter().map(|(_, socket)| socket);
        let preference = Preference::find(sockets, &holders, |netns| match netns {
            Some(netns) => self.netns_cache.open_diag(netns).ok(),
            None => DiagClient::open().ok(),
        });
        let sockets = found.sockets.iter();
        let sockets = sockets.filter(|(request, _)| !vanished.contains(&request.id));
        let found = sockets.map(|(request, socket)| ProbedSocket {
            id: request.id,
            socket: *socket,
            holders: holders.holders_of(socket),
            process: holders
                .owner(socket, |pid| preference.rank(socket, pid))
                .cloned(),
        });
        StuckProbeResponse {
            at,
            found: found.collect(),
            ended: now(),
            coverage: holders::coverage(&search),
        }
    }

    /// Returns the sockets without a holder that are not there any more after a moment: a process
    /// that exits or closes takes the descriptor away first.
    fn vanished(&mut self, found: &ProbedSockets, holders: &SocketHolders) -> HashSet<EndpointId> {
        let unheld = found.sockets.iter();
        let unheld = unheld.filter(|(_, socket)| !socket.is_orphan() && !holders.is_held(socket));
        let mut by_namespace: HashMap<NetNs, Vec<&(ProbeRequest, ObservedSocket)>> = HashMap::new();
        for pair in unheld.take(MAX_RELOOKUPS) {
            if let Some(netns) = pair.1.netns {
                by_namespace.entry(netns).or_default().push(pair);
            }
        }
        let mut vanished = HashSet::new();
        if by_namespace.is_empty() {
            return vanished;
        }
        thread::sleep(CLOSE_DELAY);
        for (netns, sockets) in by_namespace {
            let Ok(mut diag) = self.netns_cache.open_diag(netns) else {
                continue;
            };
            let sockets = sockets.into_iter();
            let gone = sockets.filter(|(_, socket)| matches!(look_up(&mut diag, socket), Ok(None)));
            vanished.extend(gone.map(|(request, _)| request.id));
        }
        vanished
    }
}

impl ProbedSockets {
    /// Searches all namespaces for sockets whose own is not known: the classic tracepoint does not
    /// show it. Where two have the same addresses and ports, neither is found.
    fn search_everywhere(&mut self, requests: &[ProbeRequest], began: Nanos) {
        let mut all = Self::default();
        let own = DiagClient::open().into_iter();
        for mut diag in own.chain(OtherNamespaces::open().sockets) {
            let _ = all.list(&mut diag, requests, began);
        }
        let mut counts: HashMap<EndpointId, usize> = HashMap::new();
        for (request, _) in &all.sockets {
            *counts.entry(request.id).or_default() += 1;
        }
        all.sockets.retain(|(request, _)| counts[&request.id] == 1);
        self.sockets.append(&mut all.sockets);
        self.listeners.append(&mut all.listeners);
    }

    fn search(
        &mut self,
        diag: &mut DiagClient,
        requests: &[ProbeRequest],
        began: Nanos,
    ) -> Result<(), DiagError> {
        let before = self.sockets.len();
        let few = requests.len() <= MAX_SINGLE_LOOKUPS;
        if few && self.look_up(diag, requests, began).is_ok() {
            return self.find_listeners(diag, before);
        }
        self.sockets.truncate(before);
        self.list(diag, requests, began)
    }

    /// Finds the sockets in the namespace's list of all that can be stuck.
    fn list(
        &mut self,
        diag: &mut DiagClient,
        requests: &[ProbeRequest],
        began: Nanos,
    ) -> Result<(), DiagError> {
        let before = self.sockets.len();
        let start = now();
        let (sockets, _) = diag.collect(&DumpQuery::new(OBSERVED_STATES).with_info())?;
        // The kernel computes ages when it comes to a socket.
        let since_scan_start = start + Nanos((now() - start).0 / 2) - began;
        let by_tuple: HashMap<_, _> = sockets
            .iter()
            .map(|socket| (socket.tuple, socket))
            .collect();
        for request in requests {
            let is_same = |socket: &&&KernelSocket| request.cookie.is_none_or(|id| id == socket.id);
            if let Some(socket) = by_tuple.get(&request.tuple).filter(is_same) {
                self.take(request, socket, since_scan_start);
            }
        }
        self.find_listeners(diag, before)
    }

    /// Finds the listeners of the sockets that were found from `before` on.
    fn find_listeners(&mut self, diag: &mut DiagClient, before: usize) -> Result<(), DiagError> {
        // A connection without a file waits in the queue of a listening socket.
        if self.sockets[before..]
            .iter()
            .any(|(_, socket)| socket.waits_for_accept())
        {
            let listening = DumpQuery::new(StateSet::from_states(&[TcpState::Listen]));
            let (sockets, _) = diag.collect(&listening)?;
            self.listeners
                .extend(sockets.iter().map(ListeningSocket::from));
        }
        Ok(())
    }

    /// Looks up one socket after the other.
    fn look_up(
        &mut self,
        diag: &mut DiagClient,
        requests: &[ProbeRequest],
        began: Nanos,
    ) -> Result<(), DiagError> {
        for request in requests {
            let lookup = SocketLookup::from(request).with_info();
            if let Some(socket) = diag.lookup_on_any_interface(&lookup)? {
                self.take(request, &socket, now() - began);
            }
        }
        Ok(())
    }

    fn take(&mut self, request: &ProbeRequest, socket: &KernelSocket, since_scan_start: Nanos) {
        if STUCK_STATES.contains(&socket.state) {
            let observed = observe_stuck(socket, since_scan_start);
            self.sockets
                .extend(observed.map(|observed| (*request, observed)));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Read as _};
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsRawFd as _;

    use super::*;
    use tcpclose_core::types::{Port, Tuple};
    use tcpclose_sys::kernel::netns;

    /// An accepted connection that its peer has closed and that read everything, and the request
    /// that asks for it.
    fn stuck(listener: &TcpListener) -> io::Result<(TcpStream, ProbeRequest)> {
        let peer = TcpStream::connect(listener.local_addr()?)?;
        let (mut accepted, _) = listener.accept()?;
        drop(peer);
        accepted.read_to_end(&mut Vec::new())?;
        let request = ProbeRequest {
            id: EndpointId(accepted.as_raw_fd() as u64),
            cookie: None,
            netns: Some(netns::current()?),
            tuple: Tuple::from((accepted.local_addr()?, accepted.peer_addr()?)),
        };
        Ok((accepted, request))
    }

    #[test]
    fn one_socket_and_many_are_found_alike() -> io::Result<()> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        for count in [1, MAX_SINGLE_LOOKUPS + 1] {
            let all: Vec<_> = (0..count)
                .map(|_| stuck(&listener))
                .collect::<io::Result<_>>()?;
            let mut requests: Vec<ProbeRequest> = all.iter().map(|(_, request)| *request).collect();
            let mut elsewhere = requests[0];
            elsewhere.id = EndpointId(u64::MAX);
            elsewhere.tuple.peer_port = Port::new(1);
            requests.push(elsewhere);
            let response = StuckProber::default().probe(&requests);
            assert_eq!(
                response.found.len(),
                count,
                "the one that is not there is not found"
            );
            for probed in &response.found {
                let ProbedSocket {
                    id,
                    socket,
                    holders,
                    process,
                } = probed;
                assert_eq!(socket.queued, 0);
                let fds = holders.iter().find(|held| held.pid == std::process::id());
                assert!(
                    fds.is_some_and(|held| held.fds.contains(&(id.0 as u32))),
                    "{holders:?}"
                );
                assert!(process.is_some());
            }
            assert!(response.at <= response.ended);
        }
        Ok(())
    }

    #[test]
    fn where_the_namespace_is_unknown_all_are_searched() -> io::Result<()> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let (_socket, mut request) = stuck(&listener)?;
        request.netns = None;
        let response = StuckProber::default().probe(&[request]);
        assert_eq!(response.found.len(), 1);
        assert_eq!(response.found[0].socket.netns, Some(netns::current()?));
        Ok(())
    }

    #[test]
    fn sockets_of_a_missing_namespace_are_not_found() -> io::Result<()> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let (_socket, mut request) = stuck(&listener)?;
        request.netns = NetNs::new(1);
        assert!(StuckProber::default().probe(&[request]).found.is_empty());
        Ok(())
    }
}
