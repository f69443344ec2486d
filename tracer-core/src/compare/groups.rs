//! Verdicts of the same kind about the same programs, counted.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use super::recorded_endpoint::{Host, SharedPair};
use super::verdict::Verdict;

/// The most groups of verdicts. Verdicts of further ones are counted.
pub const MAX_GROUPS: usize = 256;

/// The most connections that are kept of each group, to be shown.
pub const MAX_EXAMPLES: usize = 20;

/// What verdicts of one group have in common.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    verdict: Verdict,
    processes: [Option<Box<[u8]>>; 2],
    service: Option<Service>,
}

/// Where connections were accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Service {
    /// On which host.
    pub host: Host,
    /// At which address, as that host has it.
    pub address: SocketAddr,
}

/// Verdicts of the same kind about the same programs.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// What went wrong.
    pub verdict: Verdict,
    /// The names of the processes on A and on B, where they are known.
    pub processes: [Option<Box<[u8]>>; 2],
    /// Where the connections were accepted, where that is known.
    pub service: Option<Service>,
    /// How many connections.
    pub count: u64,
    /// The first ones.
    pub examples: Vec<SharedPair>,
}

/// An address that is another one at the other end.
#[derive(Clone, Debug, PartialEq)]
pub struct Translation {
    /// Whose address it is.
    pub host: Host,
    /// The address as that host has it, in the first of the connections.
    pub own: SocketAddr,
    /// The address as the other end has it.
    pub seen: SocketAddr,
    /// The connections whose addresses differ in the same way.
    pub count: u64,
}

/// The groups of all verdicts, with examples of each.
#[derive(Debug, Default)]
pub(super) struct Groups {
    groups: BTreeMap<Key, (u64, Vec<SharedPair>)>,
    others: u64,
    translations: BTreeMap<(Host, IpAddr, IpAddr), Translation>,
    sound: Vec<SharedPair>,
}

impl Groups {
    pub fn add(&mut self, verdict: Verdict, pair: &SharedPair) {
        let service = pair.server().map(|host| Service {
            host,
            address: pair.end(host).endpoint().tuple.local(),
        });
        let process = |host| Some(pair.end(host).owner()?.comm.clone());
        let key = Key {
            verdict,
            processes: Host::BOTH.map(process),
            service,
        };
        if self.groups.len() >= MAX_GROUPS && !self.groups.contains_key(&key) {
            self.others += 1;
            return;
        }
        let (count, examples) = self.groups.entry(key).or_default();
        *count += 1;
        if examples.len() < MAX_EXAMPLES {
            examples.push(SharedPair::clone(pair));
        }
    }

    pub fn add_translations(&mut self, pair: &SharedPair) {
        for host in Host::BOTH {
            if !pair.is_translated(host) {
                continue;
            }
            let own = pair.end(host).endpoint().tuple.local();
            let seen = pair.end(host.other()).endpoint().tuple.peer();
            let key = (host, own.ip(), seen.ip());
            let is_full = self.translations.len() >= MAX_GROUPS;
            if is_full && !self.translations.contains_key(&key) {
                continue;
            }
            let translation = self.translations.entry(key).or_insert(Translation {
                host,
                own,
                seen,
                count: 0,
            });
            translation.count += 1;
        }
    }

    pub fn add_sound(&mut self, pair: &SharedPair) {
        if self.sound.len() < MAX_EXAMPLES {
            self.sound.push(SharedPair::clone(pair));
        }
    }

    /// Returns the groups, the worst first, how many verdicts are in none, the translations, and
    /// pairs without a verdict.
    pub fn finish(self) -> (Vec<Group>, u64, Vec<Translation>, Vec<SharedPair>) {
        let mut groups: Vec<Group> = self
            .groups
            .into_iter()
            .map(|(key, (count, examples))| Group {
                verdict: key.verdict,
                processes: key.processes,
                service: key.service,
                count,
                examples,
            })
            .collect();
        groups.sort_by_key(|group| (group.verdict.kind, u64::MAX - group.count));
        let translations = self.translations.into_values().collect();
        (groups, self.others, translations, self.sound)
    }
}
