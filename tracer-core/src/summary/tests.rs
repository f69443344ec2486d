use smallvec::smallvec;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::finding::{EndSource, Endpoint, Loss, Reset};
use crate::process::Process;
use crate::samples;
use crate::stuck::{
    Age, AgeCertainty, ObservedSocket, OwnerProcess, StuckEvent, StuckSocket, Verdict,
};
use crate::types::{CgroupId, Inode, Owner, OwnerSource, SharedOwner};

fn owner(comm: &str, cgroup: u64, pid: u32) -> SharedOwner {
    Arc::new(Owner {
        pid,
        uid: 0,
        cgroup: CgroupId::new(cgroup),
        comm: comm.as_bytes().into(),
        source: OwnerSource::Close,
        thread: None,
    })
}

fn endpoint(peer: &str) -> Endpoint {
    let end = |text: &str| text.parse::<SocketAddr>().expect("an address");
    samples::endpoint(end("10.0.0.1:40000"), end(peer))
}

fn close(path: ClosePath, initiator: Initiator, peer: &str) -> Close {
    samples::close(endpoint(peer), path, initiator)
}

fn reset(reason: Option<ResetReason>, owner: &SharedOwner) -> Close {
    Close {
        owner: Some(owner.clone()),
        reset: Some(Reset {
            by: Side::Local,
            reason,
            kernel_reason: None,
        }),
        ..close(ClosePath::Reset, Initiator::Local, "10.0.0.3:80")
    }
}

fn time_wait(end: TimeWaitEnd, seconds: u64) -> Finding {
    Finding::TimeWait(Box::new(TimeWait {
        at: Nanos(0),
        endpoint: endpoint("10.0.0.2:80"),
        owner: None,
        entered: Nanos(0),
        dwell: Nanos::from_secs(seconds),
        end,
        measured: EndSource::Timer,
        error: Nanos(0),
        restarts: 0,
    }))
}

fn finding_of(close: Close) -> Finding {
    Finding::Close(Box::new(close))
}

#[test]
fn closes_are_counted_by_path_initiator_and_cause() {
    let mut summaries = FindingCounts::new(Nanos::from_secs(100));
    let web = owner("nginx", 7, 10);
    for _ in 0..3 {
        let four_way = close(ClosePath::FourWay, Initiator::Local, "10.0.0.2:80");
        summaries.record(&finding_of(four_way));
    }
    summaries.record(&finding_of(reset(Some(ResetReason::Linger), &web)));
    summaries.record(&finding_of(reset(None, &owner("nginx", 7, 11))));
    summaries.record(&finding_of(reset(None, &owner("nginx", 8, 12))));
    let summary = summaries.end_interval(Nanos::from_secs(160), IntervalContext::default());

    assert_eq!(
        (summary.from, summary.to),
        (Nanos::from_secs(100), Nanos::from_secs(160))
    );
    let four_way = (ClosePath::FourWay, Initiator::Local);
    assert_eq!(summary.closes.total(), 6);
    assert_eq!(summary.closes.get(four_way), 3);
    let linger = (Side::Local, Some(ResetReason::Linger));
    assert_eq!(summary.resets.get(linger), 1);
    assert_eq!(summary.resets.get((Side::Local, None)), 2);
    // Workers of one service are one, of another container they are not.
    let services: Vec<_> = summary
        .closes_of_processes
        .top
        .iter()
        .map(|(process, count)| {
            (
                process
                    .as_ref()
                    .map(|service| service.owner().cgroup.map_or(0, CgroupId::get)),
                *count,
            )
        })
        .collect();
    assert_eq!(services, [(None, 3), (Some(7), 2), (Some(8), 1)]);
    assert_eq!(summary.resets_of_processes.top.len(), 2);
    let peers =
        [("10.0.0.2", 3), ("10.0.0.3", 3)].map(|(ip, n)| (ip.parse().expect("an address"), n));
    assert_eq!(summary.closes_of_peers.top, peers);
    assert_eq!(summary.resets_of_peers.top, peers[1..]);
}

#[test]
fn abnormal_closes_are_counted_by_cause() {
    let mut summaries = FindingCounts::new(Nanos(0));
    let mut end = |causes: &[Option<Cause>]| {
        let orderly = close(ClosePath::FourWay, Initiator::Local, "10.0.0.2:80");
        summaries.record(&finding_of(orderly));
        for cause in causes {
            let reset = close(ClosePath::Reset, Initiator::Peer, "10.0.0.2:80");
            let reset = Close {
                cause: *cause,
                ..reset
            };
            summaries.record(&finding_of(reset));
        }
        summaries
            .end_interval(Nanos(1), IntervalContext::default())
            .causes
    };
    let stale = Some(Cause::StaleKeepalive);
    let first = end(&[stale, stale, None]);
    assert_eq!(
        (first.get(stale), first.get(None), first.total()),
        (2, 1, 3)
    );
    assert_eq!(end(&[stale]).total(), 1);
    assert_eq!(summaries.totals().causes.get(stale), 3);
}

#[test]
fn the_self_test_is_not_counted() {
    let mut summaries = FindingCounts::new(Nanos(0));
    let mut own = reset(Some(ResetReason::Linger), &owner("tcpclose", 7, 10));
    own.endpoint = endpoint("127.84.67.80:9");
    summaries.record(&finding_of(own));
    summaries.record(&finding_of(reset(None, &owner("nginx", 7, 11))));
    let summary = summaries.end_interval(Nanos::from_secs(60), IntervalContext::default());
    assert_eq!(summary.closes.total(), 1);
    assert_eq!(summary.resets.get((Side::Local, None)), 1);
}

#[test]
fn times_are_those_of_the_states_that_matter() {
    let mut summaries = FindingCounts::new(Nanos(0));
    summaries.record(&finding_of(Close {
        states: smallvec![
            (TcpState::Established, Some(Nanos::from_secs(9))),
            (TcpState::FinWait1, Some(Nanos::from_secs(8))),
            (TcpState::FinWait2, Some(Nanos::from_secs(2))),
        ],
        ..close(ClosePath::FourWay, Initiator::Local, "10.0.0.2:80")
    }));
    summaries.record(&finding_of(Close {
        states: smallvec![
            (TcpState::CloseWait, None),
            (TcpState::LastAck, Some(Nanos::from_millis(3))),
        ],
        ..close(ClosePath::FourWay, Initiator::Peer, "10.0.0.2:80")
    }));
    summaries.record(&time_wait(TimeWaitEnd::Expired, 61));
    summaries.record(&time_wait(TimeWaitEnd::Reused, 1));
    summaries.record(&time_wait(TimeWaitEnd::Unknown, 30));
    summaries.record(&time_wait(TimeWaitEnd::Overflow, 0));
    let totals = summaries.totals().clone();
    let summary = summaries.end_interval(Nanos(1), IntervalContext::default());

    let PerState {
        fin_wait2,
        close_wait,
        last_ack,
        time_wait,
    } = summary.states;
    assert_eq!(
        (fin_wait2.count, fin_wait2.max),
        (1, Some(Nanos::from_secs(2)))
    );
    // Nobody saw how long it was.
    assert_eq!(close_wait, DurationStats::default());
    assert_eq!(last_ack.sum, Duration::from_millis(3));
    assert_eq!(
        (time_wait.count, time_wait.sum),
        (2, Duration::from_secs(62))
    );
    assert_eq!(summary.time_wait_ends.total(), 4);
    assert_eq!(totals.durations.time_wait.sum, Duration::from_secs(62));
    assert_eq!(totals.durations.time_wait.counts.iter().sum::<u64>(), 2);
}

#[test]
fn an_interval_has_only_what_came_in_it_and_the_totals_have_all() {
    let mut summaries = FindingCounts::new(Nanos(0));
    let finding = finding_of(close(ClosePath::ThreeWay, Initiator::Peer, "10.0.0.2:80"));
    let loss = Finding::Loss(Loss {
        at: Nanos(0),
        lost: 5,
        location: LossLocation::Ring,
        repaired: true,
        duration: None,
    });
    summaries.record(&finding);
    summaries.record(&loss);
    summaries.record(&time_wait(TimeWaitEnd::Expired, 60));
    let first = summaries.end_interval(
        Nanos::from_secs(60),
        IntervalContext {
            opened: 10,
            ..IntervalContext::default()
        },
    );
    summaries.record(&finding);
    summaries.record(&finding);
    summaries.record(&loss);
    let second = summaries.end_interval(
        Nanos::from_secs(120),
        IntervalContext {
            opened: 14,
            ..IntervalContext::default()
        },
    );
    assert_eq!((first.opened, second.opened), (10, 4));
    assert_eq!((first.closes.total(), second.closes.total()), (1, 2));
    assert_eq!(
        (
            first.lost.get(LossLocation::Ring),
            second.lost.get(LossLocation::Ring)
        ),
        (5, 5)
    );
    assert_eq!(second.from, first.to);
    assert_eq!(second.states, PerState::default());
    assert_eq!(second.closes_of_peers.top[0].1, 2);
    assert_eq!(summaries.totals().closes.total(), 3);
    assert_eq!(summaries.totals().lost.total(), 10);
}

#[test]
fn a_hundred_thousand_peers_are_ten_and_the_rest() {
    let mut summaries = FindingCounts::new(Nanos(0));
    for number in 0..100_000_u32 {
        let peer = format!(
            "10.{}.{}.{}:80",
            number >> 16,
            (number >> 8) & 255,
            number & 255
        );
        summaries.record(&finding_of(close(
            ClosePath::FourWay,
            Initiator::Peer,
            &peer,
        )));
    }
    let summary = summaries.end_interval(Nanos(1), IntervalContext::default());
    let ranking = summary.closes_of_peers;
    assert_eq!(ranking.top.len(), TOP_NAMES);
    let named: u64 = ranking.top.iter().map(|(_, count)| count).sum();
    assert_eq!((named + ranking.rest, ranking.exact), (100_000, false));
}

#[test]
fn an_interval_has_its_own_durations() {
    let mut summaries = FindingCounts::new(Nanos(0));
    let mut next = |second, dwell| {
        summaries.record(&time_wait(TimeWaitEnd::Expired, dwell));
        summaries.end_interval(Nanos::from_secs(second), IntervalContext::default())
    };
    next(60, 62);
    let durations = next(120, 61).durations.time_wait;
    assert_eq!(durations.counts.iter().sum::<u64>(), 1);
    assert_eq!(durations.sum, Duration::from_secs(61));
}

/// A socket of a process with `open` descriptors of at most `limit`.
fn stuck_socket(pid: u32, open: u64, limit: u64) -> StuckSocket {
    let process = Process {
        pid,
        open_fds: open,
        fd_limit: Some(limit),
        ..Process::default()
    };
    let endpoint = endpoint("10.0.0.2:40001");
    let socket = ObservedSocket {
        id: endpoint.id,
        state: TcpState::CloseWait,
        netns: endpoint.netns,
        tuple: endpoint.tuple,
        interface: None,
        inode: Inode::new(11),
        uid: 0,
        cgroup: CgroupId::new(77),
        queued: 0,
        unsent: 0,
        unanswered: None,
        keepalive: false,
        mptcp: false,
        opening: None,
        entered: None,
        activity: None,
    };
    StuckSocket {
        at: Nanos::from_secs(60),
        event: StuckEvent::Opened,
        socket,
        age: Age {
            since: Nanos(0),
            known: AgeCertainty::Observed,
            earliest: Some(Nanos(0)),
        },
        verdict: Verdict::EofRead,
        idle_before_fin: None,
        endpoint,
        owner: Some(process.as_owner(OwnerSource::Proc).into()),
        owner_unknown: None,
        holders: vec![],
        process: Some(OwnerProcess {
            as_of: Nanos(0),
            process: Arc::new(process),
            stuck: 31,
            forecast: None,
        }),
        why: Vec::new(),
    }
}

/// Processes with many stuck sockets and much room hide nobody who has none left.
#[test]
fn who_runs_out_of_descriptors_is_named_beside_those_with_most() {
    let stuck = |pid, limit| stuck_socket(pid, 100, limit);
    let mut summaries = FindingCounts::new(Nanos(0));
    let census = |minute: u64| {
        let many = (0..20).flat_map(|pid| vec![stuck(pid, 20_000); 50]);
        let few = vec![stuck(100, 110); 3 + minute as usize];
        let ends: Vec<_> = many.chain(few).collect();
        ends.iter().collect::<StuckCounts>()
    };
    let mut summary = None;
    for minute in 1..=4 {
        let surroundings = IntervalContext {
            stuck: Some(census(minute)),
            ..IntervalContext::default()
        };
        summary = summaries
            .end_interval(Nanos::from_secs(60 * minute), surroundings)
            .stuck;
    }
    let now = summary.expect("somebody looks");
    assert_eq!(now.owners.len(), TOP_NAMES + 1);
    let soonest = &now.owners[TOP_NAMES];
    assert_eq!((soonest.process.pid, soonest.stuck), (100, 7));
    assert_eq!(soonest.exhausted_in(), Some(Nanos::from_secs(600)));
    assert_eq!(now.other, 10 * 50);
}
