//! Endpoints that were open before the tracer: they are joined by their addresses.

use tcpclose_common::TcpState;
use tcpclose_core::types::{EndpointId, Nanos, NetNs, Tuple};
use tcpclose_core::{SnapshotSocket, SocketKind};

use super::{CLIENT, OTHER_NETNS, SERVER, abort, is_reset, peer_pid};
use crate::input_methods::InputMethods as _;
use crate::socket::{NETNS, Socket, World, tuple};

/// An open socket as a snapshot shows it.
fn older(id: u64, netns: NetNs, tuple: Tuple) -> SnapshotSocket {
    let owner = tcpclose_core::types::Owner {
        pid: 1000 + id as u32,
        uid: 0,
        cgroup: None,
        comm: (*b"older").into(),
        source: tcpclose_core::types::OwnerSource::Proc,
        thread: None,
    };
    SnapshotSocket {
        cookie: EndpointId(id),
        netns,
        tuple,
        state: TcpState::Established,
        kind: SocketKind::Full,
        owner: Some(owner.into()),
    }
}

/// The peer's pid that the first of these sockets shows when it is aborted.
fn peer_among(sockets: &[SnapshotSocket]) -> Option<u32> {
    let mut world = World::new();
    world.tracker.seed(sockets, world.now);
    let mut socket = Socket::child(sockets[0].cookie.0);
    socket.state = TcpState::Established;
    socket.tuple = sockets[0].tuple;
    abort(&mut world, &mut socket);
    peer_pid(&world.close())
}

fn far(local: &str, peer: &str) -> Tuple {
    Tuple::from((local.parse().unwrap(), peer.parse().unwrap()))
}

#[test]
fn older_sockets_are_known_by_their_addresses() {
    let (near, mirrored) = (tuple(40_000, 3306), tuple(3306, 40_000));
    let here = |id, tuple| older(id, NETNS, tuple);
    let there = |id, tuple| older(id, OTHER_NETNS, tuple);
    assert_eq!(peer_among(&[here(5, near), here(6, mirrored)]), Some(1006));
    assert_eq!(
        peer_among(&[here(5, near), here(6, tuple(3306, 40_001))]),
        None
    );
    // Each namespace has a loopback of its own.
    assert_eq!(peer_among(&[here(5, near), there(6, mirrored)]), None);
    let both = [
        here(5, near),
        there(7, mirrored),
        there(8, near),
        here(6, mirrored),
    ];
    assert_eq!(peer_among(&both), Some(1006));

    let (out, back) = (
        far("10.0.0.1:40000", "10.0.0.2:80"),
        far("10.0.0.2:80", "10.0.0.1:40000"),
    );
    assert_eq!(peer_among(&[here(5, out), there(6, back)]), Some(1006));
    // Two containers with the same addresses.
    let third = NetNs::new(3).unwrap();
    let alike = [here(5, out), there(6, back), older(7, third, out)];
    assert_eq!(peer_among(&alike), None);
}

#[test]
fn a_few_more_sockets_are_joined_a_second_later() {
    let mut world = World::with_capacity(64);
    let many = (0..20).map(|number| older(100 + number, NETNS, tuple(50_000, number as u16 + 1)));
    let many: Vec<SnapshotSocket> = many.collect();
    world.tracker.seed(&many, world.now);
    let pair = [
        older(CLIENT, NETNS, tuple(40_000, 3306)),
        older(SERVER, NETNS, tuple(3306, 40_000)),
    ];
    world.tracker.seed(&pair, world.now);
    assert_eq!(
        world.tracker.next_deadline(),
        Some(world.now + Nanos::from_secs(1))
    );
    world.pass_ms(1000);
    let mut client = Socket::child(CLIENT);
    client.state = TcpState::Established;
    client.tuple = pair[0].tuple;
    abort(&mut world, &mut client);
    assert_eq!(peer_pid(&world.close()), Some(1006));
}

#[test]
fn older_sockets_prove_no_reset_from_the_path() {
    let mut world = World::new();
    let sockets = [
        older(CLIENT, NETNS, tuple(40_000, 3306)),
        older(SERVER, NETNS, tuple(3306, 40_000)),
    ];
    world.tracker.seed(&sockets, world.now);
    let mut client = Socket::child(CLIENT);
    client.state = TcpState::Established;
    client.tuple = sockets[0].tuple;
    is_reset(&mut world, &mut client);
    world.pass_ms(20);
    assert!(world.requests().is_empty());
    let close = world.close();
    assert_eq!((close.cause, peer_pid(&close)), (None, Some(1006)));
}
