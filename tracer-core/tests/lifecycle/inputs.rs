//! The same inputs give the same findings, however often the ring was read in between.

use tcpclose_common::TcpState;
use tcpclose_core::event::SignalKind;
use tcpclose_core::finding::{ClosePath, Finding, TimeWaitEnd};
use tcpclose_core::types::Nanos;
use tcpclose_core::{Input, PollResponse, TIME_WAIT, Tracker};

use crate::socket::{NETNS, Socket, World};

#[test]
fn a_close_that_waits_for_its_rst_is_reported_when_a_later_event_shows_that_the_time_is_over() {
    let mut world = World::new();
    let mut aborted = Socket::client(&mut world, 5);
    aborted.receives(5, 0);
    aborted.closes(&mut world, TcpState::Close);
    world.now = world.now + Nanos::from_millis(19);
    world.signal(9, SignalKind::ResetReceived);
    assert!(world.findings().is_empty());
    world.now = world.now + Nanos::from_millis(1);
    world.signal(9, SignalKind::ResetReceived);
    assert_eq!(world.findings().len(), 1);
}

/// Many endpoints expire in one poll; their order must not hang on a hash map's.
#[test]
fn findings_of_one_poll_come_in_order_of_time() {
    let mut world = World::with_capacity(1000);
    let began = world.now;
    for id in 1..=200 {
        let mut socket = Socket::client_on(&mut world, id, 20_000 + id as u16);
        socket.closes_first(&mut world);
        socket.enters_time_wait(&mut world);
        world.now = world.now + Nanos(1000);
    }
    world.findings();
    let ended = began + TIME_WAIT + Nanos::from_secs(3);
    world.tracker.apply(&Input::Poll(PollResponse {
        netns: Some(NETNS),
        began: ended,
        ended,
        cost: Nanos(0),
        reached: true,
        complete: true,
        overflows: 0,
        found: Vec::new(),
    }));
    let ids = world.findings().into_iter().map(|finding| match finding {
        Finding::TimeWait(time_wait) => time_wait.endpoint.id.0,
        other => panic!("not a TIME_WAIT: {other:?}"),
    });
    assert!(ids.eq(1..=200));
}

#[test]
fn the_inputs_of_the_example_have_a_close_and_a_time_wait() {
    let mut tracker = Tracker::new(1);
    for line in include_str!("../../examples/inputs.jsonl").lines() {
        tracker.apply(&serde_json::from_str(line).expect("an input"));
    }
    let Some(Finding::Close(close)) = tracker.next_finding() else {
        panic!("a close comes first");
    };
    assert_eq!((close.path, close.segments), (ClosePath::FourWay, Some(4)));
    let Some(Finding::TimeWait(time_wait)) = tracker.next_finding() else {
        panic!("then the end of its TIME_WAIT");
    };
    assert_eq!(time_wait.end, TimeWaitEnd::Expired);
    assert!(tracker.next_finding().is_none());
}
