//! Stuck sockets by owner: how many, since when, how that grows, and when they take the last
//! descriptor.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use tcpclose_common::TcpState;

use super::enum_counts::Counts;
use crate::process::Process;
use crate::ranking::{HeavyHitters, Ranking};
use crate::stuck::{
    Forecast, OwnerCount, OwnerKey, OwnerProcess, STUCK_STATES, Sample, StuckSocket, Trends,
    Verdict, count_by_owner,
};
use crate::types::Nanos;

/// The stuck sockets at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StuckSummary {
    /// The number of stuck sockets in each of [`STUCK_STATES`], in their order.
    pub states: [u64; STUCK_STATES.len()],
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

impl StuckSummary {
    /// Returns the states with the number of stuck sockets in each.
    pub fn by_state(&self) -> impl Iterator<Item = (TcpState, u64)> {
        STUCK_STATES.into_iter().zip(self.states)
    }

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
    /// How many of these were not accepted: it was found through the listening socket.
    pub through_listener: u64,
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
    states: [u64; STUCK_STATES.len()],
    verdicts: Counts<Verdict>,
    oldest: Option<Nanos>,
    owners: HashMap<OwnerKey, OwnerCount>,
    peers: HeavyHitters<IpAddr>,
}

impl<'a> FromIterator<&'a StuckSocket> for StuckCounts {
    /// Leaves out the socket of the self-test.
    fn from_iter<T: IntoIterator<Item = &'a StuckSocket>>(sockets: T) -> Self {
        let mut counts = Self::default();
        let sockets = sockets.into_iter();
        let sockets = sockets.filter(|socket| !socket.endpoint.tuple.is_self_test());
        let sockets = sockets.inspect(|socket| {
            let since = socket.age.since;
            let oldest = &mut counts.oldest;
            *oldest = Some(oldest.map_or(since, |oldest| oldest.min(since)));
            counts.verdicts.add(socket.verdict, 1);
            let is_of = |state: &TcpState| *state == socket.socket.state;
            if let Some(place) = STUCK_STATES.iter().position(is_of) {
                counts.states[place] += 1;
            }
            counts.peers.add(socket.endpoint.tuple.peer().ip());
        });
        let owners = count_by_owner(sockets);
        counts.owners = owners;
        counts
    }
}

impl StuckCounts {
    pub(super) fn samples(&self) -> impl Iterator<Item = (OwnerKey, Sample)> + '_ {
        let owners = self.owners.values();
        owners.map(|count| (count.owner, count.sample))
    }

    /// Names the owners with the most stuck sockets, at most `len`, and half as many of the others:
    /// those that run out of descriptors soonest.
    pub(super) fn rank(self, trends: &Trends, len: usize) -> StuckSummary {
        let mut counts: Vec<OwnerCount> = self.owners.into_values().collect();
        counts.sort_unstable_by(OwnerCount::worst_first);
        let (mut owners, mut unowned) = (Vec::new(), 0);
        for count in counts {
            let stuck = count.sample.stuck;
            let Some(OwnerProcess { process, .. }) = count.process else {
                unowned += stuck;
                continue;
            };
            owners.push(StuckOwner {
                stuck,
                through_listener: stuck - count.sample.descriptors,
                oldest: count.oldest.since,
                forecast: trends.forecast(&count.owner, process.fds_left()),
                process,
            });
        }
        let mut others = owners.split_off(len.min(owners.len()));
        // A stable sort: among those that do not run out, and among equals, who has most stays
        // first.
        others.sort_by_key(|owner| owner.exhausted_in().unwrap_or(Nanos(u64::MAX)));
        let running_out = others.iter().take(len / 2);
        let running_out = running_out.take_while(|owner| owner.exhausted_in().is_some());
        let rest = others.split_off(running_out.count());
        owners.extend(others);
        StuckSummary {
            states: self.states,
            verdicts: self.verdicts,
            oldest: self.oldest,
            owners,
            other: rest.iter().map(|owner| owner.stuck).sum(),
            unowned,
            peers: self.peers.ranking(len),
        }
    }
}
