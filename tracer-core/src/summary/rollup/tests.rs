use std::net::SocketAddr;

use super::*;
use crate::finding::{Bytes, Cause, Endpoint};
use crate::samples;
use crate::types::{Port, Role};

fn close(local: &str, peer: &str, role: Role, path: ClosePath) -> Close {
    let end = |text: &str| text.parse::<SocketAddr>().expect("an address");
    let endpoint = Endpoint {
        role,
        lifetime: Some(Nanos(5)),
        ..samples::endpoint(end(local), end(peer))
    };
    Close {
        bytes: Bytes {
            sent: Some(100),
            received: None,
        },
        ..samples::close(endpoint, path, Initiator::Local)
    }
}

fn record(rollups: &mut Rollups, close: Close) {
    rollups.record(&Finding::Close(Box::new(close)));
}

fn total(rollups: &[Rollup]) -> u64 {
    rollups.iter().map(|it| it.counts.closes.total()).sum()
}

#[test]
fn closes_are_counted_by_the_port_that_accepted_and_by_the_peer_that_was_asked() {
    let mut rollups = Rollups::new(Nanos(10));
    for port in 0..3 {
        let peer = format!("10.0.0.2:{}", 40_000 + port);
        let accepted = close("10.0.0.1:443", &peer, Role::Server, ClosePath::FourWay);
        record(&mut rollups, accepted);
    }
    let mut failed = close(
        "10.0.0.1:50000",
        "10.0.0.3:80",
        Role::Client,
        ClosePath::Reset,
    );
    failed.cause = Some(Cause::UnreadData);
    record(&mut rollups, failed);
    record(
        &mut rollups,
        close(
            "10.0.0.1:1",
            "10.0.0.3:2",
            Role::Unknown,
            ClosePath::Unknown,
        ),
    );
    let found = rollups.end_interval(Nanos(20));
    let services: Vec<_> = found
        .iter()
        .map(|it| it.service.map(|it| it.service))
        .collect();
    let peer = "10.0.0.3:80".parse().expect("an address");
    assert_eq!(
        services,
        [
            Port::new(443).map(ServiceAddress::Listening),
            Some(ServiceAddress::Peer(peer)),
            None
        ]
    );
    let [accepted, asked, unknown] = &*found else {
        panic!("{found:?}")
    };
    assert_eq!(
        accepted
            .counts
            .closes
            .get((ClosePath::FourWay, Initiator::Local)),
        3
    );
    assert_eq!(accepted.counts.lifetime, Sum { count: 3, sum: 15 });
    assert_eq!(accepted.counts.bytes_sent, Sum { count: 3, sum: 300 });
    assert_eq!(accepted.counts.bytes_received, Sum::default());
    assert_eq!(accepted.counts.causes.total(), 0);
    assert_eq!(asked.counts.causes.get(Some(Cause::UnreadData)), 1);
    assert_eq!(unknown.counts.closes.total(), 1);
    assert!(
        found
            .iter()
            .all(|it| it.exact && (it.from, it.to) == (Nanos(10), Nanos(20)))
    );
    // The next interval starts anew.
    assert!(rollups.end_interval(Nanos(30)).is_empty());
}

#[test]
fn many_services_are_bounded_the_busy_ones_stay_and_none_is_lost() {
    let mut rollups = Rollups::new(Nanos(0));
    let mut offered = 0;
    for number in 0..5 * MAX_SERVICES {
        let peer = format!("10.0.{}.{}:80", number / 256, number % 256);
        for peer in [&*peer, "10.9.9.9:443"] {
            let close = close("10.0.0.1:50000", peer, Role::Client, ClosePath::ThreeWay);
            record(&mut rollups, close);
            offered += 1;
        }
        assert!(rollups.services.len() <= MAX_SERVICES);
    }
    let found = rollups.end_interval(Nanos(1));
    assert_eq!(total(&found), offered);
    let busiest = found.iter().filter(|it| it.service.is_some());
    let busiest = busiest.map(|it| it.counts.closes.total()).max();
    assert_eq!(busiest, Some(5 * MAX_SERVICES as u64));
    assert!(found.iter().all(|it| !it.exact));
    // Sums move with the closes.
    let lifetimes: u128 = found.iter().map(|it| it.counts.lifetime.sum).sum();
    assert_eq!(lifetimes, u128::from(offered) * 5);
    assert!(rollups.end_interval(Nanos(2)).is_empty());
}
