//! Polls of the minisockets in TIME_WAIT: when they are due, what they cost, and what one proves
//! that saw not all.

use tcpclose_core::finding::{EndSource, Finding, TimeWaitEnd};
use tcpclose_core::types::{EndpointId, Nanos};
use tcpclose_core::{PollResponse, PolledMinisocket};

use crate::input_methods::InputMethods as _;
use crate::socket::{NETNS, Socket, World, tuple};
use crate::time_waits::{POLL_INTERVAL, enter, is_due, poll_once};

#[test]
fn a_slow_poll_is_not_a_timer_restart() {
    let mut world = World::new();
    enter(&mut world, 5);
    world.pass_ms(200);
    // The answer is 300 ms younger than the question.
    world.pass_ms(300);
    let sighting = PolledMinisocket {
        cookie: EndpointId(5),
        tuple: tuple(40_000, 3306),
        left: Nanos::from_millis(59_500),
    };
    world.tracker.apply_poll(&PollResponse {
        netns: Some(NETNS),
        began: world.now - Nanos::from_millis(300),
        ended: world.now,
        cost: Nanos(0),
        reached: true,
        complete: true,
        overflows: 0,
        found: vec![sighting],
    });
    world.pass_ms(5_000);
    poll_once(&mut world, Some(54_500), 0);
    world.pass_ms(54_450);
    poll_once(&mut world, Some(50), 0);
    world.pass_ms(100);
    let reported = poll_once(&mut world, None, 0);
    assert_eq!(
        (reported[0].restarts, reported[0].end),
        (0, TimeWaitEnd::Expired)
    );
}

/// It was seen 10 s before its timer was due: what happened since nobody knows.
#[test]
fn an_unpolled_time_wait_may_have_ended_early() {
    let mut world = World::new();
    enter(&mut world, 5);
    world.pass_ms(50_000);
    poll_once(&mut world, Some(10_000), 0);
    world.pass_ms(12_000);
    let reported = poll_once(&mut world, None, 0);
    assert_eq!(
        (reported[0].end, reported[0].measured),
        (TimeWaitEnd::Unknown, EndSource::Poll)
    );
    assert_eq!(reported[0].error, Nanos::from_millis(6_001));
}

#[test]
fn a_large_poll_is_applied_in_steps() {
    const MANY: u16 = 10_000;
    let mut world = World::with_capacity(20_000);
    for port in 0..MANY {
        let mut end = Socket::client_on(&mut world, u64::from(port) + 1, 20_000 + port);
        end.closes_first(&mut world);
        end.enters_time_wait(&mut world);
    }
    world.findings();
    world.pass_ms(200);
    let mut due = Vec::new();
    world.tracker.due_polls(world.now, &mut due);
    assert_eq!(due.len(), 1);
    world.tracker.apply_poll(&PollResponse {
        netns: Some(NETNS),
        began: world.now,
        ended: world.now,
        cost: Nanos(0),
        reached: true,
        complete: true,
        overflows: MANY.into(),
        found: Vec::new(),
    });
    let mut pieces = vec![world.findings().len()];
    assert!(pieces[0] > 0, "it begins at once");
    // Of these the poll could not know.
    let mut late = Socket::client_on(&mut world, 60_000, 40_000);
    late.closes_first(&mut world);
    late.enters_time_wait(&mut world);
    world.findings();
    while world.tracker.in_time_wait() > 1 {
        world.tracker.due_polls(world.now, &mut due);
        assert!(due.is_empty(), "no poll follows before this one is done");
        let next = world.tracker.next_deadline();
        assert!(next.is_some_and(|next| next <= world.now + Nanos::from_millis(5)));
        world.pass_ms(5);
        pieces.push(world.findings().len());
    }
    assert!(
        pieces.len() > 1 && pieces.iter().all(|piece| *piece < 5_000),
        "{pieces:?}"
    );
    assert_eq!(pieces.iter().sum::<usize>(), usize::from(MANY));
    assert_eq!(world.tracker.in_time_wait(), 1);
    world.pass_ms(200);
    world.tracker.due_polls(world.now, &mut due);
    assert_eq!(due.len(), 1, "the late one is looked for");
}

#[test]
fn in_an_unreachable_namespace_the_end_is_unknown() {
    let mut world = World::new();
    enter(&mut world, 5);
    world.pass_ms(200);
    assert_eq!(poll_once(&mut world, Some(59_800), 0), []);
    let mut reported = Vec::new();
    for _ in 0..70 {
        world.pass_ms(1_000);
        world.tracker.apply_poll(&PollResponse {
            netns: Some(NETNS),
            began: world.now,
            ended: world.now,
            cost: Nanos(0),
            reached: false,
            complete: false,
            overflows: 0,
            found: Vec::new(),
        });
        reported.extend(world.findings());
    }
    let [Finding::TimeWait(reported)] = reported.as_slice() else {
        panic!("{reported:?}")
    };
    assert_eq!(
        (reported.end, reported.measured),
        (TimeWaitEnd::Unknown, EndSource::Poll)
    );
    // From the poll that saw it to the latest that its timer can have fired: 60 s and an eighth.
    let (dwell, error) = (reported.dwell.as_millis(), reported.error.as_millis());
    assert!(dwell - error <= 200.0 && dwell + error >= 67_500.0);
    assert_eq!(world.tracker.in_time_wait(), 0);
}

#[test]
fn absence_from_an_incomplete_poll_means_nothing() {
    let mut world = World::new();
    enter(&mut world, 5);
    world.pass_ms(100_000);
    let (began, ended) = (world.now - POLL_INTERVAL, world.now);
    let (netns, found) = (Some(NETNS), Vec::new());
    world.tracker.apply_poll(&PollResponse {
        netns,
        began,
        ended,
        cost: Nanos(0),
        reached: true,
        complete: false,
        overflows: 0,
        found,
    });
    assert!(world.findings().is_empty());
    assert_eq!(world.tracker.in_time_wait(), 1);
}

#[test]
fn polls_take_at_most_two_percent_of_the_time() {
    let mut world = World::new();
    enter(&mut world, 5);
    world.pass_ms(200);
    let (began, ended) = (world.now, world.now + Nanos::from_millis(1_000));
    let (netns, found) = (Some(NETNS), Vec::new());
    world.tracker.apply_poll(&PollResponse {
        netns,
        began,
        ended,
        cost: ended - began,
        reached: true,
        complete: false,
        overflows: 0,
        found,
    });
    world.pass_ms(50_900);
    assert!(!is_due(&mut world));
    world.pass_ms(200);
    assert!(is_due(&mut world));
}

#[test]
fn a_time_wait_that_begins_during_a_poll_is_not_missing_from_it() {
    let mut world = World::new();
    enter(&mut world, 4);
    world.pass_ms(200);
    let mut due = Vec::new();
    world.tracker.due_polls(world.now, &mut due);
    assert_eq!(due.len(), 1);
    world.pass_ms(1);
    assert!(!is_due(&mut world), "one poll at a time");
    // Its close lies a minute back: a minisocket that a poll found.
    let mut end = Socket::client(&mut world, 5);
    end.closes_first(&mut world);
    end.enters_time_wait(&mut world);
    world.findings();
    world.pass_ms(60_100);
    assert_eq!(poll_once(&mut world, None, 0), [], "nobody looked for it");
    world.pass_ms(250);
    assert_eq!(poll_once(&mut world, None, 0).len(), 1);
}
