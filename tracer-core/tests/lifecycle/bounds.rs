//! Every table has a bound, and says when it was reached.

use std::collections::HashSet;

use tcpclose_common::TcpState;
use tcpclose_core::MinisocketState;
use tcpclose_core::finding::{Finding, LossLocation};

use crate::input_methods::InputMethods as _;
use crate::socket::{NETNS, Socket, World, tuple};

#[test]
fn the_end_that_has_been_quiet_longest_makes_room_and_is_counted() {
    let mut world = World::with_capacity(2);
    let mut first = Socket::server(&mut world, 1);
    let _second = Socket::server(&mut world, 2);
    first.receives_fin();
    first.to(&mut world, TcpState::CloseWait);
    let _third = Socket::server(&mut world, 3);
    assert_eq!(world.tracker.live(), 2);
    world.pass_ms(1);
    let findings = world.findings();
    let [Finding::Loss(loss)] = findings.as_slice() else {
        panic!("{findings:?}")
    };
    assert_eq!((loss.lost, loss.location), (1, LossLocation::Table));
    // The one that changed its state stayed.
    first.closes(&mut world, TcpState::LastAck);
    first.is_acknowledged();
    first.to(&mut world, TcpState::Close);
    assert!(world.close().endpoint.seen_from_start);
}

#[test]
fn a_connect_that_the_port_filter_hides_is_forgotten() {
    let mut world = World::new();
    world.tracker = world.tracker.with_port_filter();
    // An older connection that is quiet is no obstacle.
    let _wanted = Socket::server(&mut world, 2);
    let _connecting = Socket::connecting(&mut world, 1);
    assert_eq!(world.tracker.live(), 2);
    assert_eq!(world.tracker.live_matching_filter(), 1);
    world.pass_ms(200_000);
    assert_eq!(world.tracker.live(), 2, "connect() may still be trying");
    world.pass_ms(100_000);
    assert_eq!(world.tracker.live(), 1);
    assert!(world.findings().is_empty(), "it was never wanted");
}

/// Where something was lost, what a snapshot lacks is asked for; of these nothing more was ever to
/// come.
#[test]
fn a_connect_that_the_port_filter_hides_is_not_reported_after_a_loss() {
    let mut world = World::new();
    world.tracker = world.tracker.with_port_filter();
    let _connecting = Socket::connecting(&mut world, 1);
    world.pass_ms(100);
    let everywhere = HashSet::from([NETNS]);
    world
        .tracker
        .resync(&everywhere, &HashSet::new(), world.now);
    for _ in 0..3 {
        world.pass_ms(1_000);
        for request in world.requests() {
            world
                .tracker
                .apply_minisocket_probe(request.id, MinisocketState::Gone, world.now);
        }
    }
    assert!(world.findings().is_empty());
}

#[test]
fn a_socket_that_connects_again_starts_anew() {
    let mut world = World::new();
    let mut end = Socket::client(&mut world, 5);
    end.state = TcpState::Close; // its →CLOSE was lost
    end.tuple = tuple(0, 80);
    end.to(&mut world, TcpState::SynSent);
    assert_eq!(world.tracker.live(), 1);
    end.tuple = tuple(40_001, 80);
    end.evidence.tcp.error = 111;
    end.to(&mut world, TcpState::Close);
    assert_eq!(world.close().endpoint.tuple.peer().port(), 80);
}
