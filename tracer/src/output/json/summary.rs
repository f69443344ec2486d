//! The `summary` record.

mod close_wait;
mod ranked;

use std::net::IpAddr;

use serde::{Serialize, Serializer};

use super::record::{Address, VERSION, netns};
use crate::output::cgroup_names::CgroupNames;
use crate::output::clock::{Rfc3339, WallClock};
use crate::output::duration::rounded_ms;
use crate::output::state::{self, OutputState};
use crate::summary;
use crate::usage::Usage;
use close_wait::CloseWait;
use ranked::{List, Ranked, RankedPeer, RankedProcess};
use tcpclose_core::finding::{ClosePath, Initiator, LossLocation, ResetReason, Side, TimeWaitEnd};
use tcpclose_core::summary::{Counts, Kind, Pressure, Spread};
use tcpclose_sys::kernel::program_stats::BpfRuns;

/// The summary of an interval.
#[derive(Serialize)]
pub(super) struct Summary<'a> {
    v: u8,
    kind: &'static str,
    ts: Rfc3339,
    from: Rfc3339,
    to: Rfc3339,
    connections: Connections,
    closes: Closes,
    resets: Resets,
    states: States,
    time_wait: TimeWait,
    close_wait: Option<CloseWait<'a>>,
    processes: Ranked<RankedProcess<'a>>,
    peers: Ranked<RankedPeer>,
    lost: Numbers<LossLocation>,
    outputs: Vec<Output<'a>>,
    tracer: Option<Tracer>,
}

impl<'a> Summary<'a> {
    pub(super) fn new(
        summary: &'a summary::Summary,
        clock: &WallClock,
        cgroups: &mut dyn CgroupNames,
    ) -> Self {
        let summary::Summary {
            connections,
            outputs,
            usage,
            snapshots: _,
        } = summary;
        let tcpclose_core::summary::Summary {
            from,
            to,
            opened,
            closes,
            resets,
            states,
            durations: _,
            time_wait_ends,
            closes_of_processes,
            resets_of_processes,
            closes_of_peers,
            resets_of_peers,
            lost,
            now,
            stuck,
        } = connections;
        Self {
            v: VERSION,
            kind: "summary",
            ts: clock.rfc3339(*to),
            from: clock.rfc3339(*from),
            to: clock.rfc3339(*to),
            connections: Connections {
                opened: *opened,
                closed: closes.total(),
                live: now.live,
                waiting_for_fin: now.waiting_for_fin,
            },
            closes: Closes {
                path: Numbers(closes.by(|(path, _)| path), ClosePath::into),
                initiator: Numbers(closes.by(|(_, initiator)| initiator), Initiator::into),
            },
            resets: Resets {
                by: Numbers(resets.by(|(by, _)| by), Side::into),
                reason: Numbers(resets.by(|(_, reason)| reason), |reason| {
                    reason.map_or("unknown", Into::into)
                }),
            },
            states: States {
                fin_wait2: states.fin_wait2.into(),
                close_wait: states.close_wait.into(),
                last_ack: states.last_ack.into(),
                time_wait: states.time_wait.into(),
            },
            time_wait: TimeWait {
                now: now.time_wait,
                ends: Numbers(time_wait_ends.clone(), TimeWaitEnd::into),
                pressure: now.pressure.iter().map(PressureRecord::new).collect(),
            },
            close_wait: stuck.as_ref().map(|stuck| CloseWait::new(stuck, *to)),
            processes: Ranked {
                closes: List::of_processes(closes_of_processes, cgroups),
                resets: List::of_processes(resets_of_processes, cgroups),
            },
            peers: Ranked {
                closes: closes_of_peers.into(),
                resets: resets_of_peers.into(),
            },
            lost: Numbers(lost.clone(), LossLocation::into),
            outputs: outputs
                .iter()
                .map(|output| Output::new(output, clock))
                .collect(),
            tracer: usage.map(|Usage { cpu, memory, bpf }| Tracer {
                cpu_ms: rounded_ms(cpu),
                memory_bytes: memory,
                bpf: bpf.map(|BpfRuns { count, time }| Bpf {
                    runs: count,
                    ms: rounded_ms(time),
                }),
            }),
        }
    }
}

#[derive(Serialize)]
struct Connections {
    opened: u64,
    closed: u64,
    live: u64,
    waiting_for_fin: u64,
}

#[derive(Serialize)]
struct Closes {
    path: Numbers<ClosePath>,
    initiator: Numbers<Initiator>,
}

#[derive(Serialize)]
struct Resets {
    by: Numbers<Side>,
    reason: Numbers<Option<ResetReason>>,
}

/// An object with a number for each kind, including zeros.
struct Numbers<K>(Counts<K>, fn(K) -> &'static str);

impl<K: Kind> Serialize for Numbers<K> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(counts, name) = self;
        serializer.collect_map(counts.iter().map(|(kind, count)| (name(kind), count)))
    }
}

#[derive(Serialize)]
struct States {
    #[serde(rename = "FIN_WAIT2")]
    fin_wait2: Times,
    #[serde(rename = "CLOSE_WAIT")]
    close_wait: Times,
    #[serde(rename = "LAST_ACK")]
    last_ack: Times,
    #[serde(rename = "TIME_WAIT")]
    time_wait: Times,
}

#[derive(Serialize)]
struct Times {
    count: u64,
    sum_ms: f64,
    p50_ms: Option<f64>,
    p90_ms: Option<f64>,
    p99_ms: Option<f64>,
    max_ms: Option<f64>,
}

impl From<Spread> for Times {
    fn from(spread: Spread) -> Self {
        let Spread {
            count,
            sum,
            p50,
            p90,
            p99,
            max,
        } = spread;
        Self {
            count,
            sum_ms: (sum.as_nanos() / 1_000) as f64 / 1e3,
            p50_ms: p50.map(rounded_ms),
            p90_ms: p90.map(rounded_ms),
            p99_ms: p99.map(rounded_ms),
            max_ms: max.map(rounded_ms),
        }
    }
}

#[derive(Serialize)]
struct TimeWait {
    now: u64,
    ends: Numbers<TimeWaitEnd>,
    pressure: Vec<PressureRecord>,
}

#[derive(Serialize)]
struct PressureRecord {
    netns: Option<u32>,
    local: IpAddr,
    peer: Address,
    used: u32,
    ports: u32,
    share: f64,
}

impl PressureRecord {
    fn new(pressure: &Pressure) -> Self {
        let Pressure { route, used, ports } = *pressure;
        Self {
            netns: netns(route.netns),
            local: route.local,
            peer: route.peer.into(),
            used,
            ports,
            share: (pressure.share() * 1e4).round() / 1e4,
        }
    }
}

#[derive(Serialize)]
struct Output<'a> {
    name: &'a str,
    offered: u64,
    written: u64,
    filtered: u64,
    cut: u64,
    dropped: u64,
    failed: u64,
    queued: u64,
    state: &'static str,
    down: Option<Down<'a>>,
}

#[derive(Serialize)]
struct Down<'a> {
    since: Rfc3339,
    reason: &'a str,
}

impl<'a> Output<'a> {
    fn new(output: &'a state::Output, clock: &WallClock) -> Self {
        let state::Output {
            name,
            offered,
            written,
            filtered,
            cut,
            dropped,
            failed,
            queued,
            state,
        } = output;
        let (word, down) = match state {
            OutputState::Up => ("up", None),
            OutputState::Down { since, reason } => {
                let since = clock.rfc3339(*since);
                ("down", Some(Down { since, reason }))
            }
            OutputState::Removed => ("removed", None),
        };
        Self {
            name,
            offered: *offered,
            written: *written,
            filtered: *filtered,
            cut: *cut,
            dropped: *dropped,
            failed: *failed,
            queued: *queued,
            state: word,
            down,
        }
    }
}

#[derive(Serialize)]
struct Tracer {
    cpu_ms: f64,
    memory_bytes: u64,
    bpf: Option<Bpf>,
}

#[derive(Serialize)]
struct Bpf {
    runs: u64,
    ms: f64,
}
