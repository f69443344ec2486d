//! The `summary` record.

use std::borrow::Cow;
use std::net::IpAddr;

use serde::{Serialize, Serializer};

use super::record::{Container, Descriptors, Endpoint, Growth, VERSION, netns};
use crate::lifecycle::finding::{ClosePath, Initiator, LossPlace, ResetReason, Side, TimeWaitEnd};
use crate::lifecycle::leak::Verdict;
use crate::lifecycle::process;
use crate::lifecycle::summary::{
    self, BpfRuns, Counts, Kind, OutputState, Pressure, Ranking, Service, Spread, StuckNow,
    StuckOwner,
};
use crate::lifecycle::types::{Nanos, Owner};
use crate::output::cgroup_names::CgroupNames;
use crate::output::clock::{Rfc3339, WallClock};
use crate::output::duration::rounded_ms;

/// What an interval was like.
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
    lost: Numbers<LossPlace>,
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
            outputs,
            tracer,
        } = summary;
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
                path: Numbers(closes.by(|(path, _)| path), ClosePath::name),
                initiator: Numbers(closes.by(|(_, initiator)| initiator), Initiator::name),
            },
            resets: Resets {
                by: Numbers(resets.by(|(by, _)| by), Side::name),
                reason: Numbers(resets.by(|(_, reason)| reason), |reason| {
                    reason.map_or("unknown", ResetReason::name)
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
                ends: Numbers(time_wait_ends.clone(), TimeWaitEnd::name),
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
            lost: Numbers(lost.clone(), LossPlace::name),
            outputs: outputs
                .iter()
                .map(|output| Output::new(output, clock))
                .collect(),
            tracer: tracer.map(|summary::Tracer { cpu, memory, bpf }| Tracer {
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

/// An object with a number for each kind, zeros too.
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
    peer: Endpoint,
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
struct CloseWait<'a> {
    stuck: u64,
    verdicts: Verdicts,
    oldest_ms: Option<f64>,
    owners: Vec<OwnerOfStuck<'a>>,
    other: u64,
    unowned: u64,
    peers: List<RankedPeer>,
}

impl<'a> CloseWait<'a> {
    fn new(stuck: &'a StuckNow, to: Nanos) -> Self {
        let StuckNow {
            verdicts,
            oldest,
            owners,
            other,
            unowned,
            peers,
        } = stuck;
        Self {
            stuck: stuck.total(),
            verdicts: Verdicts {
                not_accepted: verdicts.of(Verdict::NotAccepted),
                eof_unread: verdicts.of(Verdict::EofUnread),
                eof_read: verdicts.of(Verdict::EofRead),
            },
            oldest_ms: oldest.map(|since| rounded_ms(to - since)),
            owners: owners
                .iter()
                .map(|owner| OwnerOfStuck::new(owner, to))
                .collect(),
            other: *other,
            unowned: *unowned,
            peers: peers.into(),
        }
    }
}

/// What still sends is not stuck.
#[derive(Serialize)]
struct Verdicts {
    not_accepted: u64,
    eof_unread: u64,
    eof_read: u64,
}

#[derive(Serialize)]
struct OwnerOfStuck<'a> {
    pid: u32,
    comm: Cow<'a, str>,
    uid: u32,
    cgroup: Option<&'a str>,
    container: Option<Container<'a>>,
    unit: Option<&'a str>,
    descriptors: Descriptors,
    stuck: u64,
    oldest_ms: f64,
    growth: Option<Growth>,
}

impl<'a> OwnerOfStuck<'a> {
    fn new(owner: &'a StuckOwner, to: Nanos) -> Self {
        let StuckOwner {
            process,
            stuck,
            oldest,
            forecast,
        } = owner;
        Self {
            pid: process.pid,
            comm: String::from_utf8_lossy(&process.comm),
            uid: process.uid,
            cgroup: process.cgroup.as_deref(),
            container: process.container.as_ref().map(Container::from),
            unit: process.unit.as_ref().map(|unit| unit.name.as_str()),
            descriptors: Descriptors::of(process),
            stuck: *stuck,
            oldest_ms: rounded_ms(to - *oldest),
            growth: forecast.map(Growth::from),
        }
    }
}

/// What a process is called.
#[derive(Serialize)]
struct Name<'a> {
    comm: Option<Cow<'a, str>>,
    cgroup: Option<String>,
    #[serde(serialize_with = "container")]
    container: Option<process::Container>,
}

impl<'a> Name<'a> {
    const NOBODY: Self = Self {
        comm: None,
        cgroup: None,
        container: None,
    };

    fn new(process: &'a Owner, cgroups: &mut dyn CgroupNames) -> Self {
        let cgroup = match process.cgroup {
            0 => None,
            id => cgroups.name(id).cloned(),
        };
        let (path, container) = cgroup.map(|name| (name.path, name.container)).unzip();
        Self {
            comm: Some(String::from_utf8_lossy(&process.comm)),
            cgroup: path,
            container: container.flatten(),
        }
    }
}

fn container<S: Serializer>(
    container: &Option<process::Container>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    container
        .as_ref()
        .map(Container::from)
        .serialize(serializer)
}

#[derive(Serialize)]
struct Ranked<T> {
    closes: List<T>,
    resets: List<T>,
}

#[derive(Serialize)]
struct List<T> {
    most: Vec<T>,
    other: u64,
    exact: bool,
}

#[derive(Serialize)]
struct RankedProcess<'a> {
    #[serde(flatten)]
    process: Name<'a>,
    count: u64,
}

impl<'a> List<RankedProcess<'a>> {
    fn of_processes(ranking: &'a Ranking<Option<Service>>, cgroups: &mut dyn CgroupNames) -> Self {
        let Ranking { most, other, exact } = ranking;
        let most = most.iter().map(|(process, count)| RankedProcess {
            process: match process {
                Some(Service(owner)) => Name::new(owner, cgroups),
                None => Name::NOBODY,
            },
            count: *count,
        });
        Self {
            most: most.collect(),
            other: *other,
            exact: *exact,
        }
    }
}

#[derive(Serialize)]
struct RankedPeer {
    addr: IpAddr,
    count: u64,
}

impl From<&Ranking<IpAddr>> for List<RankedPeer> {
    fn from(ranking: &Ranking<IpAddr>) -> Self {
        let Ranking { most, other, exact } = ranking;
        let most = most.iter().map(|&(addr, count)| RankedPeer { addr, count });
        Self {
            most: most.collect(),
            other: *other,
            exact: *exact,
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
    fn new(output: &'a summary::Output, clock: &WallClock) -> Self {
        let summary::Output {
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
