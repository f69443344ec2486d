//! Stuck sockets by owner: how many, since when, how that grows, and when they take the last
//! descriptor.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::enum_counts::Counts;
use super::heavy_hitters::{Ranking, Top};
use crate::process::{Process, ProcessKey};
use crate::stuck::{Forecast, OwnerKey, Sample, StuckSocket, Trends, Verdict};
use crate::types::Nanos;

/// The stuck sockets at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StuckNow {
    /// The number of stuck sockets by verdict.
    pub verdicts: Counts<Verdict>,
    /// When the oldest one entered its state.
    pub oldest: Option<Nanos>,
    /// The owners with the most stuck sockets, followed by those that run out of descriptors
    /// soonest.
    pub owners: Vec<StuckOwner>,
    /// The number of stuck sockets of all other owners.
    pub other: u64,
    /// The number of stuck sockets without an owner, or whose owner cannot be seen.
    pub unowned: u64,
    /// The peers with the most stuck sockets.
    pub peers: Ranking<IpAddr>,
}

impl StuckNow {
    /// Returns the number of stuck sockets.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.verdicts.total()
    }
}

/// A process with stuck sockets.
#[derive(Clone, Debug, PartialEq)]
pub struct StuckOwner {
    /// The process, as it was when one of its sockets was last probed.
    pub process: Arc<Process>,
    /// The number of its stuck sockets.
    pub stuck: u64,
    /// When its oldest stuck socket entered its state.
    pub oldest: Nanos,
    /// How their number grows from interval to interval, once there were enough of them.
    pub forecast: Option<Forecast>,
}

impl StuckOwner {
    /// Returns the time until it has no descriptors left; `None` where that is not foreseen.
    #[must_use]
    pub fn exhausted_in(&self) -> Option<Nanos> {
        self.forecast?.exhausted_in
    }
}

/// Counts stuck sockets.
#[derive(Debug, Default)]
pub struct StuckCounts {
    verdicts: Counts<Verdict>,
    oldest: Option<Nanos>,
    owners: HashMap<ProcessKey, Owned>,
    unowned: u64,
    peers: Top<IpAddr>,
}

#[derive(Debug)]
struct Owned {
    process: Arc<Process>,
    /// When the process was inspected.
    as_of: Nanos,
    oldest: Nanos,
    sample: Sample,
}

impl<'a> FromIterator<&'a StuckSocket> for StuckCounts {
    fn from_iter<T: IntoIterator<Item = &'a StuckSocket>>(sockets: T) -> Self {
        let mut counts = Self::default();
        for socket in sockets {
            counts.count(socket);
        }
        counts
    }
}

impl StuckCounts {
    fn count(&mut self, socket: &StuckSocket) {
        let since = socket.age.since;
        self.verdicts.add(socket.verdict, 1);
        self.oldest = Some(self.oldest.map_or(since, |oldest| oldest.min(since)));
        self.peers.add(socket.endpoint.tuple.peer().ip());
        let Some(owner) = &socket.process else {
            self.unowned += 1;
            return;
        };
        let process = &owner.process;
        let owned = self.owners.entry(process.key()).or_insert_with(|| Owned {
            process: process.clone(),
            as_of: owner.as_of,
            oldest: since,
            sample: Sample::default(),
        });
        owned.oldest = owned.oldest.min(since);
        if owner.as_of > owned.as_of {
            owned.as_of = owner.as_of;
            owned.process = process.clone();
        }
        owned.sample.add(socket.socket.inode.is_some());
    }

    pub(super) fn samples(&self) -> impl Iterator<Item = (OwnerKey, Sample)> + '_ {
        let owners = self.owners.iter();
        owners.map(|(key, owned)| (OwnerKey::Process(*key), owned.sample))
    }

    /// Names the owners with most, at most so many, and half as many of the others: those that run
    /// out of descriptors soonest.
    pub(super) fn rank(self, trends: &Trends, most: usize) -> StuckNow {
        let mut owners: Vec<(ProcessKey, Owned)> = self.owners.into_iter().collect();
        owners.sort_unstable_by(|(a_key, a), (b_key, b)| {
            let more = b.sample.stuck.cmp(&a.sample.stuck);
            more.then(a.oldest.cmp(&b.oldest)).then(a_key.cmp(b_key))
        });
        let owners = owners.into_iter().map(|(key, owned)| StuckOwner {
            stuck: owned.sample.stuck,
            oldest: owned.oldest,
            forecast: trends.forecast(&OwnerKey::Process(key), owned.process.room()),
            process: owned.process,
        });
        let mut owners: Vec<StuckOwner> = owners.collect();
        let mut others = owners.split_off(most.min(owners.len()));
        // A stable sort: among those that do not run out, and among equals, who has most stays
        // first.
        others.sort_by_key(|owner| owner.exhausted_in().unwrap_or(Nanos(u64::MAX)));
        let running_out = others.iter().take(most / 2);
        let running_out = running_out.take_while(|owner| owner.exhausted_in().is_some());
        let rest = others.split_off(running_out.count());
        owners.extend(others);
        StuckNow {
            verdicts: self.verdicts,
            oldest: self.oldest,
            owners,
            other: rest.iter().map(|owner| owner.stuck).sum(),
            unowned: self.unowned,
            peers: self.peers.ranking(most),
        }
    }
}
