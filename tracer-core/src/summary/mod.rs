//! Summaries of intervals, counted from findings in constant memory.
//!
//! One mechanism serves both kinds of numbers: everything is counted in [`Totals`] from the start,
//! and what an interval brought is the difference of two of them. Only quantiles and rankings are
//! an interval's own.

mod durations;
mod enum_counts;
mod heavy_hitters;
mod record;
mod stuck;
#[cfg(test)]
mod tests;

use std::net::IpAddr;

use tcpclose_common::TcpState;

use super::finding::{
    Close, ClosePath, Finding, Initiator, LossLocation, ResetReason, Side, TimeWait, TimeWaitEnd,
};
use super::stuck::Trends;
use super::types::Nanos;

pub use durations::{BUCKETS, Histogram, RELATIVE_ERROR, Spans, Spread};
pub use enum_counts::{Counts, Kind};
pub use heavy_hitters::{Ranking, Top};
pub use record::{Gauges, Pressure, Route, Service, States, Summary};
pub use stuck::{StuckCounts, StuckNow, StuckOwner};

/// Processes and peers named in each ranking.
const NAMED: usize = 10;

/// The counts since the start.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    /// Ends that closed.
    pub closes: Counts<(ClosePath, Initiator)>,
    /// Resets among them.
    pub resets: Counts<(Side, Option<ResetReason>)>,
    /// How TIME_WAITs ended.
    pub time_wait_ends: Counts<TimeWaitEnd>,
    /// The losses, by location.
    pub lost: Counts<LossLocation>,
    /// Time in closing states; in CLOSE_WAIT of the ends that left it.
    pub durations: States<Histogram>,
}

/// What a summary needs besides the findings, at one moment. Counts are from the start.
#[derive(Debug, Default)]
pub struct IntervalContext {
    /// Ends that became established.
    pub opened: u64,
    /// The present counts.
    pub now: Gauges,
    /// The stuck sockets; `None` without detection of stuck sockets.
    pub stuck: Option<StuckCounts>,
}

/// Counts findings, and returns summaries of intervals.
#[derive(Debug)]
pub struct Summaries {
    totals: Totals,
    interval: Interval,
    since: Since,
    /// Of the numbers of stuck sockets at the ends of intervals.
    trends: Trends,
}

/// The parts of a summary that are counted anew for each interval.
#[derive(Debug, Default)]
struct Interval {
    spans: States<Spans>,
    closes_of_processes: Top<Option<Service>>,
    resets_of_processes: Top<Option<Service>>,
    closes_of_peers: Top<IpAddr>,
    resets_of_peers: Top<IpAddr>,
}

/// The counts at the start of the interval.
#[derive(Debug)]
struct Since {
    at: Nanos,
    totals: Totals,
    opened: u64,
}

impl Summaries {
    /// Begins the first interval.
    #[must_use]
    pub fn new(at: Nanos) -> Self {
        Self {
            totals: Totals::default(),
            interval: Interval::default(),
            since: Since {
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

    /// Takes in a finding.
    pub fn take(&mut self, finding: &Finding) {
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
        let process = close.owner.clone().map(Service);
        let peer = close.endpoint.tuple.peer().ip();
        if let Some(reset) = &close.reset {
            totals.resets.add((reset.by, reset.reason), 1);
            interval.resets_of_processes.add(process.clone());
            interval.resets_of_peers.add(peer);
        }
        interval.closes_of_processes.add(process);
        interval.closes_of_peers.add(peer);
        for (state, span) in &close.states {
            let (spans, durations) = (&mut interval.spans, &mut totals.durations);
            let (spans, histogram) = match state {
                TcpState::FinWait2 => (&mut spans.fin_wait2, &mut durations.fin_wait2),
                TcpState::CloseWait => (&mut spans.close_wait, &mut durations.close_wait),
                TcpState::LastAck => (&mut spans.last_ack, &mut durations.last_ack),
                _ => continue,
            };
            if let Some(span) = *span {
                spans.add(span);
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
                self.interval.spans.time_wait.add(time_wait.dwell);
                self.totals.durations.time_wait.add(time_wait.dwell);
            }
        }
    }

    /// What is stuck, with the growth over the intervals that are over.
    #[must_use]
    pub fn stuck_now(&self, counts: StuckCounts) -> StuckNow {
        counts.rank(&self.trends, NAMED)
    }

    /// Ends the interval, and begins the next.
    pub fn end_interval(&mut self, at: Nanos, context: IntervalContext) -> Summary {
        let IntervalContext { opened, now, stuck } = context;
        if let Some(counts) = &stuck {
            self.trends.record(at, counts.samples());
        }
        let interval = std::mem::take(&mut self.interval);
        let since = std::mem::replace(
            &mut self.since,
            Since {
                at,
                totals: self.totals.clone(),
                opened,
            },
        );
        Summary {
            from: since.at,
            to: at,
            opened: opened.saturating_sub(since.opened),
            closes: &self.totals.closes - &since.totals.closes,
            resets: &self.totals.resets - &since.totals.resets,
            states: interval.spans.map(Spans::spread),
            durations: self.totals.durations.since(&since.totals.durations),
            time_wait_ends: &self.totals.time_wait_ends - &since.totals.time_wait_ends,
            closes_of_processes: interval.closes_of_processes.ranking(NAMED),
            resets_of_processes: interval.resets_of_processes.ranking(NAMED),
            closes_of_peers: interval.closes_of_peers.ranking(NAMED),
            resets_of_peers: interval.resets_of_peers.ranking(NAMED),
            lost: &self.totals.lost - &since.totals.lost,
            now,
            stuck: stuck.map(|counts| self.stuck_now(counts)),
        }
    }
}
