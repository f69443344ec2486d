//! Probes minisockets through sock_diag, in the network namespaces in which they live. A dump of
//! many sockets takes longer than the ring buffer can wait, so the prober runs in a thread of its
//! own.

use std::collections::HashMap;

use tcpclose_common::TcpState;

use super::snapshot::Snapshot;
use super::time_wait_overflow::{self, TimeWaitOverflows};
use tcpclose_core::types::{EndpointId, Nanos, NetNs, Tuple};
use tcpclose_core::{Input, Lookup, Minisocket, Poll, PollRequest, PolledMinisocket};
use tcpclose_sys::kernel::clock::{now, thread_cpu};
use tcpclose_sys::kernel::loader::TraceOptions;
use tcpclose_sys::kernel::netns;
use tcpclose_sys::kernel::netns_cache::{NetnsCache, REMEMBERED};
use tcpclose_sys::kernel::sock_diag::{self, DiagClient, DumpQuery, KernelSocket, StateSet};

/// After opening the other namespaces, which took some time, the prober does not open them again
/// for this many times as long. That limits the cost to 5 % of a core.
const REST: u64 = 20;

/// A job for the prober.
pub(super) enum ProbeJob {
    /// The probes and polls of minisockets that the core requests.
    Minisockets {
        lookups: Vec<Lookup>,
        polls: Vec<PollRequest>,
    },
    /// All sockets, after a loss.
    Everything(Box<TraceOptions>),
}

/// The prober's result.
pub(super) enum ProbeResult {
    Minisockets(Vec<Input>),
    Everything(Box<Snapshot>),
    /// The snapshot could not be taken.
    NoSnapshot,
}

impl ProbeResult {
    /// Returns the result of a job that was not done: nothing is known.
    pub fn given_up(job: &ProbeJob) -> Self {
        let ProbeJob::Minisockets { lookups, polls } = job else {
            return Self::NoSnapshot;
        };
        let at = now();
        let probed = lookups.iter().map(|lookup| Input::Probed {
            id: lookup.id,
            minisocket: Minisocket::Unreachable,
            at,
        });
        let polled = polls.iter().map(|poll| {
            Input::Polled(Poll {
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
    netns_cache: NetnsCache,
    open: HashMap<Option<NetNs>, Option<DiagClient>>,
    overflows: TimeWaitOverflows,
    /// Clients for the other namespaces, if the present job has needed them.
    others: Option<OtherNamespaces>,
    open_others: fn() -> OtherNamespaces,
    /// The other namespaces are not opened before this time.
    rests_until: Nanos,
}

/// Clients for all namespaces except the prober's own.
struct OtherNamespaces {
    sockets: Vec<DiagClient>,
    /// Whether every other namespace could be opened.
    complete: bool,
}

impl OtherNamespaces {
    fn open() -> Self {
        let (scan, own) = (netns::scan(), netns::current().ok());
        let mut others = Self {
            sockets: Vec::new(),
            complete: scan.gaps.is_empty(),
        };
        for handle in scan
            .namespaces
            .iter()
            .filter(|handle| Some(handle.id()) != own)
        {
            match DiagClient::open_in(handle) {
                Ok(socket) => others.sockets.push(socket),
                Err(_) => others.complete = false,
            }
        }
        others
    }
}

impl MinisocketProber {
    /// Returns a prober. `overflows` are the counts at the start, which are not reported.
    pub fn new(overflows: TimeWaitOverflows) -> Self {
        Self {
            netns_cache: NetnsCache::default(),
            open: HashMap::new(),
            overflows,
            others: None,
            open_others: OtherNamespaces::open,
            rests_until: Nanos(0),
        }
    }

    /// Does one job.
    pub fn run(&mut self, job: &ProbeJob) -> ProbeResult {
        let (lookups, polls) = match job {
            ProbeJob::Minisockets { lookups, polls } => (lookups, polls),
            ProbeJob::Everything(options) => {
                let snapshot = Snapshot::take(options, &HashMap::new());
                return ProbeResult::Everything(Box::new(snapshot));
            }
        };
        let mut inputs = Vec::with_capacity(lookups.len() + polls.len());
        for lookup in lookups {
            let minisocket = self.probe(lookup);
            inputs.push(Input::Probed {
                id: lookup.id,
                minisocket,
                at: now(),
            });
        }
        inputs.extend(polls.iter().map(|poll| Input::Polled(self.poll(poll))));
        let netns_cache = &self.netns_cache;
        self.open
            .retain(|netns, _| netns.is_none_or(|netns| netns_cache.is_own(netns)));
        self.others = None;
        ProbeResult::Minisockets(inputs)
    }

    /// Finds out what became of one minisocket.
    fn probe(&mut self, lookup: &Lookup) -> Minisocket {
        let Some(socket) = self.socket(lookup.netns) else {
            return Minisocket::Unreachable;
        };
        let query = sock_diag::SocketLookup::tuple(lookup.tuple);
        let query = lookup.cookie.map_or(query, |cookie| query.id(cookie));
        let answer = match socket.find(&query) {
            Ok(Some(found)) => minisocket(&found),
            Ok(None) => Minisocket::Gone,
            Err(_) => Minisocket::Unreachable,
        };
        match answer {
            Minisocket::Gone if lookup.netns.is_none() => self.probe_others(query),
            answer => answer,
        }
    }

    /// Probes a socket of unknown namespace in all other namespaces, after it was not found in the
    /// prober's own. The socket is gone only if no namespace has it.
    fn probe_others(&mut self, query: sock_diag::SocketLookup) -> Minisocket {
        let began = now();
        if self.others.is_none() {
            if began < self.rests_until {
                return Minisocket::Unreachable;
            }
            self.others = Some((self.open_others)());
            let ended = now();
            self.rests_until = ended + Nanos((ended - began).0.saturating_mul(REST));
        }
        let Some(others) = &mut self.others else {
            return Minisocket::Unreachable;
        };
        for socket in &mut others.sockets {
            match socket.find(&query) {
                Ok(Some(found)) => return minisocket(&found),
                Ok(None) => {}
                Err(_) => return Minisocket::Unreachable,
            }
        }
        match others.complete {
            true => Minisocket::Gone,
            false => Minisocket::Unreachable,
        }
    }

    /// Polls the requested minisockets in TIME_WAIT.
    fn poll(&mut self, request: &PollRequest) -> Poll {
        let netns = request.netns;
        let (began, before) = (now(), thread_cpu());
        let overflows = self.take_overflows(netns);
        let polled = self
            .socket(netns)
            .map(|socket| match look_up_each(socket, &request.wanted) {
                Some(found) => (found, true),
                None => dump_time_wait(socket),
            });
        let is_reached = polled.is_some();
        let (found, is_complete) = polled.unwrap_or_default();
        // Where the namespace is not known, a minisocket that the prober's own lacks may be in
        // another.
        let all_found = request.wanted.len() == found.len() && !found.is_empty();
        let (reached, complete) = match netns {
            Some(_) => (is_reached, is_complete),
            None => (all_found, all_found && is_complete),
        };
        Poll {
            netns,
            began,
            ended: now(),
            cost: thread_cpu() - before,
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
        if self.overflows.counts.len() >= REMEMBERED {
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
    wanted: &[(Tuple, Option<EndpointId>)],
) -> Option<Vec<PolledMinisocket>> {
    if wanted.is_empty() {
        return None;
    }
    let mut found = Vec::with_capacity(wanted.len());
    for (tuple, cookie) in wanted {
        let query = sock_diag::SocketLookup::tuple(*tuple);
        let query = cookie.map_or(query, |cookie| query.id(cookie));
        found.push(polled_minisocket(&socket.lookup(&query).ok()??)?);
    }
    Some(found)
}

/// Dumps all minisockets in TIME_WAIT of a namespace; also returns whether the dump is complete.
fn dump_time_wait(socket: &mut DiagClient) -> (Vec<PolledMinisocket>, bool) {
    let query = DumpQuery::states(StateSet::of(&[TcpState::TimeWait]));
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
    let left = Nanos::from_millis(socket.left_ms()?.into());
    Some(PolledMinisocket {
        cookie: socket.id,
        tuple: socket.tuple,
        left,
    })
}

fn minisocket(found: &KernelSocket) -> Minisocket {
    match (found.state, found.left_ms()) {
        (TcpState::FinWait2, Some(left)) => Minisocket::FinWait2(Nanos::from_millis(left.into())),
        (TcpState::TimeWait, Some(left)) => Minisocket::TimeWait(Nanos::from_millis(left.into())),
        _ => Minisocket::Alive,
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

    fn minisocket_at(prober: &mut MinisocketProber, tuple: Tuple) -> Minisocket {
        prober.probe(&Lookup {
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
            ..MinisocketProber::new(TimeWaitOverflows::default())
        }
    }

    #[test]
    fn a_socket_of_an_unknown_namespace_is_looked_for_in_the_own_first() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("it is bound");
        let client = std::net::TcpStream::connect(address).expect("it listens");
        let port = client.local_addr().expect("it is bound").port();
        let mut prober = MinisocketProber {
            open_others: || panic!("it is in the own namespace"),
            ..alone(true)
        };
        let alive = minisocket_at(&mut prober, tuple_of(port, address.port()));
        assert_eq!(alive, Minisocket::Alive);
    }

    /// An endpoint whose last transition was missed is reported once it is certain to be gone.
    #[test]
    fn a_socket_of_an_unknown_namespace_that_none_has_is_gone() {
        let gone = minisocket_at(&mut alone(true), tuple());
        assert_eq!(gone, Minisocket::Gone);
        let unknown = minisocket_at(&mut alone(false), tuple());
        assert_eq!(unknown, Minisocket::Unreachable);
    }

    #[test]
    fn of_a_job_that_is_given_up_nothing_is_known() {
        let job = ProbeJob::Minisockets {
            lookups: vec![Lookup {
                id: EndpointId(1),
                netns: None,
                tuple: tuple(),
                cookie: None,
            }],
            polls: vec![PollRequest {
                netns: None,
                wanted: Vec::new(),
            }],
        };
        let ProbeResult::Minisockets(inputs) = ProbeResult::given_up(&job) else {
            panic!("another kind of result")
        };
        let [Input::Probed { id, minisocket, .. }, Input::Polled(poll)] = &inputs[..] else {
            panic!("{inputs:?}")
        };
        assert_eq!((*id, *minisocket), (EndpointId(1), Minisocket::Unreachable));
        // Absence means nothing.
        assert!(poll.reached && !poll.complete);
        let job = ProbeJob::Everything(Box::default());
        let result = ProbeResult::given_up(&job);
        assert!(matches!(result, ProbeResult::NoSnapshot));
    }
}
