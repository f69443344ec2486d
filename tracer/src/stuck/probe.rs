//! ProbeResponse to the core's questions about single sockets that may be stuck.

use std::collections::HashMap;

use tcpclose_common::TcpState;

use super::collect::close_wait;
use super::holders::SocketHolders;
use super::listeners::Listener;
use tcpclose_core::stuck::{ObservedSocket, ProbeRequest, ProbeResponse, ProbedSocket};
use tcpclose_core::types::{EndpointId, Nanos, NetNs};
use tcpclose_sys::kernel::clock::now;
use tcpclose_sys::kernel::netns;
use tcpclose_sys::kernel::netns_cache::NetnsCache;
use tcpclose_sys::kernel::sock_diag::{DiagError, DiagSocket, Lookup, Query, Socket, StateSet};

/// Up to so many sockets of a namespace are asked for one by one. Listing them costs the kernel a walk over all that are
/// open on the host.
const ONE_BY_ONE: usize = 64;

/// Asks in whatever namespace the sockets live, and looks through /proc for their holders. That may take a second, so
/// it is for a thread of its own.
#[derive(Debug, Default)]
pub struct Prober {
    netns_cache: NetnsCache,
}

/// What the tables of the namespaces hold of what was asked.
#[derive(Default)]
struct Found {
    /// With the question that each is the answer to.
    sockets: Vec<(ProbeRequest, ObservedSocket)>,
    listeners: Vec<Listener>,
}

impl Prober {
    /// Looks at the sockets in question.
    #[must_use]
    pub fn answer(&mut self, questions: &[ProbeRequest]) -> ProbeResponse {
        let at = now();
        let mut found = Found::default();
        let mut by_namespace: HashMap<Option<NetNs>, Vec<ProbeRequest>> = HashMap::new();
        for question in questions {
            let there = by_namespace.entry(question.netns).or_default();
            there.push(*question);
        }
        for (netns, questions) in by_namespace {
            let Some(netns) = netns else {
                found.look_everywhere(&questions, at);
                continue;
            };
            // One that cannot be entered any more is gone, and its sockets with it.
            if let Ok(mut diag) = self.netns_cache.open_diag(netns) {
                let _ = found.look(&mut diag, &questions, at);
            }
        }
        let sockets = found.sockets.iter().map(|(_, socket)| socket);
        let (held, _) = SocketHolders::find(sockets, &found.listeners, &[], None);
        let seen = found.sockets.iter().map(|(question, socket)| ProbedSocket {
            id: question.id,
            socket: *socket,
            holders: held.holders(socket),
            process: held
                .owner(socket)
                .and_then(|pid| held.processes.get(&pid).cloned()),
        });
        ProbeResponse {
            at,
            seen: seen.collect(),
            ended: now(),
        }
    }
}

impl Found {
    /// Looks in every namespace for sockets of which it is not known where they live: the classic tracepoint does not
    /// tell. Where two have the same addresses and ports, nothing is known of either.
    fn look_everywhere(&mut self, questions: &[ProbeRequest], began: Nanos) {
        let mut all = Self::default();
        let own = netns::current();
        if let Ok(mut diag) = DiagSocket::open() {
            let _ = all.list(&mut diag, questions, began);
        }
        for handle in netns::find_all().found {
            if own.as_ref().is_ok_and(|own| *own == handle.id()) {
                continue;
            }
            if let Ok(mut diag) = DiagSocket::open_in(&handle) {
                let _ = all.list(&mut diag, questions, began);
            }
        }
        let mut places: HashMap<EndpointId, usize> = HashMap::new();
        for (question, _) in &all.sockets {
            *places.entry(question.id).or_default() += 1;
        }
        all.sockets
            .retain(|(question, _)| places[&question.id] == 1);
        self.sockets.append(&mut all.sockets);
        self.listeners.append(&mut all.listeners);
    }

    fn look(
        &mut self,
        diag: &mut DiagSocket,
        questions: &[ProbeRequest],
        began: Nanos,
    ) -> Result<(), DiagError> {
        let before = self.sockets.len();
        let few = questions.len() <= ONE_BY_ONE;
        let one_by_one = few && self.ask_for_each(diag, questions, began)?;
        if !one_by_one {
            self.sockets.truncate(before);
            return self.list(diag, questions, began);
        }
        self.find_listeners(diag, before)
    }

    /// From the namespace's list of all sockets in CLOSE_WAIT.
    fn list(
        &mut self,
        diag: &mut DiagSocket,
        questions: &[ProbeRequest],
        began: Nanos,
    ) -> Result<(), DiagError> {
        let before = self.sockets.len();
        self.walk(diag, questions, began)?;
        self.find_listeners(diag, before)
    }

    /// For the sockets that were found from `before` on.
    fn find_listeners(&mut self, diag: &mut DiagSocket, before: usize) -> Result<(), DiagError> {
        // A connection without a file waits in the queue of a listening socket.
        if self.sockets[before..]
            .iter()
            .any(|(_, socket)| socket.inode.is_none())
        {
            let listening = Query::states(StateSet::of(&[TcpState::Listen]));
            let (sockets, _) = diag.collect(&listening)?;
            self.listeners.extend(sockets.iter().map(Listener::from));
        }
        Ok(())
    }

    /// False when one was not found: the kernel finds a socket that is bound to an interface only by its number.
    fn ask_for_each(
        &mut self,
        diag: &mut DiagSocket,
        questions: &[ProbeRequest],
        began: Nanos,
    ) -> Result<bool, DiagError> {
        for question in questions {
            let lookup = Lookup::tuple(question.tuple).with_info();
            let lookup = question.cookie.map_or(lookup, |cookie| lookup.id(cookie));
            let Some(socket) = diag.lookup(&lookup)? else {
                return Ok(false);
            };
            self.take(question, &socket, now() - began);
        }
        Ok(true)
    }

    fn walk(
        &mut self,
        diag: &mut DiagSocket,
        questions: &[ProbeRequest],
        began: Nanos,
    ) -> Result<(), DiagError> {
        let waiting = Query::states(StateSet::of(&[TcpState::CloseWait])).with_info();
        let start = now();
        let (sockets, _) = diag.collect(&waiting)?;
        // The kernel tells ages as of when it came by.
        let late = start + Nanos((now() - start).0 / 2) - began;
        let by_tuple: HashMap<_, _> = sockets
            .iter()
            .map(|socket| (socket.tuple, socket))
            .collect();
        for question in questions {
            let same = |socket: &&&Socket| question.cookie.is_none_or(|id| id == socket.id);
            if let Some(socket) = by_tuple.get(&question.tuple).filter(same) {
                self.take(question, socket, late);
            }
        }
        Ok(())
    }

    fn take(&mut self, question: &ProbeRequest, socket: &Socket, late: Nanos) {
        if socket.state == TcpState::CloseWait {
            self.sockets.push((*question, close_wait(socket, late)));
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

    /// An accepted connection that its peer has closed and that read everything, and the question about it.
    fn stuck(listener: &TcpListener) -> io::Result<(TcpStream, ProbeRequest)> {
        let peer = TcpStream::connect(listener.local_addr()?)?;
        let (mut accepted, _) = listener.accept()?;
        drop(peer);
        accepted.read_to_end(&mut Vec::new())?;
        let question = ProbeRequest {
            id: EndpointId(accepted.as_raw_fd() as u64),
            cookie: None,
            netns: Some(netns::current()?),
            tuple: Tuple::from((accepted.local_addr()?, accepted.peer_addr()?)),
        };
        Ok((accepted, question))
    }

    #[test]
    fn one_socket_and_many_are_answered_alike() -> io::Result<()> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        for count in [1, ONE_BY_ONE + 1] {
            let all: Vec<_> = (0..count)
                .map(|_| stuck(&listener))
                .collect::<io::Result<_>>()?;
            let mut questions: Vec<ProbeRequest> =
                all.iter().map(|(_, question)| *question).collect();
            let mut elsewhere = questions[0];
            elsewhere.id = EndpointId(u64::MAX);
            elsewhere.tuple.peer_port = Port::new(1);
            questions.push(elsewhere);
            let answers = Prober::default().answer(&questions);
            assert_eq!(
                answers.seen.len(),
                count,
                "the one that is not there is not told of"
            );
            for answer in &answers.seen {
                let ProbedSocket {
                    id,
                    socket,
                    holders,
                    process,
                } = answer;
                assert_eq!(socket.queued, 0);
                let fds = holders.iter().find(|held| held.pid == std::process::id());
                assert!(
                    fds.is_some_and(|held| held.fds.contains(&(id.0 as u32))),
                    "{holders:?}"
                );
                assert!(process.is_some());
            }
            assert!(answers.at <= answers.ended);
        }
        Ok(())
    }

    #[test]
    fn where_the_namespace_is_unknown_it_is_looked_for() -> io::Result<()> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let (_socket, mut question) = stuck(&listener)?;
        question.netns = None;
        let answers = Prober::default().answer(&[question]);
        assert_eq!(answers.seen.len(), 1);
        assert_eq!(answers.seen[0].socket.netns, Some(netns::current()?));
        Ok(())
    }

    #[test]
    fn of_a_namespace_that_is_not_there_nothing_is_known() -> io::Result<()> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let (_socket, mut question) = stuck(&listener)?;
        question.netns = NetNs::new(1);
        assert!(Prober::default().answer(&[question]).seen.is_empty());
        Ok(())
    }
}
