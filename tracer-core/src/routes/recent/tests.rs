use std::sync::Arc;

use super::*;
use crate::finding::{ClosePath, Endpoint};
use crate::samples;
use crate::types::{NetNs, Owner, OwnerSource};

fn route(peer_port: u16) -> Route {
    Route {
        netns: NetNs::new(1),
        local: "10.0.0.1".parse().expect("an address"),
        peer: ([10, 0, 0, 2], peer_port).into(),
    }
}

fn owner(pid: u32) -> SharedOwner {
    Arc::new(Owner {
        pid,
        uid: 0,
        cgroup: None,
        comm: b"python3"[..].into(),
        source: OwnerSource::Connect,
        thread: None,
    })
}

fn close(second: u64, peer_port: u16, initiator: Initiator, lifetime_ms: u64) -> Close {
    let route = route(peer_port);
    let endpoint = Endpoint {
        netns: route.netns,
        opened: Some(Nanos(1)),
        lifetime: Some(Nanos::from_millis(lifetime_ms)),
        ..samples::endpoint((route.local, 40_000).into(), route.peer)
    };
    Close {
        at: Nanos::from_secs(second),
        ..samples::close(endpoint, ClosePath::ThreeWay, initiator)
    }
}

fn failed(second: u64, peer_port: u16, pid: u32) -> Close {
    let mut close = close(second, peer_port, Initiator::Unknown, 0);
    close.endpoint.opened = None;
    Close {
        path: ClosePath::ConnectFailed,
        cause: Some(Cause::NoLocalPort),
        owner: Some(owner(pid)),
        ..close
    }
}

#[test]
fn closes_of_a_route_are_counted_by_the_end_that_closed_first() {
    let mut recent = RecentRoutes::new(Nanos::from_secs(100));
    for ms in [3, 1, 2] {
        recent.add(&close(101, 80, Initiator::Local, ms));
    }
    recent.add(&close(102, 81, Initiator::Peer, 7));
    let mut accepted = close(102, 80, Initiator::Peer, 9);
    accepted.endpoint.role = Role::Server;
    recent.add(&accepted);
    let history = recent.history(&route(80), Nanos::from_secs(103));
    assert_eq!((history.closed_here, history.closed_by_peer), (3, 0));
    assert_eq!(history.closes_first(), Some(Initiator::Local));
    assert_eq!(history.lifetime, Some(Nanos::from_millis(2)));
    assert_eq!(history.since, Nanos::from_secs(100));
    assert_eq!((history.failed, history.failing_since), (0, None));
    let other = recent.history(&route(81), Nanos::from_secs(103));
    assert_eq!(other.closes_first(), Some(Initiator::Peer));
    let none = recent.history(&route(82), Nanos::from_secs(103));
    assert_eq!((none.closes_first(), none.lifetime), (None, None));
}

#[test]
fn the_newest_lifetimes_count() {
    let mut recent = RecentRoutes::new(Nanos::from_secs(100));
    for _ in 0..100 {
        recent.add(&close(101, 80, Initiator::Local, 500));
    }
    for _ in 0..MAX_LIFETIMES {
        recent.add(&close(102, 80, Initiator::Local, 4));
    }
    let history = recent.history(&route(80), Nanos::from_secs(103));
    assert_eq!(history.lifetime, Some(Nanos::from_millis(4)));
}

#[test]
fn connects_that_fail_are_counted_apart_and_keep_their_beginning() {
    let mut recent = RecentRoutes::new(Nanos::from_secs(100));
    for second in (130..=230).step_by(5) {
        recent.add(&failed(second, 80, if second < 200 { 7 } else { 8 }));
    }
    let history = recent.history(&route(80), Nanos::from_secs(231));
    assert_eq!(history.failing_since, Some(Nanos::from_secs(130)));
    assert_eq!(history.failed_at, Some(Nanos::from_secs(230)));
    assert_eq!((history.closed_here, history.lifetime), (0, None));
    // The first span has ended.
    assert!(history.since > Nanos::from_secs(100), "{history:?}");
    let counted: u64 = history.failed_of.iter().map(|(_, count)| count).sum();
    assert_eq!((history.failed_of.len(), counted), (2, history.failed));
}

#[test]
fn what_is_older_than_two_spans_is_forgotten() {
    let mut recent = RecentRoutes::new(Nanos::from_secs(100));
    recent.add(&failed(101, 80, 7));
    let history = recent.history(&route(80), Nanos::from_secs(400));
    assert_eq!((history.failed, history.failing_since), (0, None));
    // After a pause the failures are new ones.
    recent.add(&failed(400, 80, 7));
    let history = recent.history(&route(80), Nanos::from_secs(401));
    assert_eq!(history.failing_since, Some(Nanos::from_secs(400)));
    assert_eq!(history.failed, 1);
}

#[test]
fn more_routes_than_are_kept_shorten_the_time_that_is_known() {
    let mut recent = RecentRoutes::new(Nanos::from_secs(100));
    for port in 1..=3 * MAX_ROUTES as u16 {
        recent.add(&close(101, port, Initiator::Local, 1));
    }
    let now = Nanos::from_secs(102);
    let kept = recent.present.routes.len() + recent.before.routes.len();
    assert!(kept <= 2 * MAX_ROUTES, "{kept}");
    let newest = recent.history(&route(3 * MAX_ROUTES as u16), now);
    assert_eq!(newest.closed_here, 1);
    assert_eq!(newest.since, Nanos::from_secs(101));
}

#[test]
fn a_few_processes_are_named() {
    let mut recent = RecentRoutes::new(Nanos::from_secs(100));
    for pid in 1..=50 {
        recent.add(&failed(101, 80, pid));
    }
    let history = recent.history(&route(80), Nanos::from_secs(102));
    assert_eq!(history.failed, 50);
    assert_eq!(history.failed_of.len(), MAX_PROCESSES);
}
