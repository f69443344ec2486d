//! Probes of single sockets that may be stuck.

use std::collections::HashMap;

use tcpclose_common::TcpState;

use super::holders::SocketHolders;
use super::listeners::Listener;
use super::observe::{STATES, observe};
use tcpclose_core::stuck::{
    ObservedSocket, ProbeRequest, ProbeResponse, ProbedSocket, STUCK_STATES,
};
use tcpclose_core::types::{EndpointId, Nanos, NetNs};
use tcpclose_sys::kernel::clock::now;
use tcpclose_sys::kernel::netns;
use tcpclose_sys::kernel::netns_cache::NetnsCache;
use tcpclose_sys::kernel::sock_diag::{
    DiagClient, DiagError, DumpQuery, KernelSocket, SocketLookup, StateSet,
};

/// Up to so many sockets of a namespace are looked up one by one. Listing them makes the kernel
/// walk over all that are open on the host.
const ONE_BY_ONE: usize = 64;

/// Probes sockets in whatever namespace they live, and searches /proc for their holders. That may
/// take a second, so it is for a thread of its own.
#[derive(Debug, Default)]
pub struct Prober {
    netns_cache: NetnsCache,
}

/// What was found of the sockets that are probed.
#[derive(Default)]
struct Found {
    /// Each with its request.
    sockets: Vec<(ProbeRequest, ObservedSocket)>,
    listeners: Vec<Listener>,
}

impl Prober {
    /// Probes these sockets.
    #[must_use]
    pub fn probe(&mut self, requests: &[ProbeRequest]) -> ProbeResponse {
        let at = now();
        let mut found = Found::default();
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
            // One that cannot be entered any more is gone, and its sockets with it.
            if let Ok(mut diag) = self.netns_cache.open_diag(netns) {
                let _ = found.search(&mut diag, &requests, at);
            }
        }
        let sockets = found.sockets.iter().map(|(_, socket)| socket);
        let (holders, _) = SocketHolders::find(sockets, &found.listeners, &[], None);
        let found = found.sockets.iter().map(|(request, socket)| ProbedSocket {
            id: request.id,
            socket: *socket,
            holders: holders.of(socket),
            process: holders.owner(socket).cloned(),
        });
        ProbeResponse {
            at,
            found: found.collect(),
            ended: now(),
        }
    }
}

impl Found {
    /// Searches all namespaces for sockets whose own is not known: the classic tracepoint does not
    /// show it. Where two have the same addresses and ports, neither is found.
    fn search_everywhere(&mut self, requests: &[ProbeRequest], began: Nanos) {
        let mut all = Self::default();
        let own = netns::current();
        if let Ok(mut diag) = DiagClient::open() {
            let _ = all.list(&mut diag, requests, began);
        }
        for handle in netns::scan().namespaces {
            if own.as_ref().is_ok_and(|own| *own == handle.id()) {
                continue;
            }
            if let Ok(mut diag) = DiagClient::open_in(&handle) {
                let _ = all.list(&mut diag, requests, began);
            }
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
        let few = requests.len() <= ONE_BY_ONE;
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
        let (sockets, _) = diag.collect(&DumpQuery::states(STATES).with_info())?;
        // The kernel computes ages when it comes to a socket.
        let late = start + Nanos((now() - start).0 / 2) - began;
        let by_tuple: HashMap<_, _> = sockets
            .iter()
            .map(|socket| (socket.tuple, socket))
            .collect();
        for request in requests {
            let is_same = |socket: &&&KernelSocket| request.cookie.is_none_or(|id| id == socket.id);
            if let Some(socket) = by_tuple.get(&request.tuple).filter(is_same) {
                self.take(request, socket, late);
            }
        }
        self.find_listeners(diag, before)
    }

    /// Finds the listeners of the sockets that were found from `before` on.
    fn find_listeners(&mut self, diag: &mut DiagClient, before: usize) -> Result<(), DiagError> {
        // A connection without a file waits in the queue of a listening socket.
        if self.sockets[before..]
            .iter()
            .any(|(_, socket)| socket.inode.is_none())
        {
            let listening = DumpQuery::states(StateSet::of(&[TcpState::Listen]));
            let (sockets, _) = diag.collect(&listening)?;
            self.listeners.extend(sockets.iter().map(Listener::from));
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
            let lookup = SocketLookup::tuple(request.tuple).with_info();
            let lookup = request.cookie.map_or(lookup, |cookie| lookup.id(cookie));
            if let Some(socket) = diag.find(&lookup)? {
                self.take(request, &socket, now() - began);
            }
        }
        Ok(())
    }

    fn take(&mut self, request: &ProbeRequest, socket: &KernelSocket, late: Nanos) {
        if STUCK_STATES.contains(&socket.state) {
            self.sockets.push((*request, observe(socket, late)));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Read};
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsRawFd;

    use super::*;
    use tcpclose_core::types::{Port, Tuple};

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
        for count in [1, ONE_BY_ONE + 1] {
            let all: Vec<_> = (0..count)
                .map(|_| stuck(&listener))
                .collect::<io::Result<_>>()?;
            let mut requests: Vec<ProbeRequest> = all.iter().map(|(_, request)| *request).collect();
            let mut elsewhere = requests[0];
            elsewhere.id = EndpointId(u64::MAX);
            elsewhere.tuple.peer_port = Port::new(1);
            requests.push(elsewhere);
            let response = Prober::default().probe(&requests);
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
        let response = Prober::default().probe(&[request]);
        assert_eq!(response.found.len(), 1);
        assert_eq!(response.found[0].socket.netns, Some(netns::current()?));
        Ok(())
    }

    #[test]
    fn of_a_namespace_that_is_not_there_nothing_is_known() -> io::Result<()> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let (_socket, mut request) = stuck(&listener)?;
        request.netns = NetNs::new(1);
        assert!(Prober::default().probe(&[request]).found.is_empty());
        Ok(())
    }
}
