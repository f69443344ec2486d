//! How things stand: openings, and the routes whose ephemeral ports are in use.

use tcpclose_common::TcpState;
use tcpclose_core::summary::{PortUse, Route};
use tcpclose_core::types::{EndpointId, NetNs, Port};
use tcpclose_core::{Input, SnapshotSocket, SocketKind};

use crate::socket::{NETNS, Socket, World, tuple};

#[test]
fn what_never_was_established_is_not_opened() {
    let mut world = World::new();
    let mut failed = Socket::connecting(&mut world, 1);
    failed.evidence.tcp.error = 111;
    failed.to(&mut world, TcpState::Close);
    let _client = Socket::client(&mut world, 2);
    let _server = Socket::server(&mut world, 3);
    assert_eq!(world.tracker.established_total(), 2);
}

#[test]
fn endpoints_of_listed_local_ports_are_counted_by_state() {
    let mut world = World::new();
    let mut time_wait = Socket::client_on(&mut world, 1, 40_001);
    time_wait.closes_first(&mut world);
    time_wait.enters_time_wait(&mut world);
    let mut orphan = Socket::client_on(&mut world, 2, 40_001);
    orphan.evidence.flags.dead = true;
    orphan.closes_first(&mut world);
    orphan.to(&mut world, TcpState::Close);
    let mut closed = Socket::client_on(&mut world, 3, 40_002);
    closed.to(&mut world, TcpState::CloseWait);
    let _live = Socket::client_on(&mut world, 4, 40_002);
    let _other = Socket::client_on(&mut world, 5, 40_004);
    let ports = [40_001, 40_002, 40_003].map(|port| Port::new(port).unwrap());

    let counted = world.tracker.states_of_local_ports(&ports.into());
    let counted = counted.iter().flat_map(|counts| {
        let states = counts.by_state().filter(|(_, count)| *count > 0);
        states.map(|(state, count)| (counts.port.get(), state, count))
    });
    assert_eq!(
        counted.collect::<Vec<_>>(),
        [
            (40_001, TcpState::FinWait2, 1),
            (40_001, TcpState::TimeWait, 1),
            (40_002, TcpState::Established, 1),
            (40_002, TcpState::CloseWait, 1),
        ]
    );
    let all = world.tracker.states_of_local_ports(&ports.into());
    assert_eq!(all.len(), 3, "a port without endpoints is at 0");
}

#[test]
fn ports_in_use_are_those_of_live_ends_of_orphans_and_of_time_wait() {
    let mut world = World::new();
    let mut time_wait = Socket::client_on(&mut world, 1, 40_001);
    time_wait.closes_first(&mut world);
    time_wait.enters_time_wait(&mut world);
    let mut orphan = Socket::client_on(&mut world, 2, 40_002);
    orphan.evidence.flags.dead = true;
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
    let mut taken = world.tracker.ports_of(&routes).by_route;
    taken[0].sort_by_key(|one| one.port);
    let to = |peer: &str| Route {
        netns: Some(NETNS),
        local: "127.0.0.1".parse().unwrap(),
        peer: peer.parse().unwrap(),
    };
    // Whether connect() may take the port over: that of the orphan, in FIN_WAIT2, it may not.
    let ports = |uses: &[PortUse]| {
        let uses = uses.iter();
        uses.map(|one| (one.port.get(), one.minisocket_since.is_some()))
            .collect::<Vec<_>>()
    };
    assert_eq!(routes, [to("127.0.0.1:3306"), to("127.0.0.1:80")]);
    let by_time_wait_and_orphan = [(40_001, true), (40_002, false), (40_003, false)];
    assert_eq!(ports(&taken[0]), by_time_wait_and_orphan);
    assert_eq!(ports(&taken[1]), [(40_005, false)]);
    assert_eq!(world.tracker.busiest_routes(1).len(), 1);
}

#[test]
fn ports_on_which_sockets_listen_or_were_accepted_are_bound() {
    let mut world = World::new();
    let _client = Socket::client_on(&mut world, 1, 40_001);
    let _accepted = Socket::server(&mut world, 2);
    let listener = |cookie, netns, port: u16| SnapshotSocket {
        cookie: EndpointId(cookie),
        netns,
        tuple: tuple(port, 0),
        state: TcpState::Listen,
        kind: SocketKind::Full,
        owner: None,
    };
    let elsewhere = NetNs::new(NETNS.get() + 1).unwrap();
    let sockets = vec![listener(3, NETNS, 40_007), listener(4, elsewhere, 40_008)];
    let at = world.now;
    world.tracker.apply(&Input::Snapshot { sockets, at });
    let routes = world.tracker.busiest_routes(9);
    let bound = world.tracker.ports_of(&routes).bound;
    let mut bound: Vec<_> = bound
        .into_iter()
        .map(|(netns, port)| (netns, port.get()))
        .collect();
    bound.sort();
    assert_eq!(bound, [(Some(NETNS), 3306), (Some(NETNS), 40_007)]);
}
