//! Summaries of intervals, counted from findings in constant memory.
//!
//! One mechanism serves both kinds of numbers: everything is counted in [`Totals`] from the start,
//! and what an interval brought is the difference of two of them. Only quantiles and rankings are
//! an interval's own.

mod durations;
mod enum_counts;
mod idle_timeouts;
mod local_ports;
mod port_pressure;
mod record;
mod rollup;
mod service;
mod stuck;
#[cfg(test)]
mod tests;

use std::net::IpAddr;

use tcpclose_common::TcpState;

use super::finding::{
    Cause, Close, ClosePath, Finding, Initiator, LossLocation, ResetReason, Side, TimeWait,
    TimeWaitEnd,
};
use super::stuck::Trends;
use super::types::Nanos;

pub use super::ranking::{HeavyHitters, Ranking};
pub use durations::{DURATION_BUCKETS, DurationSketch, DurationStats, Histogram, RELATIVE_ERROR};
pub use enum_counts::{CountKey, Counts};
pub use idle_timeouts::{
    FoundTimeouts, IdleTimeout, IdleTimeouts, MissedTimeouts, ServiceSide, tolerance,
};
pub use local_ports::{CONNECTION_STATES, LocalPortStates};
pub use port_pressure::{PortPressure, PortUse, ReuseRules, ReuseScope, Route};
pub use record::{Gauges, NameAndCgroup, PerState, Summary};
pub use rollup::{MAX_SERVICES, Rollup, RollupCounts, Rollups, ServiceInNetns, Sum};
pub use service::ServiceAddress;
pub use stuck::{StuckCounts, StuckOwner, StuckSummary};

/// Processes, peers and idle timeouts named in each ranking.
const TOP_NAMES: usize = 10;

/// The counts since the start.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    /// Endpoints that closed.
    pub closes: Counts<(ClosePath, Initiator)>,
    /// The abnormal closes among them, by their cause, where that is known.
    pub causes: Counts<Option<Cause>>,
    /// Resets among them.
    pub resets: Counts<(Side, Option<ResetReason>)>,
    /// How TIME_WAITs ended.
    pub time_wait_ends: Counts<TimeWaitEnd>,
    /// The losses, by location.
    pub lost: Counts<LossLocation>,
    /// Time in closing states; in CLOSE_WAIT of the endpoints that left it.
    pub durations: PerState<Histogram>,
}

impl Totals {
    /// Returns what was counted since an earlier moment.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            closes: &self.closes - &earlier.closes,
            causes: &self.causes - &earlier.causes,
            resets: &self.resets - &earlier.resets,
            time_wait_ends: &self.time_wait_ends - &earlier.time_wait_ends,
            lost: &self.lost - &earlier.lost,
            durations: self.durations.since(&earlier.durations),
        }
    }
}

/// What a summary needs besides the findings, at one moment. Counts are from the start.
#[derive(Debug, Default)]
pub struct IntervalContext {
    /// Endpoints that became established.
    pub opened: u64,
    /// Endpoints since the start whose peer may be on this host and was not recognized
    /// ([`Tracker::unjoined_endpoints`](crate::Tracker::unjoined_endpoints)).
    pub unjoined: u64,
    /// The present counts.
    pub now: Gauges,
    /// The stuck sockets; `None` without detection of stuck sockets.
    pub stuck: Option<StuckCounts>,
}

/// Counts findings, and returns summaries of intervals.
#[derive(Debug)]
pub struct FindingCounts {
    totals: Totals,
    interval: Interval,
    since: IntervalStart,
    /// Of the numbers of stuck sockets at the ends of intervals.
    trends: Trends,
}

/// The parts of a summary that are counted anew for each interval.
#[derive(Debug, Default)]
struct Interval {
    sketches: PerState<DurationSketch>,
    closes_of_processes: HeavyHitters<Option<NameAndCgroup>>,
    resets_of_processes: HeavyHitters<Option<NameAndCgroup>>,
    closes_of_peers: HeavyHitters<IpAddr>,
    resets_of_peers: HeavyHitters<IpAddr>,
    idle_timeouts: IdleTimeouts,
}

/// The counts at the start of the interval.
#[derive(Debug)]
struct IntervalStart {
    at: Nanos,
    totals: Totals,
    opened: u64,
}

impl FindingCounts {
    /// Begins the first interval.
    #[must_use]
    pub fn new(at: Nanos) -> Self {
        Self {
            totals: Totals::default(),
            interval: Interval::default(),
            since: IntervalStart {
                at,
                totals: Totals::default(),
                opened: 0,
            },
            trends: Trends::default(),
        }
    }

    /// Returns when the interval began.
    #[must_use]
    pub fn since(&self) -> Nanos {
        self.since.at
    }

    /// Returns the counts since the start.
    #[must_use]
    pub fn totals(&self) -> &Totals {
        &self.totals
    }

    /// Counts a finding. Those about connections of the self-test are left out.
    pub fn record(&mut self, finding: &Finding) {
        if finding.is_self_test() {
            return;
        }
        match finding {
            Finding::Close(close) => self.close(close),
            Finding::TimeWait(time_wait) => self.time_wait(time_wait),
            Finding::Loss(loss) => self.totals.lost.add(loss.location, loss.lost),
            Finding::Stuck(_) => {}
        }
    }

    fn close(&mut self, close: &Close) {
        let Self {
            totals, interval, ..
        } = self;
        totals.closes.add((close.path, close.initiator), 1);
        if close.path.is_abnormal() == Some(true) {
            totals.causes.add(close.cause, 1);
        }
        let process = close.owner.clone().map(NameAndCgroup::new);
        let peer = close.endpoint.tuple.peer().ip();
        if let Some(reset) = &close.reset {
            totals.resets.add((reset.by, reset.reason), 1);
            interval.resets_of_processes.add(process.clone());
            interval.resets_of_peers.add(peer);
        }
        interval.idle_timeouts.record(close);
        interval.closes_of_processes.add(process);
        interval.closes_of_peers.add(peer);
        for (state, span) in &close.states {
            let (sketches, histograms) = (&mut interval.sketches, &mut totals.durations);
            let (sketch, histogram) = match state {
                TcpState::FinWait2 => (&mut sketches.fin_wait2, &mut histograms.fin_wait2),
                TcpState::CloseWait => (&mut sketches.close_wait, &mut histograms.close_wait),
                TcpState::LastAck => (&mut sketches.last_ack, &mut histograms.last_ack),
                _ => continue,
            };
            if let Some(span) = *span {
                sketch.add(span);
                histogram.add(span);
            }
        }
    }

    fn time_wait(&mut self, time_wait: &TimeWait) {
        self.totals.time_wait_ends.add(time_wait.end, 1);
        match time_wait.end {
            // It never existed, or it is not known how long it did.
            TimeWaitEnd::Overflow | TimeWaitEnd::Unknown => {}
            TimeWaitEnd::Expired
            | TimeWaitEnd::Reused
            | TimeWaitEnd::Recycled
            | TimeWaitEnd::Killed => {
                self.interval.sketches.time_wait.add(time_wait.dwell);
                self.totals.durations.time_wait.add(time_wait.dwell);
            }
        }
    }

    /// What is stuck, with the growth over the intervals that are over.
    #[must_use]
    pub fn summarize_stuck(&self, counts: StuckCounts) -> StuckSummary {
        counts.rank(&self.trends, TOP_NAMES)
    }

    /// Ends the interval, and begins the next.
    pub fn end_interval(&mut self, at: Nanos, context: IntervalContext) -> Summary {
        let IntervalContext {
            opened,
            unjoined: _,
            now,
            stuck,
        } = context;
        if let Some(counts) = &stuck {
            self.trends.record(at, counts.samples());
        }
        let interval = std::mem::take(&mut self.interval);
        let since = std::mem::replace(
            &mut self.since,
            IntervalStart {
                at,
                totals: self.totals.clone(),
                opened,
            },
        );
        let Totals {
            closes,
            causes,
            resets,
            time_wait_ends,
            lost,
            durations,
        } = self.totals.since(&since.totals);
        Summary {
            from: since.at,
            to: at,
            opened: opened.saturating_sub(since.opened),
            closes,
            causes,
            resets,
            states: interval.sketches.map(DurationSketch::stats),
            durations,
            time_wait_ends,
            closes_of_processes: interval.closes_of_processes.ranking(TOP_NAMES),
            resets_of_processes: interval.resets_of_processes.ranking(TOP_NAMES),
            closes_of_peers: interval.closes_of_peers.ranking(TOP_NAMES),
            resets_of_peers: interval.resets_of_peers.ranking(TOP_NAMES),
            idle_timeouts: interval.idle_timeouts.found(TOP_NAMES),
            lost,
            now,
            stuck: stuck.map(|counts| self.summarize_stuck(counts)),
        }
    }
}
