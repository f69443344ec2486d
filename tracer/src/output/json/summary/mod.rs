//! The `summary` record.

mod idle_timeouts;
mod ranked;
mod stuck;

use std::net::IpAddr;

use serde::Serialize;

use super::close_counts::CloseCounts;
use super::counts_by_word::CountsByWord;
use super::record::{Address, Sample, VERSION, netns, rounded_share};
use crate::cgroup_names::CgroupNames;
use crate::output::clock::{Rfc3339, WallClock};
use crate::output::duration::rounded_ms;
use crate::output_status::{OutputCounts, OutputState, OutputStatus};
use crate::summary;
use crate::usage::Usage;
use idle_timeouts::IdleTimeouts;
use ranked::{ClosesAndResets, RankedList, RankedPeer, RankedProcess};
use stuck::StuckSection;
use tcpclose_core::finding::{LossLocation, ResetReason, Side, TimeWaitEnd};
use tcpclose_core::summary::{DurationStats, PortPressure};
use tcpclose_sys::kernel::program_stats::ProgramRunStats;

/// The summary of an interval.
#[derive(Serialize)]
pub(super) struct Summary<'a> {
    v: u8,
    kind: &'static str,
    ts: Rfc3339,
    from: Rfc3339,
    to: Rfc3339,
    connections: Connections,
    closes: CloseCounts,
    resets: Resets,
    states: States,
    time_wait: TimeWait,
    stuck: Option<StuckSection<'a>>,
    processes: ClosesAndResets<RankedProcess<'a>>,
    peers: ClosesAndResets<RankedPeer>,
    idle_timeouts: IdleTimeouts<'a>,
    lost: CountsByWord<LossLocation>,
    outputs: Vec<OutputRecord<'a>>,
    tracer: Option<Tracer>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sample: Option<Sample>,
}

impl<'a> Summary<'a> {
    pub(super) fn new(
        summary: &'a summary::IntervalSummary,
        clock: &WallClock,
        cgroups: &mut dyn CgroupNames,
        sample: Option<Sample>,
    ) -> Self {
        let summary::IntervalSummary {
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
            causes,
            resets,
            states,
            durations: _,
            time_wait_ends,
            closes_of_processes,
            resets_of_processes,
            closes_of_peers,
            resets_of_peers,
            idle_timeouts,
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
            closes: CloseCounts::new(closes, causes),
            resets: Resets {
                by: CountsByWord(resets.by(|(by, _)| by), Side::into),
                reason: CountsByWord(resets.by(|(_, reason)| reason), |reason| {
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
                ends: CountsByWord(time_wait_ends.clone(), TimeWaitEnd::into),
                pressure: now.pressure.iter().map(PressureRecord::new).collect(),
            },
            stuck: stuck.as_ref().map(|stuck| StuckSection::new(stuck, *to)),
            processes: ClosesAndResets {
                closes: RankedList::from_ranking(closes_of_processes, cgroups),
                resets: RankedList::from_ranking(resets_of_processes, cgroups),
            },
            peers: ClosesAndResets {
                closes: closes_of_peers.into(),
                resets: resets_of_peers.into(),
            },
            idle_timeouts: IdleTimeouts::new(idle_timeouts, cgroups),
            lost: CountsByWord(lost.clone(), LossLocation::into),
            outputs: outputs
                .iter()
                .map(|output| OutputRecord::new(output, clock))
                .collect(),
            tracer: usage.map(|Usage { cpu, memory, bpf }| Tracer {
                cpu_ms: rounded_ms(cpu),
                memory_bytes: memory,
                bpf: bpf.map(|ProgramRunStats { count, time }| Bpf {
                    runs: count,
                    ms: rounded_ms(time),
                }),
            }),
            sample,
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
struct Resets {
    by: CountsByWord<Side>,
    reason: CountsByWord<Option<ResetReason>>,
}

#[derive(Serialize)]
struct States {
    #[serde(rename = "FIN_WAIT2")]
    fin_wait2: DurationQuantiles,
    #[serde(rename = "CLOSE_WAIT")]
    close_wait: DurationQuantiles,
    #[serde(rename = "LAST_ACK")]
    last_ack: DurationQuantiles,
    #[serde(rename = "TIME_WAIT")]
    time_wait: DurationQuantiles,
}

#[derive(Serialize)]
struct DurationQuantiles {
    count: u64,
    sum_ms: f64,
    p50_ms: Option<f64>,
    p90_ms: Option<f64>,
    p99_ms: Option<f64>,
    max_ms: Option<f64>,
}

impl From<DurationStats> for DurationQuantiles {
    fn from(stats: DurationStats) -> Self {
        let DurationStats {
            count,
            sum,
            p50,
            p90,
            p99,
            max,
        } = stats;
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
    ends: CountsByWord<TimeWaitEnd>,
    pressure: Vec<PressureRecord>,
}

#[derive(Serialize)]
struct PressureRecord {
    netns: Option<u32>,
    local: IpAddr,
    peer: Address,
    used: Option<u32>,
    reusable: Option<u32>,
    ports: u32,
    share: Option<f64>,
}

impl PressureRecord {
    fn new(pressure: &PortPressure) -> Self {
        let PortPressure {
            route,
            used,
            reusable,
            ports,
        } = *pressure;
        let share = pressure.share();
        Self {
            netns: netns(route.netns),
            local: route.local,
            peer: route.peer.into(),
            used,
            reusable,
            ports,
            share: share.map(rounded_share),
        }
    }
}

#[derive(Serialize)]
struct OutputRecord<'a> {
    name: &'a str,
    #[serde(flatten)]
    counts: OutputCounts,
    uncertain: u64,
    state: &'static str,
    down: Option<Down<'a>>,
}

#[derive(Serialize)]
struct Down<'a> {
    since: Rfc3339,
    reason: &'a str,
}

impl<'a> OutputRecord<'a> {
    fn new(output: &'a OutputStatus, clock: &WallClock) -> Self {
        let OutputStatus {
            name,
            counts,
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
            counts: *counts,
            uncertain: counts.uncertain,
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
