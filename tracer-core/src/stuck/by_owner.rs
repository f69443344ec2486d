//! Stuck sockets by owner: the one way to count them, and to find the worst owner.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use tcpclose_common::TcpState;

use super::age::Age;
use super::owner::OwnerProcess;
use super::owner_key::OwnerKey;
use super::socket::StuckSocket;
use super::trend::{Forecast, Sample};
use super::verdict::Verdict;
use crate::ranking::Ranking;
use crate::types::{Nanos, Role};

/// The number of ports, and of peers, that are named of each owner: the most frequent.
pub const TOP_VALUES: usize = 3;

/// The count of one owner's stuck sockets.
#[derive(Clone, Debug, PartialEq)]
pub struct OwnerCount {
    /// Who holds the sockets.
    pub owner: OwnerKey,
    /// The owner's process, as it was last seen.
    pub process: Option<OwnerProcess>,
    /// How many there are.
    pub sample: Sample,
    /// Age of the oldest.
    pub oldest: Age,
}

impl OwnerCount {
    /// Returns the order of owners, the worst first: the one with the most stuck sockets, of equals
    /// the one with the oldest.
    #[must_use]
    pub fn worst_first(&self, other: &Self) -> Ordering {
        let more = other.sample.stuck.cmp(&self.sample.stuck);
        more.then(self.oldest.since.cmp(&other.oldest.since))
            .then(self.owner.cmp(&other.owner))
    }

    fn add(&mut self, socket: &StuckSocket) {
        if socket.age.since < self.oldest.since {
            self.oldest = socket.age;
        }
        let newest = self.process.as_ref().map(|process| process.as_of);
        if socket.process.as_ref().map(|process| process.as_of) > newest {
            self.process.clone_from(&socket.process);
            let process = self.process.as_ref();
            self.sample.open = process.map(|owner| (owner.as_of, owner.process.open_fds));
        }
        if socket.is_stuck() {
            self.sample.add(socket.socket.inode.is_some());
        }
    }
}

/// Counts the sockets of each owner. What is not certainly stuck counts for none, but its owner is
/// in the list.
#[must_use]
pub fn count_by_owner<'a>(
    sockets: impl IntoIterator<Item = &'a StuckSocket>,
) -> HashMap<OwnerKey, OwnerCount> {
    let mut counts: HashMap<OwnerKey, OwnerCount> = HashMap::new();
    for socket in sockets {
        let owner = socket.owner_key();
        let count = counts.entry(owner).or_insert_with(|| OwnerCount {
            owner,
            process: None,
            sample: Sample::default(),
            oldest: socket.age,
        });
        count.add(socket);
    }
    counts
}

/// The stuck sockets of one owner.
#[derive(Clone, Debug, PartialEq)]
pub struct OwnerGroup {
    /// How many sockets, and how fast they grow.
    pub count: OwnerCount,
    /// The indices of its sockets in the list that was grouped, the oldest first.
    pub sockets: Vec<usize>,
    /// How many there are in each state of each verdict: the certainly stuck first, in the order of
    /// verdicts.
    pub verdicts: Vec<VerdictCount>,
    /// How many are MPTCP connections.
    pub mptcp: usize,
    /// The local ports that most are on.
    pub local_ports: Ranking<u16>,
    /// The peers that most are with.
    pub peers: Ranking<Peer>,
    /// How the number of its stuck sockets grows, once it was counted often enough.
    pub forecast: Option<Forecast>,
}

/// How many of an owner's sockets are in one state for one reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerdictCount {
    /// The state in which the sockets are stuck.
    pub state: TcpState,
    /// Why they are stuck.
    pub verdict: Verdict,
    /// How many there are.
    pub count: usize,
    /// The bytes that were never read, of all of them; `None` where that is not known of one.
    pub unread: Option<u64>,
    /// The shortest and the longest silence before the peer's FIN; `None` where that is not known
    /// of one.
    pub idle_before_fin: Option<(Nanos, Nanos)>,
    /// Which side of its connection this host is, where that is the same for all.
    pub role: Option<Role>,
}

impl VerdictCount {
    /// Describes a single socket.
    #[must_use]
    pub fn from_socket(stuck: &StuckSocket) -> Self {
        let mut alike = Self::new(stuck);
        alike.add(stuck);
        alike
    }

    const fn new(stuck: &StuckSocket) -> Self {
        Self {
            state: stuck.socket.state,
            verdict: stuck.verdict,
            count: 0,
            unread: Some(0),
            idle_before_fin: match stuck.idle_before_fin {
                Some(idle) => Some((idle, idle)),
                None => None,
            },
            role: Some(stuck.endpoint.role),
        }
    }

    fn add(&mut self, stuck: &StuckSocket) {
        self.count += 1;
        let unread = stuck.socket.unread().map(u64::from);
        self.unread = self.unread.zip(unread).map(|(all, unread)| all + unread);
        let idle = self.idle_before_fin.zip(stuck.idle_before_fin);
        self.idle_before_fin = idle.map(|((least, most), idle)| (least.min(idle), most.max(idle)));
        self.role = self.role.filter(|role| *role == stuck.endpoint.role);
    }

    /// Returns the silence before the FIN where these are idle connections of a pool: this host
    /// opened them, the server closed each after a silence, and nothing has read since, so that not
    /// even the FIN was. `None` where they may be something else.
    #[must_use]
    pub fn idle_pool(&self) -> Option<(Nanos, Nanos)> {
        let is_client = self.role == Some(Role::Client);
        let is_unread = self.verdict == Verdict::EofUnread && self.unread == Some(0);
        let idle = self.idle_before_fin.filter(|_| is_client && is_unread)?;
        (idle.0 >= MIN_POOL_IDLE).then_some(idle)
    }
}

/// The shortest silence after which a connection counts as idle. A server that closes right after
/// its answer ends no idle connection.
const MIN_POOL_IDLE: Nanos = Nanos::from_secs(1);

/// The peer of connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Peer {
    /// The peer's address.
    pub ip: IpAddr,
    /// The port that the owner connects to, where it is the client. The port of a client means
    /// nothing.
    pub port: Option<u16>,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => SocketAddr::new(self.ip, port).fmt(f),
            None => self.ip.fmt(f),
        }
    }
}

/// Groups sockets by owner, the worst first ([`OwnerCount::worst_first`]).
#[must_use]
pub fn by_owner(sockets: &[StuckSocket]) -> Vec<OwnerGroup> {
    let mut members: HashMap<OwnerKey, Vec<usize>> = HashMap::new();
    for (index, socket) in sockets.iter().enumerate() {
        members.entry(socket.owner_key()).or_default().push(index);
    }
    let counts = count_by_owner(sockets).into_values();
    let mut groups: Vec<_> = counts
        .map(|count| {
            let members = members.remove(&count.owner).unwrap_or_default();
            group(count, members, sockets)
        })
        .collect();
    groups.sort_by(|a, b| a.count.worst_first(&b.count));
    groups
}

fn group(count: OwnerCount, mut members: Vec<usize>, sockets: &[StuckSocket]) -> OwnerGroup {
    members.sort_by_key(|&member| sockets[member].age.since);
    let mut ports: HashMap<u16, u64> = HashMap::new();
    let mut services: HashMap<SocketAddr, u64> = HashMap::new();
    let mut verdicts: BTreeMap<_, VerdictCount> = BTreeMap::new();
    let mut mptcp = 0;
    for stuck in members.iter().map(|&member| &sockets[member]) {
        let tuple = &stuck.socket.tuple;
        *ports.entry(tuple.local().port()).or_default() += 1;
        *services.entry(tuple.peer()).or_default() += 1;
        let (verdict, state) = (stuck.verdict, stuck.socket.state);
        let alike = verdicts.entry((!verdict.is_stuck(), verdict, state as u8));
        alike.or_insert_with(|| VerdictCount::new(stuck)).add(stuck);
        mptcp += usize::from(stuck.socket.mptcp);
    }
    // The side whose port more connections share is the server.
    let mut peers: HashMap<Peer, u64> = HashMap::new();
    for stuck in members.iter().map(|&member| &sockets[member]) {
        let tuple = &stuck.socket.tuple;
        let peer = tuple.peer();
        let connects = members.len() == 1 || services[&peer] > ports[&tuple.local().port()];
        let port = connects.then_some(peer.port());
        let ip = peer.ip();
        *peers.entry(Peer { ip, port }).or_default() += 1;
    }
    OwnerGroup {
        count,
        verdicts: verdicts.into_values().collect(),
        mptcp,
        local_ports: Ranking::from_counts(ports, TOP_VALUES),
        peers: Ranking::from_counts(peers, TOP_VALUES),
        sockets: members,
        forecast: None,
    }
}
