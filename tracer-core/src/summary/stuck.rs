//! What is stuck in CLOSE_WAIT, by owner: how many, since when, how that grows, and when it takes the last descriptor.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::enum_counts::Counts;
use super::heavy_hitters::{Ranking, Top};
use crate::finding::Stuck;
use crate::process::{Process, ProcessKey};
use crate::stuck::{Forecast, Sample, Trends, Verdict};
use crate::types::Nanos;

/// What is stuck at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StuckNow {
    /// How many, by verdict.
    pub verdicts: Counts<Verdict>,
    /// Since when the oldest is in CLOSE_WAIT.
    pub oldest: Option<Nanos>,
    /// Who has most of them, and behind those who runs out of descriptors soonest.
    pub owners: Vec<StuckOwner>,
    /// Those of all other owners together.
    pub other: u64,
    /// Those that belong to no process, or to none that can be seen.
    pub unowned: u64,
    /// The peers of most of them.
    pub peers: Ranking<IpAddr>,
}

impl StuckNow {
    /// How many there are.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.verdicts.total()
    }
}

/// A process with stuck sockets.
#[derive(Clone, Debug, PartialEq)]
pub struct StuckOwner {
    /// Which, as it was when one of its sockets was last looked at.
    pub process: Arc<Process>,
    /// How many it has.
    pub stuck: u64,
    /// Since when its oldest is in CLOSE_WAIT.
    pub oldest: Nanos,
    /// How their number grows from interval to interval, once there were enough of them.
    pub forecast: Option<Forecast>,
}

impl StuckOwner {
    /// When it will have no descriptors left; `None` where that is not foreseen.
    #[must_use]
    pub fn exhausted_in(&self) -> Option<Nanos> {
        self.forecast?.exhausted_in
    }
}

/// A count of what is stuck.
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
    /// When the process was so.
    as_of: Nanos,
    oldest: Nanos,
    stock: Sample,
}

impl<'a> FromIterator<&'a Stuck> for StuckCounts {
    fn from_iter<T: IntoIterator<Item = &'a Stuck>>(ends: T) -> Self {
        let mut census = Self::default();
        for end in ends {
            census.count(end);
        }
        census
    }
}

impl StuckCounts {
    fn count(&mut self, end: &Stuck) {
        let since = end.leak.age.since;
        self.verdicts.add(end.leak.verdict, 1);
        self.oldest = Some(self.oldest.map_or(since, |oldest| oldest.min(since)));
        self.peers.add(end.endpoint.tuple.peer().ip());
        let Some(leaker) = &end.leaker else {
            self.unowned += 1;
            return;
        };
        let process = &leaker.process;
        let owned = self.owners.entry(process.key()).or_insert_with(|| Owned {
            process: process.clone(),
            as_of: leaker.as_of,
            oldest: since,
            stock: Sample::default(),
        });
        owned.oldest = owned.oldest.min(since);
        if leaker.as_of > owned.as_of {
            owned.as_of = leaker.as_of;
            owned.process = process.clone();
        }
        owned.stock.stuck += 1;
        owned.stock.held += u64::from(end.leak.socket.inode.is_some());
    }

    pub(super) fn stocks(&self) -> impl Iterator<Item = (ProcessKey, Sample)> + '_ {
        self.owners.iter().map(|(key, owned)| (*key, owned.stock))
    }

    /// Tells the owners with most, at most so many, and half as many of the others: those that run out of descriptors
    /// soonest.
    pub(super) fn tell(self, growths: &Trends<ProcessKey>, most: usize) -> StuckNow {
        let mut owners: Vec<(ProcessKey, Owned)> = self.owners.into_iter().collect();
        owners.sort_unstable_by(|(a_key, a), (b_key, b)| {
            let more = b.stock.stuck.cmp(&a.stock.stuck);
            more.then(a.oldest.cmp(&b.oldest)).then(a_key.cmp(b_key))
        });
        let owners = owners.into_iter().map(|(key, owned)| StuckOwner {
            stuck: owned.stock.stuck,
            oldest: owned.oldest,
            forecast: growths.forecast(&key, owned.process.room()),
            process: owned.process,
        });
        let mut owners: Vec<StuckOwner> = owners.collect();
        let mut others = owners.split_off(most.min(owners.len()));
        // A stable sort: among those that do not run out, and among equals, who has most stays first.
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
