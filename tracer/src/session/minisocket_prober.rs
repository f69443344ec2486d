//! Probes minisockets through sock_diag, in the network namespaces in which they live. A dump of
//! many sockets takes longer than the ring buffer can wait, so the prober runs in a thread of its
//! own.

use std::collections::HashMap;

use tcpclose_common::TcpState;

use super::snapshot::SocketSnapshot;
use super::time_wait_overflow::{self, TimeWaitOverflows};
use crate::other_namespaces::OtherNamespaces;
use tcpclose_core::types::{EndpointId, Nanos, NetNs, Tuple};
use tcpclose_core::{
    Input, MinisocketState, PollRequest, PollResponse, PolledMinisocket, ProbeRequest,
};
use tcpclose_sys::kernel::clock::{now, thread_cpu_time};
use tcpclose_sys::kernel::loader::TraceOptions;
use tcpclose_sys::kernel::netns_cache::{MAX_CACHED_NAMESPACES, NetNsCache};
use tcpclose_sys::kernel::sock_diag::{self, DiagClient, DumpQuery, KernelSocket, StateSet};

/// After opening the other namespaces, which took some time, the prober does not open them again
/// for this many times as long. That limits the cost to 5 % of a core.
const PROBE_PAUSE_FACTOR: u64 = 20;

/// A job for the prober.
pub(super) enum ProbeJob {
    /// The probes and polls of minisockets that the core requests.
    Minisockets {
        lookups: Vec<ProbeRequest>,
        polls: Vec<PollRequest>,
    },
    /// All sockets, after a loss.
    Snapshot(Box<TraceOptions>),
    /// The overflows at the start, which are known only now.
    Overflows(TimeWaitOverflows),
}

/// The prober's result.
pub(super) enum ProbeJobResult {
    Minisockets(Vec<Input>),
    SnapshotTaken(Box<SocketSnapshot>),
    /// The snapshot could not be taken.
    SnapshotFailed,
}

impl ProbeJobResult {
    /// Returns the result of a job that was not done: nothing is known.
    pub fn given_up(job: &ProbeJob) -> Self {
        let (lookups, polls) = match job {
            ProbeJob::Minisockets { lookups, polls } => (lookups, polls),
            ProbeJob::Snapshot(_) => return Self::SnapshotFailed,
            ProbeJob::Overflows(_) => return Self::Minisockets(Vec::new()),
        };
        let at = now();
        let probed = lookups.iter().map(|lookup| Input::MinisocketProbe {
            id: lookup.id,
            minisocket: MinisocketState::Unreachable,
            at,
        });
        let polled = polls.iter().map(|poll| {
            Input::Poll(PollResponse {
                netns: poll.netns,
                began: at,
                ended: at,
                cost: Nanos(0),
                // The namespace may still exist: its minisockets must not be taken as gone.
                reached: true,
                complete: false,
                overflows: 0,
                found: Vec::new(),
            })
        });
        Self::Minisockets(probed.chain(polled).collect())
    }
}

/// Probes minisockets in many namespaces. An open netlink socket keeps its namespace alive, so
/// those of other namespaces are closed after each job.
pub(super) struct MinisocketProber {
    netns_cache: NetNsCache,
    open: HashMap<Option<NetNs>, Option<DiagClient>>,
    overflows: TimeWaitOverflows,
    /// Clients for the other namespaces, if the present job has needed them.
    others: Option<OtherNamespaces>,
    open_others: fn() -> OtherNamespaces,
    /// The other namespaces are not opened before this time.
    paused_until: Nanos,
}

impl MinisocketProber {
    /// Returns a prober that knows no counts of overflows.
    pub fn new() -> Self {
        Self {
            netns_cache: NetNsCache::default(),
            open: HashMap::new(),
            overflows: TimeWaitOverflows::default(),
            others: None,
            open_others: OtherNamespaces::open,
            paused_until: Nanos(0),
        }
    }

    /// Does one job.
    pub fn run(&mut self, job: &ProbeJob) -> ProbeJobResult {
        let (lookups, polls) = match job {
            ProbeJob::Minisockets { lookups, polls } => (lookups, polls),
            ProbeJob::Snapshot(options) => {
                let snapshot = SocketSnapshot::take(options);
                return ProbeJobResult::SnapshotTaken(Box::new(snapshot));
            }
            ProbeJob::Overflows(at_start) => {
                self.overflows.add_older(at_start);
                return ProbeJobResult::Minisockets(Vec::new());
            }
        };
        let mut inputs = Vec::with_capacity(lookups.len() + polls.len());
        for lookup in lookups {
            let minisocket = self.probe(lookup);
            inputs.push(Input::MinisocketProbe {
                id: lookup.id,
                minisocket,
                at: now(),
            });
        }
        inputs.extend(polls.iter().map(|poll| Input::Poll(self.poll(poll))));
        let netns_cache = &self.netns_cache;
        self.open
            .retain(|netns, _| netns.is_none_or(|netns| netns_cache.is_own(netns)));
        self.others = None;
        ProbeJobResult::Minisockets(inputs)
    }

    /// Finds out what became of one minisocket.
    fn probe(&mut self, lookup: &ProbeRequest) -> MinisocketState {
        let Some(socket) = self.socket(lookup.netns) else {
            return MinisocketState::Unreachable;
        };
        let query = sock_diag::SocketLookup::from(lookup);
        let answer = match socket.lookup_on_any_interface(&query) {
            Ok(Some(found)) => minisocket(&found),
            Ok(None) => MinisocketState::Gone,
            Err(_) => MinisocketState::Unreachable,
        };
        match answer {
            MinisocketState::Gone if lookup.netns.is_none() => self.probe_others(query),
            answer => answer,
        }
    }

    /// Probes a socket of unknown namespace in all other namespaces, after it was not found in the
    /// prober's own. The socket is gone only if no namespace has it.
    fn probe_others(&mut self, query: sock_diag::SocketLookup) -> MinisocketState {
        let began = now();
        if self.others.is_none() {
            if began < self.paused_until {
                return MinisocketState::Unreachable;
            }
            self.others = Some((self.open_others)());
            let ended = now();
            self.paused_until = ended + Nanos((ended - began).0.saturating_mul(PROBE_PAUSE_FACTOR));
        }
        let Some(others) = &mut self.others else {
            return MinisocketState::Unreachable;
        };
        for socket in &mut others.sockets {
            match socket.lookup_on_any_interface(&query) {
                Ok(Some(found)) => return minisocket(&found),
                Ok(None) => {}
                Err(_) => return MinisocketState::Unreachable,
            }
        }
        match others.complete {
            true => MinisocketState::Gone,
            false => MinisocketState::Unreachable,
        }
    }

    /// Polls the requested minisockets in TIME_WAIT.
    fn poll(&mut self, request: &PollRequest) -> PollResponse {
        let netns = request.netns;
        let (began, before) = (now(), thread_cpu_time());
        let overflows = self.take_overflows(netns);
        let polled =
            self.socket(netns)
                .map(|socket| match look_up_each(socket, &request.minisockets) {
                    Some(found) => (found, true),
                    None => dump_time_wait(socket),
                });
        let is_reached = polled.is_some();
        let (found, is_complete) = polled.unwrap_or_default();
        // Where the namespace is not known, a minisocket that the prober's own lacks may be in
        // another.
        let all_found = request.minisockets.len() == found.len() && !found.is_empty();
        let (reached, complete) = match netns {
            Some(_) => (is_reached, is_complete),
            None => (all_found, all_found && is_complete),
        };
        PollResponse {
            netns,
            began,
            ended: now(),
            cost: thread_cpu_time() - before,
            reached,
            complete,
            overflows,
            found,
        }
    }

    fn socket(&mut self, netns: Option<NetNs>) -> Option<&mut DiagClient> {
        let netns_cache = &mut self.netns_cache;
        let opened = self.open.entry(netns);
        opened
            .or_insert_with(|| match netns {
                Some(netns) => netns_cache.open_diag(netns).ok(),
                None => DiagClient::open().ok(),
            })
            .as_mut()
    }

    /// Returns by how much `TCPTimeWaitOverflow` of the namespace has grown since the last call, or
    /// since the tracer's start.
    fn take_overflows(&mut self, netns: Option<NetNs>) -> u64 {
        let Some(netns) = netns else {
            return 0;
        };
        let count = self.netns_cache.run_in(netns, time_wait_overflow::count);
        let Some(count) = count.ok().flatten() else {
            return 0;
        };
        if self.overflows.counts.len() >= MAX_CACHED_NAMESPACES {
            self.overflows = TimeWaitOverflows::default();
        }
        let TimeWaitOverflows { counts, complete } = &mut self.overflows;
        // A namespace that is younger than the tracer has counted from 0.
        let start = if *complete { 0 } else { count };
        let before = counts.insert(netns, count).unwrap_or(start);
        count.saturating_sub(before)
    }
}

/// Looks up each requested minisocket by itself. Returns `None` if the whole table must be dumped
/// instead: no single minisockets are requested, or one was not found. The kernel finds a
/// minisocket that is bound to a device only if the request names the device.
fn look_up_each(
    socket: &mut DiagClient,
    minisockets: &[(Tuple, Option<EndpointId>)],
) -> Option<Vec<PolledMinisocket>> {
    if minisockets.is_empty() {
        return None;
    }
    let mut found = Vec::with_capacity(minisockets.len());
    for (tuple, cookie) in minisockets {
        let query = sock_diag::SocketLookup::new(*tuple);
        let query = cookie.map_or(query, |cookie| query.with_id(cookie));
        found.push(polled_minisocket(&socket.lookup(&query).ok()??)?);
    }
    Some(found)
}

/// Dumps all minisockets in TIME_WAIT of a namespace; also returns whether the dump is complete.
fn dump_time_wait(socket: &mut DiagClient) -> (Vec<PolledMinisocket>, bool) {
    let query = DumpQuery::new(StateSet::from_states(&[TcpState::TimeWait]));
    match socket.collect(&query) {
        Ok((sockets, report)) => {
            let found = sockets.iter().filter_map(polled_minisocket).collect();
            (found, !report.interrupted && report.skipped == 0)
        }
        Err(_) => (Vec::new(), false),
    }
}

fn polled_minisocket(socket: &KernelSocket) -> Option<PolledMinisocket> {
    if socket.state != TcpState::TimeWait {
        return None;
    }
    let left = Nanos::from_millis(socket.remaining_ms()?.into());
    Some(PolledMinisocket {
        cookie: socket.id,
        tuple: socket.tuple,
        left,
    })
}

fn minisocket(found: &KernelSocket) -> MinisocketState {
    match (found.state, found.remaining_ms()) {
        (TcpState::FinWait2, Some(left)) => {
            MinisocketState::FinWait2(Nanos::from_millis(left.into()))
        }
        (TcpState::TimeWait, Some(left)) => {
            MinisocketState::TimeWait(Nanos::from_millis(left.into()))
        }
        _ => MinisocketState::FullSocket,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tcpclose_core::types::IpVersion;

    fn tuple() -> Tuple {
        tuple_of(1, 1)
    }

    fn tuple_of(local: u16, peer: u16) -> Tuple {
        let mut loopback = [0; 16];
        loopback[..4].copy_from_slice(&[127, 0, 0, 1]);
        Tuple::new(IpVersion::V4, (loopback, local), (loopback, peer))
    }

    fn minisocket_at(prober: &mut MinisocketProber, tuple: Tuple) -> MinisocketState {
        prober.probe(&ProbeRequest {
            id: EndpointId(1),
            netns: None,
            tuple,
            cookie: None,
        })
    }

    /// Returns a prober that finds no other namespaces, or, unless `complete`, fails to open them.
    fn alone(complete: bool) -> MinisocketProber {
        MinisocketProber {
            open_others: match complete {
                true => || OtherNamespaces {
                    sockets: Vec::new(),
                    complete: true,
                },
                false => || OtherNamespaces {
                    sockets: Vec::new(),
                    complete: false,
                },
            },
            ..MinisocketProber::new()
        }
    }

    #[test]
    fn a_socket_of_an_unknown_namespace_is_searched_in_the_own_namespace_first() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("it is bound");
        let client = std::net::TcpStream::connect(address).expect("it listens");
        let port = client.local_addr().expect("it is bound").port();
        let mut prober = MinisocketProber {
            open_others: || panic!("it is in the own namespace"),
            ..alone(true)
        };
        let alive = minisocket_at(&mut prober, tuple_of(port, address.port()));
        assert_eq!(alive, MinisocketState::FullSocket);
    }

    /// An endpoint whose last transition was missed is reported once it is certain to be gone.
    #[test]
    fn a_socket_of_an_unknown_namespace_that_none_has_is_gone() {
        let gone = minisocket_at(&mut alone(true), tuple());
        assert_eq!(gone, MinisocketState::Gone);
        let unknown = minisocket_at(&mut alone(false), tuple());
        assert_eq!(unknown, MinisocketState::Unreachable);
    }

    #[test]
    fn a_job_that_is_given_up_yields_no_knowledge() {
        let job = ProbeJob::Minisockets {
            lookups: vec![ProbeRequest {
                id: EndpointId(1),
                netns: None,
                tuple: tuple(),
                cookie: None,
            }],
            polls: vec![PollRequest {
                netns: None,
                minisockets: Vec::new(),
            }],
        };
        let ProbeJobResult::Minisockets(inputs) = ProbeJobResult::given_up(&job) else {
            panic!("another kind of result")
        };
        let [
            Input::MinisocketProbe { id, minisocket, .. },
            Input::Poll(poll),
        ] = &*inputs
        else {
            panic!("{inputs:?}")
        };
        assert_eq!(
            (*id, *minisocket),
            (EndpointId(1), MinisocketState::Unreachable)
        );
        // Absence means nothing.
        assert!(poll.reached && !poll.complete);
        let job = ProbeJob::Snapshot(Box::default());
        let result = ProbeJobResult::given_up(&job);
        assert!(matches!(result, ProbeJobResult::SnapshotFailed));
    }
}
