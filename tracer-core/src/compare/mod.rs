//! Compares two recordings, of two hosts: joins the two ends of each connection, aligns the hosts'
//! clocks from the connections themselves, and finds what only both endpoints together prove.
//!
//! Pure as the rest of the core: ends and losses in, a report out. Memory is bounded: ends that
//! wait for their other end ([`MAX_WAITING`]), pairs that wait for the clocks ([`MAX_PENDING`]),
//! and what is kept to be shown of each kind of verdict ([`MAX_EXAMPLES`], [`MAX_GROUPS`]). What
//! makes room is counted.

mod clocks;
mod groups;
mod joiner;
mod recorded_endpoint;
#[cfg(test)]
mod tests;
mod verdict;

use std::collections::{HashSet, VecDeque};
use std::net::IpAddr;

pub use clocks::{Alignment, Clocks, Interval, Unaligned};
pub use groups::{Group, MAX_EXAMPLES, MAX_GROUPS, Service, Translation};
pub use joiner::MAX_WAITING;
pub use recorded_endpoint::{EndpointView, Host, Pair, RecordedEndpoint, SharedPair};
pub use verdict::{AffectedHosts, Verdict, VerdictKind};

use clocks::ClockBounds;
use groups::Groups;
use joiner::{Joined, Joiner};
use verdict::{Judge, Judgement, Seen, Unproven};

use crate::finding::Loss;
use crate::types::Nanos;

/// The most pairs that wait until all connections have shown what they do of the clocks. Of more,
/// the first is judged by what was shown so far.
pub const MAX_PENDING: usize = 32_768;

/// The most local addresses of each host that are remembered.
const MAX_ADDRESSES: usize = 1024;

/// A comparison at work.
#[derive(Debug, Default)]
pub struct Comparison {
    joiner: Joiner,
    bounds: ClockBounds,
    seen: [Seen; 2],
    pending: VecDeque<Joined>,
    groups: Groups,
    counts: [EndpointCounts; 2],
    addresses: [HashSet<IpAddr>; 2],
    joined: u64,
    by_address: u64,
    unproven_by_clocks: u64,
    unproven_by_losses: u64,
    last_distance: Option<i64>,
}

/// How many ends one recording has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EndpointCounts {
    /// Those that closed.
    pub closed: u64,
    /// Those that were open when the recording ended.
    pub open: u64,
    /// Those whose other end is not in the other recording.
    pub alone: u64,
    /// Of these, those that had to make room before the other recording was read to its end.
    pub dropped: u64,
    /// Those whose peer has an address of the other recording's host, but no end in that recording.
    pub missing: u64,
    /// The records, connections and parts of the file that were lost.
    pub lost: u64,
}

/// What two recordings show.
#[derive(Debug)]
pub struct Report {
    /// The ends in A and in B.
    pub ends: [EndpointCounts; 2],
    /// The time that each covers.
    pub spans: [Option<(Nanos, Nanos)>; 2],
    /// Connections of which both endpoints were found.
    pub joined: u64,
    /// Of these, those that were joined by address and time.
    pub by_address: u64,
    /// Ends that both recordings have.
    pub same_endpoints: u64,
    /// What is known of the clocks.
    pub alignment: Alignment,
    /// The verdicts, the worst first.
    pub groups: Vec<Group>,
    /// The verdicts that are in none of the groups.
    pub other_verdicts: u64,
    /// The addresses that are others at the other end.
    pub translations: Vec<Translation>,
    /// Pairs that may have had a verdict if the clocks could be compared.
    pub unproven_by_clocks: u64,
    /// Pairs that may have had one if no records had been lost.
    pub unproven_by_losses: u64,
    /// Some pairs that the filter wants and nothing is wrong with.
    pub sound: Vec<SharedPair>,
}

impl Comparison {
    /// Takes an endpoint of a recording. `is_wanted`: whether the filter lets it pass; a pair is
    /// wanted if one of its ends is.
    pub fn add(&mut self, host: Host, end: RecordedEndpoint, is_wanted: bool) {
        let counts = &mut self.counts[host.index()];
        match &end {
            RecordedEndpoint::Closed(_) => counts.closed += 1,
            RecordedEndpoint::Open(_) => counts.open += 1,
        }
        let addresses = &mut self.addresses[host.index()];
        let ip = end.endpoint().tuple.local().ip();
        if addresses.len() < MAX_ADDRESSES && !ip.is_loopback() {
            addresses.insert(ip);
        }
        if let Some(joined) = self.joiner.add(host, end, is_wanted) {
            self.take(joined);
        }
    }

    /// Takes a loss that a recording reports.
    pub fn add_loss(&mut self, host: Host, loss: &Loss) {
        self.seen[host.index()].losses.add(loss);
    }

    /// Notes that a recording covers this time.
    pub fn reached(&mut self, host: Host, at: Nanos) {
        // A recording begins with entries before its first time.
        if at > Nanos(0) {
            let span = &mut self.seen[host.index()].span;
            *span = Some((span.map_or(at, |(first, _)| first), at));
        }
    }

    /// Returns B's clock minus A's, roughly, as the connection that was joined last shows it.
    #[must_use]
    pub const fn last_distance(&self) -> Option<i64> {
        self.last_distance
    }

    fn take(&mut self, (pair, is_wanted): Joined) {
        self.joined += 1;
        self.bounds.add(&pair);
        let closed = Host::BOTH.map(|host| pair.end(host).close().map(|close| close.at.0));
        if let [Some(a), Some(b)] = closed {
            self.last_distance = Some(b.wrapping_sub(a).cast_signed());
        }
        if !is_wanted {
            return;
        }
        if pair.ends.iter().all(RecordedEndpoint::is_orderly) {
            let pair = SharedPair::new(pair);
            self.groups.add_translations(&pair);
            self.groups.add_sound(&pair);
            return;
        }
        self.pending.push_back((pair, is_wanted));
        if self.pending.len() > MAX_PENDING {
            let alignment = self.bounds.alignment();
            // Half of them, as the clocks are compared anew for each time.
            for _ in 0..MAX_PENDING / 2 {
                self.judge_next(&alignment);
            }
        }
    }

    fn judge_next(&mut self, alignment: &Alignment) -> bool {
        let Some((pair, _)) = self.pending.pop_front() else {
            return false;
        };
        let [a, b] = &self.seen;
        let judge = Judge {
            alignment,
            seen: [a, b],
        };
        let Judgement { verdicts, unproven } = judge.judge(&pair);
        match unproven {
            Some(Unproven::Clocks) => self.unproven_by_clocks += 1,
            Some(Unproven::Losses) => self.unproven_by_losses += 1,
            None => {}
        }
        let pair = SharedPair::new(pair);
        self.groups.add_translations(&pair);
        for verdict in &verdicts {
            self.groups.add(*verdict, &pair);
        }
        if verdicts.is_empty() {
            self.groups.add_sound(&pair);
        }
        true
    }

    /// Returns what both recordings show, which have been read to their ends. `wall` is what to add
    /// to each host's times for wall time, as that host had it.
    #[must_use]
    pub fn finish(mut self, wall: [i64; 2]) -> Report {
        let by_address = self.joiner.join_by_address(wall);
        self.by_address = by_address.len() as u64;
        for joined in by_address {
            self.take(joined);
        }
        let alignment = self.bounds.alignment();
        while self.judge_next(&alignment) {}
        let mut ends = self.counts;
        for host in Host::BOTH {
            let there = &self.addresses[host.other().index()];
            let is_missing =
                |end: &&RecordedEndpoint| there.contains(&end.endpoint().tuple.peer().ip());
            let counts = &mut ends[host.index()];
            counts.dropped = self.joiner.dropped(host);
            counts.alone = self.joiner.waiting(host).count() as u64 + counts.dropped;
            counts.missing = self.joiner.waiting(host).filter(is_missing).count() as u64;
            counts.lost = self.seen[host.index()].losses.count;
        }
        let (groups, other_verdicts, translations, sound) = self.groups.finish();
        Report {
            ends,
            spans: self.seen.each_ref().map(|seen| seen.span),
            joined: self.joined,
            by_address: self.by_address,
            same_endpoints: self.joiner.same_endpoints(),
            alignment,
            groups,
            other_verdicts,
            translations,
            unproven_by_clocks: self.unproven_by_clocks,
            unproven_by_losses: self.unproven_by_losses,
            sound,
        }
    }
}
