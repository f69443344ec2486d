//! Leaks by owner, worst first.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::net::{IpAddr, SocketAddr};

use super::{Age, Leak, Verdict};

/// Ports and addresses named of each owner: the most frequent.
const NAMED: usize = 3;

/// The leaks of one owner.
#[derive(Clone, Debug, PartialEq)]
pub struct OwnerGroup<K> {
    /// The owner.
    pub owner: K,
    /// Where its leaks are in the list that was grouped, the oldest first.
    pub leaks: Vec<usize>,
    /// How many of each verdict there are, in the order of [`Verdict::ALL`].
    pub verdicts: [usize; Verdict::ALL.len()],
    /// Age of the oldest.
    pub oldest: Age,
    /// Bytes that were never read, of all [`Verdict::EofUnread`].
    pub unread: u64,
    /// The local ports that most are on.
    pub local_ports: TopValues<u16>,
    /// The peers that most are with.
    pub peers: TopValues<Peer>,
}

/// The other end of connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Peer {
    /// Its address.
    pub ip: IpAddr,
    /// The port that the owner connects to, where it is the client; a client's own port says nothing.
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

impl<K> OwnerGroup<K> {
    /// How many are the application's fault.
    #[must_use]
    pub fn stuck(&self) -> usize {
        let counted = Verdict::ALL.into_iter().zip(self.verdicts);
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
    /// How many values are not among them.
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

/// Groups leaks by what `owner` says: the owner with the most stuck sockets first, of equals the one with the oldest.
pub fn group<K: Copy + Eq + Hash + Ord>(
    leaks: &[Leak],
    owner: impl Fn(&Leak) -> K,
) -> Vec<OwnerGroup<K>> {
    let mut by_owner: HashMap<K, Vec<usize>> = HashMap::new();
    for (at, leak) in leaks.iter().enumerate() {
        by_owner.entry(owner(leak)).or_default().push(at);
    }
    let groups = by_owner.into_iter();
    let mut groups: Vec<_> = groups
        .filter_map(|(key, members)| of(key, members, leaks))
        .collect();
    groups.sort_by(|a, b| {
        let worse = b.stuck().cmp(&a.stuck());
        worse
            .then(a.oldest.since.cmp(&b.oldest.since))
            .then(a.owner.cmp(&b.owner))
    });
    groups
}

/// `None` for a group of nobody.
fn of<K>(owner: K, mut members: Vec<usize>, leaks: &[Leak]) -> Option<OwnerGroup<K>> {
    members.sort_by_key(|&at| leaks[at].age.since);
    let mut ports: HashMap<u16, usize> = HashMap::new();
    let mut services: HashMap<SocketAddr, usize> = HashMap::new();
    let (mut verdicts, mut unread) = ([0; Verdict::ALL.len()], 0);
    for &at in &members {
        let Leak {
            socket, verdict, ..
        } = &leaks[at];
        *ports.entry(socket.tuple.local().port()).or_default() += 1;
        *services.entry(socket.tuple.peer()).or_default() += 1;
        verdicts[*verdict as usize] += 1;
        if *verdict == Verdict::EofUnread {
            unread += u64::from(socket.unread());
        }
    }
    // The end whose port more connections share is the server.
    let mut peers: HashMap<Peer, usize> = HashMap::new();
    for &at in &members {
        let tuple = &leaks[at].socket.tuple;
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
    Some(OwnerGroup {
        owner,
        verdicts,
        oldest: leaks[*members.first()?].age,
        unread,
        local_ports: ports.into(),
        peers: peers.into(),
        leaks: members,
    })
}
