//! What the page shows, gathered from findings. Everything is bounded, however long the recording.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use strum::VariantArray as _;
use tcpclose_common::TcpState;
use tcpclose_core::finding::{
    Cause, Close, ClosePath, Finding, Loss, LossLocation, TimeWait, TimeWaitEnd,
};
use tcpclose_core::stuck::{Report, StuckSocket, Trends};
use tcpclose_core::summary::{DurationSketch, HeavyHitters};
use tcpclose_core::types::{EndpointId, Nanos, Role};

use super::histogram::Histogram;
use super::time_series::TimeSeries;
use crate::escape::push_for_terminal;
use crate::output::cause_text::cause_text;
use crate::output::clock::WallClock;
use crate::output::close_tally::CloseTally;
use crate::output::ladder::write_ladder;
use crate::output::symbols::Symbols;

/// The most stuck sockets that are kept. Further ones are counted.
const MAX_STUCK: usize = 20_000;

/// How a connection ended, as the page counts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Outcome {
    Orderly,
    Caused(Cause),
    /// An abnormal close whose cause is not known.
    Abnormal(ClosePath),
    Unknown,
}

impl From<&Close> for Outcome {
    fn from(close: &Close) -> Self {
        match (close.path.is_abnormal(), close.cause) {
            (_, Some(cause)) => Self::Caused(cause),
            (Some(true), None) => Self::Abnormal(close.path),
            (Some(false), None) => Self::Orderly,
            (None, None) => Self::Unknown,
        }
    }
}

impl Outcome {
    /// A few words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Orderly => "orderly",
            Self::Caused(cause) => cause_text(cause).short,
            Self::Abnormal(ClosePath::Reset) => "reset",
            Self::Abnormal(ClosePath::Timeout) => "timed out",
            Self::Abnormal(ClosePath::Destroyed) => "destroyed",
            Self::Abnormal(ClosePath::ConnectFailed) => "connect failed",
            Self::Abnormal(_) => "abnormal",
            Self::Unknown => "unknown",
        }
    }
}

/// Which sockets are counted over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Waiting {
    TimeWait,
    Stuck,
}

/// All facts of a recording.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    pub(super) span: Option<(Nanos, Nanos)>,
    pub(super) outcomes: BTreeMap<Outcome, u64>,
    pub(super) over_time: TimeSeries<Outcome>,
    pub(super) lifetimes: Histogram,
    /// The silence before each close.
    pub(super) idle: Histogram,
    /// By the kernel's numbers of the states, which begin at 1.
    pub(super) states: [DurationSketch; TcpState::VARIANTS.len()],
    pub(super) time_waits: [DurationSketch; TimeWaitEnd::VARIANTS.len()],
    pub(super) waiting: TimeSeries<Waiting>,
    pub(super) processes: HeavyHitters<String>,
    pub(super) peers: HeavyHitters<String>,
    pub(super) abnormal: CloseTally,
    /// The first close of each outcome, drawn.
    pub(super) examples: BTreeMap<Outcome, String>,
    /// All losses in one place together.
    pub(super) losses: [Option<Loss>; LossLocation::VARIANTS.len()],
    pub(super) stuck_left_out: u64,
    /// The sockets that are stuck, until they no longer are.
    stuck: BTreeMap<EndpointId, StuckSocket>,
    /// The same of JSON lines: whose they are, and the verdict.
    stuck_lines: BTreeMap<EndpointId, String>,
}

impl Facts {
    /// Takes in a finding.
    pub(crate) fn add(&mut self, finding: &Finding, clock: &WallClock) {
        self.widen_span(finding.at());
        match finding {
            Finding::Close(close) => self.add_close(close, clock),
            Finding::TimeWait(time_wait) => self.add_time_wait(time_wait),
            Finding::Stuck(stuck) => self.add_stuck(stuck),
            Finding::Loss(loss) => self.add_loss(*loss),
        }
    }

    /// Takes in that a socket is stuck, in these words, or no longer.
    pub(crate) fn add_stuck_line(&mut self, id: EndpointId, at: Nanos, what: Option<String>) {
        self.widen_span(at);
        let Some(what) = what else {
            if self.stuck_lines.remove(&id).is_some() {
                self.waiting.add(at, Waiting::Stuck, -1);
            }
            return;
        };
        let len = self.stuck_lines.len();
        match self.stuck_lines.entry(id) {
            Entry::Occupied(mut known) => drop(known.insert(what)),
            Entry::Vacant(_) if len >= MAX_STUCK => self.stuck_left_out += 1,
            Entry::Vacant(free) => {
                free.insert(what);
                self.waiting.add(at, Waiting::Stuck, 1);
            }
        }
    }

    fn widen_span(&mut self, at: Nanos) {
        let (first, last) = self.span.unwrap_or((at, at));
        self.span = Some((first.min(at), last.max(at)));
    }

    /// What was stuck when the JSON lines ended, by its words, the most frequent first.
    pub(super) fn stuck_lines(&self) -> Vec<(&str, u64)> {
        let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
        for what in self.stuck_lines.values() {
            *counts.entry(what).or_default() += 1;
        }
        let mut counts: Vec<_> = counts.into_iter().collect();
        counts.sort_by_key(|(_, count)| u64::MAX - count);
        counts
    }

    /// The number of closes.
    pub(super) fn closes(&self) -> u64 {
        self.outcomes.values().sum()
    }

    /// What was stuck when the recording ended, as `tcpclose leaks` has it.
    pub(super) fn stuck(&self, min_age: Nanos) -> Report {
        let at = self.span.map_or(Nanos(0), |(_, last)| last);
        let sockets = self.stuck.values().cloned().collect();
        Report::new(at, min_age, sockets, &mut Trends::default())
    }

    fn add_close(&mut self, close: &Close, clock: &WallClock) {
        let outcome = Outcome::from(close);
        *self.outcomes.entry(outcome).or_default() += 1;
        self.over_time.add(close.at, outcome, 1);
        if let Some(lifetime) = close.endpoint.lifetime {
            self.lifetimes.add(lifetime);
        }
        if let Some(idle) = close.idle {
            self.idle.add(idle);
        }
        for (state, dwell) in &close.states {
            if let Some(dwell) = dwell {
                self.states[*state as usize - 1].add(*dwell);
            }
        }
        self.abnormal.add(close);
        self.processes.add(match &close.owner {
            Some(owner) => {
                let mut name = String::new();
                push_for_terminal(&mut name, &owner.comm);
                name
            }
            None => "unknown".to_owned(),
        });
        let (local, peer) = (close.endpoint.tuple.local(), close.endpoint.tuple.peer());
        self.peers.add(match close.endpoint.role {
            Role::Client => format!("→ {peer}"),
            Role::Server => format!("{} ← {}", local.port(), peer.ip()),
            Role::Unknown => format!("{local} – {}", peer.ip()),
        });
        self.examples.entry(outcome).or_insert_with(|| {
            let mut drawing = Vec::new();
            write_ladder(&mut drawing, close, clock, Symbols::Unicode);
            String::from_utf8_lossy(&drawing).into_owned()
        });
    }

    fn add_time_wait(&mut self, time_wait: &TimeWait) {
        self.time_waits[time_wait.end as usize].add(time_wait.dwell);
        self.waiting.add(time_wait.entered, Waiting::TimeWait, 1);
        self.waiting.add(time_wait.at, Waiting::TimeWait, -1);
    }

    fn add_stuck(&mut self, stuck: &StuckSocket) {
        let id = stuck.endpoint.id;
        if stuck.resolution().is_some() {
            if self.stuck.remove(&id).is_some() {
                self.waiting.add(stuck.at, Waiting::Stuck, -1);
            }
        } else if !self.stuck.contains_key(&id) {
            if self.stuck.len() >= MAX_STUCK {
                self.stuck_left_out += 1;
                return;
            }
            self.waiting.add(stuck.at, Waiting::Stuck, 1);
            self.stuck.insert(id, stuck.clone());
        }
    }

    fn add_loss(&mut self, loss: Loss) {
        let all = &mut self.losses[loss.location as usize];
        *all = Some(match *all {
            None => loss,
            Some(before) => Loss {
                lost: before.lost + loss.lost,
                repaired: before.repaired && loss.repaired,
                duration: before.duration.max(loss.duration),
                ..loss
            },
        });
    }
}
