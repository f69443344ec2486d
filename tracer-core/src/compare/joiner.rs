//! Finds the two ends of each connection among those of two recordings, with bounded memory.

use std::collections::VecDeque;

use foldhash::{HashMap, HashMapExt as _};

use super::recorded_endpoint::{Host, Pair, RecordedEndpoint};
use crate::endpoint::InitialSequenceNumbers;
use crate::types::{Nanos, Tuple};

/// The most ends of each recording that wait for the other end: as many that closed orderly, and as
/// many others. Of more, the one that has waited longest is dropped and counted.
pub const MAX_WAITING: usize = 65_536;

/// An endpoint that waits.
#[derive(Debug)]
struct Waiting {
    end: RecordedEndpoint,
    is_wanted: bool,
}

/// A pair that was joined, and whether the filter wants one of its ends.
pub(super) type Joined = (Pair, bool);

/// The ends of one recording that wait.
#[derive(Debug, Default)]
struct Waitings {
    ends: HashMap<u64, Waiting>,
    by_numbers: HashMap<InitialSequenceNumbers, u64>,
    /// In the order in which they came: those that closed orderly, and the others.
    orders: [VecDeque<u64>; 2],
    counts: [usize; 2],
    last_serial: u64,
    dropped: u64,
}

/// The ends that wait for their other end.
#[derive(Debug, Default)]
pub(super) struct Joiner {
    hosts: [Waitings; 2],
    /// Ends that both recordings have.
    same_endpoints: u64,
}

impl Joiner {
    /// Takes an endpoint. Returns the pair if the other end waits.
    pub fn add(&mut self, host: Host, end: RecordedEndpoint, is_wanted: bool) -> Option<Joined> {
        let numbers = end.endpoint().initial;
        let other = &mut self.hosts[host.other().index()];
        if let Some(numbers) = numbers {
            self.same_endpoints += u64::from(other.has_same(numbers, &end));
            if let Some(found) = other.take(numbers.mirrored()) {
                return Some(joined(
                    host,
                    (end, is_wanted),
                    (found.end, found.is_wanted),
                    false,
                ));
            }
        }
        self.hosts[host.index()].insert(Waiting { end, is_wanted });
        None
    }

    /// Joins what has the same addresses the other way round and no pair id at one endpoint at
    /// least, where there is no other such end, and both were alive at the same time. `wall` is
    /// what to add to each host's times for wall time. Returns nothing where ends were dropped:
    /// these may have had the same addresses.
    pub fn join_by_address(&mut self, wall: [i64; 2]) -> Vec<Joined> {
        if self.hosts.iter().any(|host| host.dropped > 0) {
            return Vec::new();
        }
        let [a, b] = self.hosts.each_ref().map(Waitings::by_tuple);
        let mut found = Vec::new();
        for (tuple, a) in a {
            let (Some(a), Some(Some(b))) = (a, b.get(&tuple.mirrored()).copied()) else {
                continue;
            };
            let ends = [(Host::A, a), (Host::B, b)];
            let [Some(one), Some(other)] =
                ends.map(|(host, serial)| self.hosts[host.index()].ends.get(&serial))
            else {
                continue;
            };
            let ends = [&one.end, &other.end];
            let lacks_numbers = ends.iter().any(|end| end.endpoint().initial.is_none());
            let lives = [(ends[0], wall[0]), (ends[1], wall[1])].map(|(end, wall)| life(end, wall));
            if let [Some(one), Some(other)] = lives
                && lacks_numbers
                && one.0 <= other.1
                && other.0 <= one.1
            {
                found.push((a, b));
            }
        }
        // In the order of the recordings, whatever the order of the map.
        found.sort_unstable();
        let [of_a, of_b] = &mut self.hosts;
        let pairs = found.into_iter().filter_map(|(a, b)| {
            let (a, b) = (of_a.remove(a)?, of_b.remove(b)?);
            Some(joined(
                Host::A,
                (a.end, a.is_wanted),
                (b.end, b.is_wanted),
                true,
            ))
        });
        pairs.collect()
    }

    /// Returns the ends of a recording that wait.
    pub fn waiting(&self, host: Host) -> impl Iterator<Item = &RecordedEndpoint> {
        self.hosts[host.index()]
            .ends
            .values()
            .map(|waiting| &waiting.end)
    }

    /// Returns how many ends of a recording were dropped.
    pub const fn dropped(&self, host: Host) -> u64 {
        let [a, b] = &self.hosts;
        match host {
            Host::A => a.dropped,
            Host::B => b.dropped,
        }
    }

    /// Returns how many ends are in both recordings.
    pub const fn same_endpoints(&self) -> u64 {
        self.same_endpoints
    }
}

/// Returns the time from the opening of an endpoint to its close, as wall time; `None` where that
/// is not known. An endpoint that is open has no end.
fn life(end: &RecordedEndpoint, wall: i64) -> Option<(i128, i128)> {
    let at = |at: Nanos| i128::from(at.0) + i128::from(wall);
    let until = end.close().map_or(i128::MAX, |close| at(close.at));
    Some((at(end.endpoint().opened?), until))
}

fn joined(
    host: Host,
    one: (RecordedEndpoint, bool),
    other: (RecordedEndpoint, bool),
    by_address: bool,
) -> Joined {
    let is_wanted = one.1 || other.1;
    let ends = match host {
        Host::A => [one.0, other.0],
        Host::B => [other.0, one.0],
    };
    (Pair { ends, by_address }, is_wanted)
}

impl Waitings {
    fn insert(&mut self, waiting: Waiting) {
        self.last_serial += 1;
        let serial = self.last_serial;
        let class = class(&waiting.end);
        if let Some(numbers) = waiting.end.endpoint().initial {
            self.by_numbers.insert(numbers, serial);
        }
        self.ends.insert(serial, waiting);
        self.orders[class].push_back(serial);
        self.counts[class] += 1;
        if self.counts[class] > MAX_WAITING {
            while let Some(oldest) = self.orders[class].pop_front() {
                if self.remove(oldest).is_some() {
                    self.dropped += 1;
                    break;
                }
            }
        }
    }

    fn take(&mut self, numbers: InitialSequenceNumbers) -> Option<Waiting> {
        let serial = *self.by_numbers.get(&numbers)?;
        self.remove(serial)
    }

    fn remove(&mut self, serial: u64) -> Option<Waiting> {
        let waiting = self.ends.remove(&serial)?;
        let class = class(&waiting.end);
        self.counts[class] -= 1;
        if let Some(numbers) = waiting.end.endpoint().initial
            && self.by_numbers.get(&numbers) == Some(&serial)
        {
            self.by_numbers.remove(&numbers);
        }
        // Those that were joined stay in the order until they are many.
        let (order, ends) = (&mut self.orders[class], &self.ends);
        if order.len() > 2 * MAX_WAITING {
            order.retain(|serial| ends.contains_key(serial));
        }
        Some(waiting)
    }

    fn has_same(&self, numbers: InitialSequenceNumbers, end: &RecordedEndpoint) -> bool {
        let serial = self.by_numbers.get(&numbers);
        let other = serial.and_then(|serial| self.ends.get(serial));
        other.is_some_and(|other| {
            let (one, other) = (end.endpoint(), other.end.endpoint());
            one.tuple == other.tuple && one.netns == other.netns
        })
    }

    /// Returns the ends by their addresses; `None` where there are several with the same ones.
    fn by_tuple(&self) -> HashMap<Tuple, Option<u64>> {
        let mut by_tuple = HashMap::new();
        for (serial, waiting) in &self.ends {
            let one = by_tuple.entry(waiting.end.endpoint().tuple);
            one.and_modify(|one| *one = None).or_insert(Some(*serial));
        }
        by_tuple
    }
}

/// Returns the place of the order in which an endpoint stands.
fn class(end: &RecordedEndpoint) -> usize {
    usize::from(!end.is_orderly())
}
