//! Connections that were never established, and those of which only the end was not seen.

use std::collections::HashSet;

use tcpclose_common::TcpState;
use tcpclose_core::MinisocketState;
use tcpclose_core::finding::ClosePath;
use tcpclose_core::types::{EndpointId, Role};

use crate::input_methods::InputMethods as _;
use crate::scenarios::steps;
use crate::socket::{NETNS, Socket, World, reset_sent};

/// Two CPUs take the ACK of the handshake and the data behind it at the same time: each makes a
/// child, and the kernel discards the second one.
#[test]
fn a_child_that_the_kernel_discards_is_no_endpoint() {
    let mut world = World::new();
    let mut discarded = Socket::child(6);
    discarded.to(&mut world, TcpState::Close);
    let mut end = Socket::server(&mut world, 5);
    world.pass_ms(100);
    end.receives(6, 6);
    end.receives_fin();
    end.to(&mut world, TcpState::CloseWait);
    end.acknowledges();
    end.closes(&mut world, TcpState::LastAck);
    end.is_acknowledged();
    end.to(&mut world, TcpState::Close);
    let close = world.close();
    assert_eq!(
        (close.endpoint.id, close.path),
        (EndpointId(5), ClosePath::FourWay)
    );
    assert_eq!(world.tracker.live(), 0);
}

#[test]
fn a_child_whose_listener_is_closed_is_reset() {
    let mut world = World::new();
    let mut end = Socket::child(5);
    end.to(&mut world, TcpState::Close);
    assert!(world.findings().is_empty(), "the RST follows");
    world.signal(5, reset_sent(None));
    let close = world.close();
    assert_eq!(
        (close.path, close.endpoint.role, close.segments),
        (ClosePath::ConnectFailed, Role::Server, Some(1))
    );
    assert_eq!(steps(&close), ["local RST,ACK - 1"]);
}

#[test]
fn a_child_that_took_a_segment_before_it_ended_is_an_endpoint() {
    let mut world = World::new();
    let mut end = Socket::child(5);
    end.evidence.tcp.segs_in = 2;
    end.to(&mut world, TcpState::Close);
    world.pass_ms(100);
    assert_eq!(world.close().path, ClosePath::ConnectFailed);
}

/// It may have been established and closed since.
#[test]
fn a_connecting_endpoint_that_is_gone_has_an_unknown_path() {
    let mut world = World::new();
    Socket::connecting(&mut world, 5);
    world.pass_ms(10);
    let namespaces = HashSet::from([NETNS]);
    let (began, none) = (world.now, HashSet::new());
    world.tracker.resync(&namespaces, &none, began);
    for _ in 0..2 {
        world.pass_ms(100);
        world.answer(MinisocketState::Gone);
    }
    let close = world.close();
    assert_eq!((close.path, close.segments), (ClosePath::Unknown, None));
    assert!(close.steps.is_empty());
}
