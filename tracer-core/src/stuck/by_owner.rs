//! Stuck sockets by owner, worst first.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use strum::VariantArray as _;

use super::age::Age;
use super::owner::OwnerProcess;
use super::owner_key::OwnerKey;
use super::socket::StuckSocket;
use super::trend::{Forecast, Sample};
use super::verdict::Verdict;

/// Ports and addresses named of each owner: the most frequent.
const NAMED: usize = 3;

/// The stuck sockets of one owner.
#[derive(Clone, Debug, PartialEq)]
pub struct OwnerGroup {
    /// The owner.
    pub owner: OwnerKey,
    /// The owner's process, as it was last seen.
    pub process: Option<OwnerProcess>,
    /// The indices of its sockets in the list that was grouped, the oldest first.
    pub sockets: Vec<usize>,
    /// How many there are of each verdict, in the order of its variants.
    pub verdicts: [usize; Verdict::VARIANTS.len()],
    /// Age of the oldest.
    pub oldest: Age,
    /// Bytes that were never read, of all [`Verdict::EofUnread`].
    pub unread: u64,
    /// The local ports that most are on.
    pub local_ports: TopValues<u16>,
    /// The peers that most are with.
    pub peers: TopValues<Peer>,
    /// How the number of its stuck sockets grows, once it was counted often enough.
    pub forecast: Option<Forecast>,
}

/// The other end of connections.
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

impl OwnerGroup {
    /// Returns how many are the application's fault.
    #[must_use]
    pub fn stuck(&self) -> usize {
        let counted = Verdict::VARIANTS.iter().copied().zip(self.verdicts);
        counted
            .filter(|(verdict, _)| verdict.is_stuck())
            .map(|(_, count)| count)
            .sum()
    }
}

/// The most frequent values, and how many others there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopValues<T> {
    /// Each with its number, the most frequent first, at most three.
    pub most: Vec<(T, usize)>,
    /// The number of further values.
    pub others: usize,
}

impl<T: Ord + Copy> From<HashMap<T, usize>> for TopValues<T> {
    fn from(counts: HashMap<T, usize>) -> Self {
        let mut most: Vec<_> = counts.into_iter().collect();
        most.sort_unstable_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
        let others = most.len().saturating_sub(NAMED);
        most.truncate(NAMED);
        most.shrink_to_fit();
        Self { most, others }
    }
}

/// Counts the stuck sockets of each owner.
pub fn count<'a>(sockets: impl IntoIterator<Item = &'a StuckSocket>) -> HashMap<OwnerKey, Sample> {
    let mut samples: HashMap<OwnerKey, Sample> = HashMap::new();
    for socket in sockets {
        let sample = samples.entry(socket.owner_key()).or_default();
        if socket.is_stuck() {
            sample.add(socket.socket.inode.is_some());
        }
    }
    samples
}

/// Groups sockets by owner: the owner with the most stuck sockets first, of equals the one with the
/// oldest.
#[must_use]
pub fn by_owner(sockets: &[StuckSocket]) -> Vec<OwnerGroup> {
    let mut members: HashMap<OwnerKey, Vec<usize>> = HashMap::new();
    for (index, socket) in sockets.iter().enumerate() {
        members.entry(socket.owner_key()).or_default().push(index);
    }
    let groups = members.into_iter();
    let mut groups: Vec<_> = groups
        .filter_map(|(owner, members)| group(owner, members, sockets))
        .collect();
    groups.sort_by(|a, b| {
        let worse = b.stuck().cmp(&a.stuck());
        worse
            .then(a.oldest.since.cmp(&b.oldest.since))
            .then(a.owner.cmp(&b.owner))
    });
    groups
}

/// Returns `None` for a group without members.
fn group(owner: OwnerKey, mut members: Vec<usize>, sockets: &[StuckSocket]) -> Option<OwnerGroup> {
    members.sort_by_key(|&member| sockets[member].age.since);
    let mut ports: HashMap<u16, usize> = HashMap::new();
    let mut services: HashMap<SocketAddr, usize> = HashMap::new();
    let (mut verdicts, mut unread) = ([0; Verdict::VARIANTS.len()], 0);
    for stuck in members.iter().map(|&member| &sockets[member]) {
        let tuple = &stuck.socket.tuple;
        *ports.entry(tuple.local().port()).or_default() += 1;
        *services.entry(tuple.peer()).or_default() += 1;
        verdicts[stuck.verdict as usize] += 1;
        if stuck.verdict == Verdict::EofUnread {
            unread += u64::from(stuck.socket.unread());
        }
    }
    // The end whose port more connections share is the server.
    let mut peers: HashMap<Peer, usize> = HashMap::new();
    for stuck in members.iter().map(|&member| &sockets[member]) {
        let tuple = &stuck.socket.tuple;
        let peer = tuple.peer();
        let connects = members.len() == 1 || services[&peer] > ports[&tuple.local().port()];
        let port = connects.then_some(peer.port());
        *peers
            .entry(Peer {
                ip: peer.ip(),
                port,
            })
            .or_default() += 1;
    }
    let processes = members
        .iter()
        .filter_map(|&member| sockets[member].process.as_ref());
    Some(OwnerGroup {
        owner,
        process: processes.max_by_key(|owner| owner.as_of).cloned(),
        verdicts,
        oldest: sockets[*members.first()?].age,
        unread,
        local_ports: ports.into(),
        peers: peers.into(),
        sockets: members,
        forecast: None,
    })
}
