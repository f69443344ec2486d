//! Reports and resolutions, without a kernel.

use std::net::SocketAddr;

use super::*;
use tcpclose_common::TcpState;
use tcpclose_core::types::{Inode, NetNs, StartTime, Tuple};

fn scanner() -> Scanner {
    Scanner::new(ScanOptions {
        min_age: Nanos(0),
        filter: ConnectionFilter::default(),
        netns: None,
        netns_cookie: None,
        still_sending: false,
        dead_after: None,
        agent: None,
        evidence: EvidenceScope::None,
    })
}

/// A report of one socket that was seen to enter CLOSE_WAIT, held by the process of that id.
fn report(at: Nanos, pid: Option<u32>) -> Report {
    let ends: [SocketAddr; 2] = [([10, 0, 0, 1], 80).into(), ([10, 0, 0, 2], 4242).into()];
    let socket = ObservedSocket {
        id: EndpointId(1),
        state: TcpState::CloseWait,
        netns: NetNs::new(1),
        tuple: Tuple::from((ends[0], ends[1])),
        interface: None,
        inode: Inode::new(11),
        uid: 0,
        cgroup: None,
        queued: 0,
        unsent: 0,
        unanswered: None,
        keepalive: false,
        mptcp: false,
        opening: None,
        entered: Some(Nanos::from_secs(100)),
        activity: None,
    };
    let process = pid.map(|pid| {
        Arc::new(Process {
            pid,
            started: StartTime::new(5),
            ..Process::default()
        })
    });
    let old = ScanHistory::default().add(vec![socket], at, Nanos(0)).old;
    let sockets = old
        .into_iter()
        .map(|stuck| stuck.with_holders(Vec::new(), process.as_ref(), OwnerUnknown::NoHolder));
    Report::new(at, Nanos(0), sockets.collect(), &mut Trends::default())
}

fn nothing(at: Nanos) -> Report {
    Report::new(at, Nanos(0), Vec::new(), &mut Trends::default())
}

#[test]
fn the_age_of_a_socket_that_ended_while_stopped_is_not_observed() {
    let mut scanner = scanner();
    let first = report(Nanos::from_secs(400), None);
    assert_eq!(first.sockets[0].age.known, AgeCertainty::Observed);
    scanner.replace_report(first, &HashSet::new());
    scanner.resolve(&HashMap::new());
    assert_eq!(scanner.report().changes, None);
    let vanished = HashSet::from([EndpointId(1)]);
    scanner.replace_report(nothing(Nanos::from_secs(500)), &vanished);
    scanner.resolve(&HashMap::new());
    let changes = scanner.report().changes.as_ref();
    let changes = changes.expect("it is the second report");
    assert_eq!(changes.after, Nanos::from_secs(100));
    let resolved = &changes.resolved[0];
    assert_eq!(resolved.resolution(), Some(Resolution::Unknown));
    assert_eq!(resolved.age.known, AgeCertainty::Estimated);
    assert_eq!(resolved.at, Nanos::from_secs(500));
}

#[test]
fn an_observed_exit_is_exact() {
    let mut scanner = scanner();
    scanner.replace_report(report(Nanos::from_secs(400), Some(7)), &HashSet::new());
    let vanished = HashSet::from([EndpointId(1)]);
    scanner.replace_report(nothing(Nanos::from_secs(500)), &vanished);
    assert_eq!(scanner.vanished(), [EndpointId(1)]);
    let end = (Nanos::from_secs(450), Resolution::Reset);
    let seen = HashMap::from([(EndpointId(1), end)]);
    scanner.resolve(&seen);
    let changes = scanner.report().changes.clone();
    let resolved = changes.expect("it is the second report").resolved.remove(0);
    assert_eq!((resolved.at, resolved.resolution()), (end.0, Some(end.1)));
    assert_eq!(resolved.age.known, AgeCertainty::Observed);
    assert_eq!(resolved.owner.map(|owner| owner.pid), Some(7));
}

#[test]
fn the_owner_of_a_stuck_socket_is_kept_until_it_is_resolved() {
    let mut scanner = scanner();
    scanner.replace_report(report(Nanos::from_secs(400), Some(7)), &HashSet::new());
    // Nobody holds it at the last two scans any more.
    for at in [410, 420] {
        scanner.replace_report(report(Nanos::from_secs(at), None), &HashSet::new());
    }
    let vanished = HashSet::from([EndpointId(1)]);
    scanner.replace_report(nothing(Nanos::from_secs(430)), &vanished);
    scanner.resolve(&HashMap::new());
    let changes = scanner.report().changes.as_ref();
    let resolved = &changes.expect("it is not the first report").resolved[0];
    assert_eq!(resolved.owner.as_ref().map(|owner| owner.pid), Some(7));
    assert_eq!(resolved.owner_unknown, None);
    let process = resolved.process.as_ref();
    assert_eq!(process.map(|owner| owner.process.pid), Some(7));
}

#[test]
fn sockets_that_were_not_reported_are_not_resolved() {
    let mut scanner = scanner();
    scanner.replace_report(nothing(Nanos::from_secs(400)), &HashSet::new());
    let vanished = HashSet::from([EndpointId(1)]);
    scanner.replace_report(nothing(Nanos::from_secs(500)), &vanished);
    assert_eq!(scanner.vanished(), []);
}
