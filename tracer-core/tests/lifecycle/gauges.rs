//! How things stand: openings, and the routes whose ephemeral ports are in use.

use tcpclose_common::TcpState;
use tcpclose_core::summary::Route;
use tcpclose_core::types::Port;

use crate::socket::{NETNS, Socket, World};

#[test]
fn what_never_was_established_is_not_opened() {
    let mut world = World::new();
    let mut failed = Socket::connecting(&mut world, 1);
    failed.evidence.error = 111;
    failed.to(&mut world, TcpState::Close);
    let _client = Socket::client(&mut world, 2);
    let _server = Socket::server(&mut world, 3);
    assert_eq!(world.tracker.opened(), 2);
}

#[test]
fn ports_in_use_are_those_of_live_ends_of_orphans_and_of_time_wait() {
    let mut world = World::new();
    let mut time_wait = Socket::client_on(&mut world, 1, 40_001);
    time_wait.closes_first(&mut world);
    time_wait.enters_time_wait(&mut world);
    let mut orphan = Socket::client_on(&mut world, 2, 40_002);
    orphan.evidence.dead = true;
    orphan.closes_first(&mut world);
    orphan.to(&mut world, TcpState::Close);
    let _live = Socket::client_on(&mut world, 3, 40_003);
    let _accepted = Socket::server(&mut world, 4);
    let mut other = Socket::connecting(&mut world, 5);
    other.tuple = (
        "127.0.0.1:40005".parse().unwrap(),
        "127.0.0.1:80".parse().unwrap(),
    )
        .into();
    other.to(&mut world, TcpState::Established);
    assert_eq!(
        (
            world.tracker.waiting_for_fin(),
            world.tracker.in_time_wait()
        ),
        (1, 1)
    );

    let routes = world.tracker.busiest_routes(2);
    let mut taken = world.tracker.local_ports(&routes);
    taken[0].sort();
    let to = |peer: &str| Route {
        netns: Some(NETNS),
        local: "127.0.0.1".parse().unwrap(),
        peer: peer.parse().unwrap(),
    };
    let ports = |numbers: &[u16]| {
        numbers
            .iter()
            .copied()
            .filter_map(Port::new)
            .collect::<Vec<_>>()
    };
    assert_eq!(routes, [to("127.0.0.1:3306"), to("127.0.0.1:80")]);
    assert_eq!(taken, [ports(&[40_001, 40_002, 40_003]), ports(&[40_005])]);
    assert_eq!(world.tracker.busiest_routes(1).len(), 1);
}
