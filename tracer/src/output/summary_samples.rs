//! Summaries to format in tests.

use tcpclose_core::finding::{Finding, Side};
use tcpclose_core::stuck::StuckSocket;
use tcpclose_core::summary::{
    FoundTimeouts, Gauges, IdleTimeout, IntervalContext, LocalPortStates, MissedTimeouts,
    PortPressure, Route, ServiceAddress, ServiceSide, StuckCounts,
};
use tcpclose_core::types::{Nanos, NetNs, Port};
use tcpclose_sys::kernel::program_stats::ProgramRunStats;

use super::samples::{clock, reset, stuck, three_way, unknown, us};
use crate::metrics::{FlightCounts, MetricsSnapshot, SnapshotPair, StateWrites};
use crate::output_status::{OutputCounts, OutputState, OutputStatus};
use crate::summary::{IntervalEnd, IntervalSummary, Summarizer};
use crate::usage::Usage;

/// A minute of a host on which something leaks, the third of three.
pub(crate) fn summary() -> IntervalSummary {
    let mut summarizer = Summarizer::new(us(0)).for_metrics(clock().timestamp(us(0)), us(0));
    for minute in 1..=2 {
        let leaks = IntervalContext {
            opened: 4 * minute,
            stuck: Some(stuck_counts(minute)),
            ..IntervalContext::default()
        };
        let end = IntervalEnd {
            at: Nanos::from_secs(60 * minute),
            ..IntervalEnd::default()
        };
        summarizer.end_interval(end, leaks);
    }
    for close in [three_way(), reset(), unknown()] {
        summarizer.take(&Finding::Close(Box::new(close)));
    }
    summarizer.note_state_writes(Some(StateWrites {
        written: 18,
        failed: 1,
        left_out: 4,
    }));
    summarizer.note_flight(Some(FlightCounts {
        written: 70_000,
        failed: 0,
        dropped: 12,
        bytes: 3 << 20,
        overwritten: 2,
        left_out: 0,
    }));
    let route = Route {
        netns: NetNs::new(4_026_531_840),
        local: "127.0.0.1".parse().expect("an address"),
        peer: "127.0.0.1:3306".parse().expect("an address"),
    };
    let mut summary = summarizer.end_interval(
        IntervalEnd {
            at: Nanos::from_secs(180),
            pressure: vec![PortPressure {
                route,
                used: Some(7_058),
                reusable: Some(12),
                ports: 28_232,
            }],
            outputs: vec![OutputStatus {
                name: "stdout".into(),
                counts: OutputCounts {
                    offered: 5,
                    written: 3,
                    queued: 2,
                    ..OutputCounts::default()
                },
                state: OutputState::Down {
                    since: Nanos::from_secs(170),
                    reason: "write failed: Resource temporarily unavailable (os error 11)"
                        .to_owned(),
                },
            }],
            usage: Some(Usage {
                cpu: Nanos::from_millis(12),
                memory: 9_437_184,
                bpf: Some(ProgramRunStats {
                    count: 36,
                    time: us(15),
                }),
            }),
        },
        IntervalContext {
            opened: 13,
            unjoined: 0,
            now: Gauges {
                live: 1_300,
                waiting_for_fin: 2,
                time_wait: 7_058,
                local_ports: Port::new(443)
                    .map(LocalPortStates::new)
                    .into_iter()
                    .collect(),
                ..Gauges::default()
            },
            stuck: Some(stuck_counts(3)),
        },
    );
    summary.connections.idle_timeouts = FoundTimeouts {
        most: vec![idle_timeout()],
        others: 0,
        exact: true,
    };
    summary
}

/// A server that closes idle connections too soon for its clients.
pub(crate) fn idle_timeout() -> IdleTimeout {
    IdleTimeout {
        of: ServiceSide {
            netns: NetNs::new(4_026_531_840),
            service: ServiceAddress::Peer("10.0.0.2:8088".parse().expect("an address")),
            closed_by: Side::Peer,
        },
        owner: three_way().owner,
        silence: Nanos::from_millis(5_004),
        closes: 812,
        silent_closes: 830,
        missed: MissedTimeouts {
            late: 2,
            crossed: 1,
            after_close: 0,
        },
    }
}

/// The agent at the end of that minute, as if it had started with it.
pub(crate) fn snapshot() -> MetricsSnapshot {
    let SnapshotPair { before, now } = summary().snapshots;
    let mut snapshot = now.since(&before);
    snapshot.rankings.idle_timeouts = vec![idle_timeout()];
    snapshot
}

/// Returns the counts of this many sockets of a web server, and of one without an owner.
fn stuck_counts(stuck_of_web: u64) -> StuckCounts {
    let unowned = StuckSocket {
        owner: None,
        holders: Vec::new(),
        process: None,
        ..stuck()
    };
    let mut sockets = vec![stuck(); stuck_of_web as usize];
    sockets.push(unowned);
    sockets.iter().collect()
}
