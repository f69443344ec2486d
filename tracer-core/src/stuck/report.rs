//! All that is stuck at one moment: what a scan or a recording has to show, as a table or as JSON.

use super::by_owner::{OwnerGroup, by_owner};
use super::observed::ObservedSocket;
use super::owner_key::OwnerKey;
use super::socket::StuckSocket;
use super::trend::{Forecast, TrendLines, Trends};
use crate::process::ProcessKey;
use crate::types::{Nanos, NetNs};

/// The stuck sockets at one moment.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// When the report was made.
    pub at: Nanos,
    /// The shortest time in its state after which a socket is in the report.
    pub min_age: Nanos,
    /// The stuck sockets, and half-closes at work if every socket is to be shown.
    pub sockets: Vec<StuckSocket>,
    /// The same by owner, worst first.
    pub owners: Vec<OwnerGroup>,
    /// The network namespace of this program, where that is known. Sockets in others are marked.
    pub own_netns: Option<NetNs>,
    /// How many sockets are as old, and still send.
    pub still_sending: usize,
    /// How many sockets have been in their state for a shorter time.
    pub younger: usize,
    /// Sockets among those that may be older: keepalive hides their age.
    pub possibly_stuck: Vec<StuckSocket>,
    /// What is new since the report before; `None` for the first.
    pub changes: Option<Changes>,
}

/// The changes since an earlier report.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Changes {
    /// The time from that report to this one.
    pub after: Nanos,
    /// Sockets of that report that are stuck no longer, in the order of time.
    pub resolved: Vec<StuckSocket>,
}

impl Report {
    /// Makes a report of these sockets, and counts them in the trends.
    #[must_use]
    pub fn new(
        at: Nanos,
        min_age: Nanos,
        mut sockets: Vec<StuckSocket>,
        trends: &mut Trends,
    ) -> Self {
        let mut owners = by_owner(&sockets);
        let samples = owners
            .iter()
            .map(|group| (group.count.owner, group.count.sample));
        trends.record(at, samples);
        for group in &mut owners {
            let count = &group.count;
            let process = count.process.as_ref();
            let fds_left = process.and_then(|owner| owner.process.fds_left());
            let forecast = trends.forecast(&count.owner, fds_left);
            set_forecast(group, &mut sockets, forecast);
        }
        Self {
            at,
            min_age,
            sockets,
            owners,
            ..Self::default()
        }
    }

    /// Adds forecasts of the processes that have none, from the lines that others know of the
    /// processes of sockets.
    pub fn add_growth(
        &mut self,
        mut known: impl FnMut(&ObservedSocket) -> Option<(ProcessKey, TrendLines)>,
    ) {
        let sockets = &mut self.sockets;
        let without = |group: &&mut OwnerGroup| group.forecast.is_none();
        for group in self.owners.iter_mut().filter(without) {
            let OwnerKey::Process(owner) = group.count.owner else {
                continue;
            };
            let process = group.count.process.as_ref();
            let fds_left = process.and_then(|owner| owner.process.fds_left());
            let members = group.sockets.iter();
            let mut lines = members.filter_map(|&member| known(&sockets[member].socket));
            let lines = lines.find(|(process, _)| *process == owner);
            let forecast = lines.and_then(|(_, lines)| lines.forecast(fds_left));
            set_forecast(group, sockets, forecast);
        }
    }

    /// Returns the sockets that are stuck.
    pub fn stuck(&self) -> impl Iterator<Item = &StuckSocket> {
        self.sockets.iter().filter(|socket| socket.is_stuck())
    }

    /// Returns those among them that no earlier report had.
    pub fn newly_stuck(&self) -> impl Iterator<Item = &StuckSocket> {
        self.sockets.iter().filter(|socket| socket.is_newly_stuck())
    }

    /// Returns all sockets by owner, worst first, and of each owner the oldest first.
    pub fn worst_first(&self) -> impl Iterator<Item = &StuckSocket> {
        let members = self.owners.iter().flat_map(|group| &group.sockets);
        members.map(|&member| &self.sockets[member])
    }
}

/// Adds the forecast of an owner to its group and to its sockets.
fn set_forecast(group: &mut OwnerGroup, sockets: &mut [StuckSocket], forecast: Option<Forecast>) {
    group.forecast = forecast;
    let stuck = group.count.sample.stuck as usize;
    for &member in &group.sockets {
        if let Some(owner) = &mut sockets[member].process {
            (owner.stuck, owner.forecast) = (stuck, forecast);
        }
    }
}
