//! What becomes of a FIN_WAIT2 minisocket.

use tcpclose_common::TcpState;
use tcpclose_core::MinisocketState;
use tcpclose_core::event::{Segment, SignalKind};
use tcpclose_core::finding::{ClosePath, Initiator, ResetReason};
use tcpclose_core::types::{EndpointId, Nanos};

use crate::input_methods::InputMethods as _;
use crate::socket::{IRS, ISS, Socket, World};

fn park(world: &mut World, id: u64) {
    let mut end = Socket::client_on(world, id, 40_000 + id as u16);
    end.evidence.flags.dead = true;
    end.closes_first(world);
    end.to(world, TcpState::Close);
}

#[test]
fn probes_become_rarer_but_never_stop() {
    let mut world = World::new();
    park(&mut world, 5);
    let mut probes = 0;
    for _ in 0..60_000 / 10 {
        world.pass_ms(10);
        for request in world.requests() {
            probes += 1;
            let left = Nanos::from_secs(60);
            world.tracker.apply_minisocket_probe(
                request.id,
                MinisocketState::FinWait2(left),
                world.now,
            );
        }
    }
    assert!((55..70).contains(&probes), "{probes} probes in a minute");
    assert_eq!(world.tracker.waiting_for_fin(), 1);
}

#[test]
fn a_minisocket_that_is_gone_at_its_deadline_timed_out() {
    let mut world = World::new();
    park(&mut world, 5);
    world.pass_ms(100);
    world.answer(MinisocketState::FinWait2(Nanos::from_millis(500)));
    world.pass_ms(600);
    world.answer(MinisocketState::Gone);
    let close = world.close();
    assert_eq!(
        (close.path, close.initiator),
        (ClosePath::Timeout, Initiator::Local)
    );
    assert_eq!(
        close.states.last(),
        Some(&(TcpState::FinWait2, Some(Nanos::from_millis(600))))
    );
}

/// Only a recording can hold that: a clock that never runs backwards gave both times.
#[test]
fn a_response_from_before_the_wait_began_ends_it_at_its_beginning() {
    let mut world = World::new();
    world.pass_ms(1000);
    park(&mut world, 5);
    let left = Nanos::from_secs(60);
    world
        .tracker
        .apply_minisocket_probe(EndpointId(5), MinisocketState::TimeWait(left), Nanos(0));
    let close = world.close();
    assert_eq!(
        close.states.last(),
        Some(&(TcpState::FinWait2, Some(Nanos(0))))
    );
}

#[test]
fn a_minisocket_that_is_gone_too_early_ended_while_stopped() {
    let mut world = World::new();
    park(&mut world, 5);
    world.pass_ms(100);
    world.answer(MinisocketState::Gone);
    let close = world.close();
    assert_eq!(
        (close.path, close.initiator, close.segments),
        (ClosePath::Unknown, Initiator::Local, None)
    );
}

#[test]
fn data_for_the_minisocket_is_answered_by_a_reset() {
    let mut world = World::new();
    park(&mut world, 5);
    world.pass_ms(30);
    let data = Segment {
        fin: false,
        rst: false,
        has_ack: true,
        seq: IRS.wrapping_add(1),
        end: IRS.wrapping_add(6),
        ack: ISS.wrapping_add(2),
    };
    world.signal(
        5,
        SignalKind::ResetSent {
            reason: None,
            answers: Some(data),
            minisocket: true,
        },
    );
    let close = world.close();
    assert_eq!(close.path, ClosePath::Reset);
    assert_eq!(
        close.reset.and_then(|reset| reset.reason),
        Some(ResetReason::DataAfterClose)
    );
    assert_eq!(world.tracker.waiting_for_fin(), 0);
    world.pass_ms(1000);
    assert!(
        world.requests().is_empty(),
        "nobody asks for what has been reported"
    );
}

#[test]
fn a_fin_cannot_come_before_the_socket_was_parked_nor_later_than_now() {
    let mut world = World::new();
    park(&mut world, 5);
    world.pass_ms(30);
    world.answer(MinisocketState::TimeWait(Nanos::from_secs(70)));
    let close = world.close();
    assert_eq!(close.at, world.now);
    park(&mut world, 6);
    world.pass_ms(30);
    world.answer(MinisocketState::TimeWait(Nanos(0)));
    let close = world.close();
    assert_eq!(
        close.states.last(),
        Some(&(TcpState::FinWait2, Some(Nanos(0))))
    );
}

#[test]
fn when_too_many_are_parked_the_oldest_is_reported_as_unknown() {
    let mut world = World::with_capacity(2);
    for id in 1..=3 {
        park(&mut world, id);
    }
    assert_eq!(world.tracker.waiting_for_fin(), 2);
    let close = world.close();
    assert_eq!((close.endpoint.id.0, close.path), (1, ClosePath::Unknown));
}

#[test]
fn a_new_connection_on_the_same_ports_does_not_show_how_the_minisocket_ended() {
    // connect() takes the place of one in FIN_WAIT2 too.
    let mut world = World::new();
    park(&mut world, 5);
    world.pass_ms(10);
    let mut again = Socket::connecting(&mut world, 6);
    world.pass_ms(1);
    again.tuple = crate::socket::tuple(40_005, 3306);
    again.to(&mut world, TcpState::Established);
    let close = world.close();
    assert_eq!((close.path, close.segments), (ClosePath::Unknown, None));
    assert_eq!(close.states.last(), Some(&(TcpState::FinWait2, None)));
    assert_eq!(
        (close.at, close.steps.len()),
        (world.now - Nanos::from_millis(1), 2)
    );
    assert_eq!(world.tracker.in_time_wait(), 0);
}

#[test]
fn endpoints_are_listed_with_and_without_a_socket_the_longest_in_its_state_first() {
    let mut world = World::new();
    park(&mut world, 5);
    world.pass_ms(100);
    let mut half = Socket::client_on(&mut world, 6, 40_006);
    half.closes_first(&mut world);
    world.pass_ms(100);
    let _open = Socket::client_on(&mut world, 7, 40_007);
    let is_closing = |state, _: Option<&_>| state == TcpState::FinWait2;
    let (listed, total) = world.tracker.list_endpoints(9, is_closing);
    let found: Vec<_> = listed
        .iter()
        .map(|one| (one.id, one.state, one.is_orphan))
        .collect();
    assert_eq!(
        found,
        [
            (EndpointId(5), TcpState::FinWait2, true),
            (EndpointId(6), TcpState::FinWait2, false),
        ]
    );
    assert_eq!(total, 2);
    let (first, total) = world.tracker.list_endpoints(1, |_, _| true);
    assert_eq!((first[0].id, first.len(), total), (EndpointId(5), 1, 3));
}
