//! How long a TIME_WAIT lasts and how it ends, from polls of the minisockets.

use tcpclose_common::TcpState;
use tcpclose_core::finding::{EndSource, Finding, TimeWait, TimeWaitEnd};
use tcpclose_core::types::{EndpointId, Nanos};
use tcpclose_core::{MinisocketState, PollResponse, PolledMinisocket};

use crate::input_methods::InputMethods as _;
use crate::socket::{NETNS, Socket, World, tuple};

pub const POLL_INTERVAL: Nanos = Nanos::from_millis(2);

/// A client that enters TIME_WAIT now; its close has been reported.
pub fn enter(world: &mut World, id: u64) -> Socket {
    let mut end = Socket::client(world, id);
    end.closes_first(world);
    end.enters_time_wait(world);
    assert!(matches!(world.findings()[..], [Finding::Close(_)]));
    end
}

/// A poll that ends now, finds these timers of socket 5 and takes 2 ms.
pub fn poll_once(world: &mut World, left_ms: Option<u64>, overflows: u64) -> Vec<TimeWait> {
    let found = left_ms.map(|left| PolledMinisocket {
        cookie: EndpointId(5),
        tuple: tuple(40_000, 3306),
        left: Nanos::from_millis(left),
    });
    let poll = PollResponse {
        netns: Some(NETNS),
        began: world.now - POLL_INTERVAL,
        ended: world.now,
        cost: Nanos(0),
        reached: true,
        complete: true,
        overflows,
        found: found.into_iter().collect(),
    };
    world.tracker.apply_poll(&poll);
    let reported = world.findings().into_iter().map(|finding| match finding {
        Finding::TimeWait(time_wait) => *time_wait,
        other => panic!("{other:?}"),
    });
    reported.collect()
}

pub fn is_due(world: &mut World) -> bool {
    let mut due = Vec::new();
    world.tracker.due_polls(world.now, &mut due);
    for request in &due {
        let minisockets = [(tuple(40_000, 3306), Some(EndpointId(5)))];
        assert_eq!(
            (request.netns, (&*request.minisockets)),
            (Some(NETNS), &minisockets[..])
        );
    }
    !due.is_empty()
}

#[test]
fn an_expiry_lies_between_the_timer_and_the_first_poll_without_it() {
    let mut world = World::new();
    enter(&mut world, 5);
    assert!(!is_due(&mut world));
    world.pass_ms(200);
    assert!(is_due(&mut world));
    assert_eq!(poll_once(&mut world, Some(59_802), 0), []);
    world.pass_ms(59_900);
    // The timer wheel is late: the minisocket is still there with nothing left.
    assert_eq!(poll_once(&mut world, Some(0), 0), []);
    world.pass_ms(250);
    let reported = poll_once(&mut world, None, 0);
    let [time_wait] = reported.as_slice() else {
        panic!("{reported:?}")
    };
    assert_eq!(
        (time_wait.end, time_wait.measured),
        (TimeWaitEnd::Expired, EndSource::Timer)
    );
    // Between the poll that still saw it, which began at 60,098 ms, and the one that ended at
    // 60,350 ms.
    assert_eq!(time_wait.dwell, Nanos::from_millis(60_224));
    assert_eq!(time_wait.error, Nanos::from_millis(126));
    assert_eq!(time_wait.owner.as_ref().unwrap().pid, 77);
    assert_eq!(world.tracker.in_time_wait(), 0);
    assert_eq!(
        world.tracker.next_deadline(),
        None,
        "nothing is pending, nothing is apply_poll"
    );
}

#[test]
fn a_fin_that_comes_again_starts_the_timer_anew() {
    let mut world = World::new();
    enter(&mut world, 5);
    world.pass_ms(200);
    poll_once(&mut world, Some(59_800), 0);
    world.pass_ms(10_000);
    poll_once(&mut world, Some(59_000), 0);
    world.pass_ms(58_900);
    poll_once(&mut world, Some(100), 0);
    world.pass_ms(250);
    let reported = poll_once(&mut world, None, 0);
    assert_eq!(
        (reported[0].restarts, reported[0].end),
        (1, TimeWaitEnd::Expired)
    );
    assert!(
        reported[0].dwell > Nanos::from_millis(69_000),
        "{reported:?}"
    );
}

/// Its timer was due, and the kernel may have been late with it, when connect() came.
#[test]
fn one_whose_place_is_taken_when_its_timer_is_due_may_have_ended_either_way() {
    let mut world = World::new();
    enter(&mut world, 5);
    world.pass_ms(60_100);
    poll_once(&mut world, Some(0), 0);
    world.pass_ms(100);
    let mut again = Socket::connecting(&mut world, 6);
    again.tuple = tuple(40_000, 3306);
    again.to(&mut world, TcpState::Established);
    let findings = world.findings();
    let [Finding::TimeWait(reported)] = findings.as_slice() else {
        panic!("{findings:?}")
    };
    assert_eq!(reported.end, TimeWaitEnd::Unknown);
    assert!(reported.error < Nanos::from_millis(60), "{reported:?}");
}

#[test]
fn a_connect_that_takes_its_place_ends_it_on_the_spot() {
    let mut world = World::new();
    enter(&mut world, 5);
    world.pass_ms(200);
    poll_once(&mut world, Some(59_800), 0);
    world.pass_ms(2_000);
    // It is gone already when a poll comes, while the handshake is under way.
    let began = world.now;
    let mut again = Socket::connecting(&mut world, 6);
    world.pass_ms(30);
    assert_eq!(poll_once(&mut world, None, 0), []);
    again.tuple = tuple(40_000, 3306);
    again.to(&mut world, TcpState::Established);
    let findings = world.findings();
    let [Finding::TimeWait(time_wait)] = findings.as_slice() else {
        panic!("{findings:?}")
    };
    assert_eq!(
        (time_wait.end, time_wait.measured),
        (TimeWaitEnd::Reused, EndSource::Hook)
    );
    assert_eq!(time_wait.at, began);
    assert_eq!(
        (time_wait.dwell, time_wait.error),
        (Nanos::from_millis(2_200), Nanos(0))
    );
}

#[test]
fn a_connect_that_never_had_its_place_does_not_end_it() {
    for (sent, ended) in [(0, 0), (1, 1)] {
        let mut world = World::new();
        enter(&mut world, 5);
        world.pass_ms(2_000);
        let mut refused = Socket::connecting(&mut world, 6);
        refused.tuple = tuple(40_000, 3306);
        refused.evidence.tcp.segs_out = sent;
        refused.to(&mut world, TcpState::Close);
        world.pass_ms(100);
        let findings = world.findings();
        let is_time_wait = |finding: &&Finding| matches!(finding, Finding::TimeWait(_));
        assert_eq!(findings.iter().filter(is_time_wait).count(), ended);
    }
}

#[test]
fn a_syn_of_the_peer_recycles_it() {
    let mut world = World::new();
    // The server closed first and waits.
    let mut end = Socket::server(&mut world, 5);
    end.closes_first(&mut world);
    end.receives_fin();
    end.to(&mut world, TcpState::Close);
    world.findings();
    world.pass_ms(1_000);
    let _again = Socket::server(&mut world, 6);
    let findings = world.findings();
    let [Finding::TimeWait(time_wait)] = findings.as_slice() else {
        panic!("{findings:?}")
    };
    assert_eq!(time_wait.end, TimeWaitEnd::Recycled);
    assert_eq!(
        (time_wait.dwell, time_wait.error),
        (Nanos::from_millis(500), Nanos::from_millis(500)),
        "nobody saw when between its beginning and now"
    );
}

#[test]
fn one_that_is_gone_early_and_is_not_replaced_was_killed() {
    let mut world = World::new();
    enter(&mut world, 5);
    world.pass_ms(200);
    poll_once(&mut world, Some(59_800), 0);
    world.pass_ms(5_000);
    assert_eq!(
        poll_once(&mut world, None, 0),
        [],
        "a SYN may still explain it"
    );
    world.pass_ms(200);
    let reported = poll_once(&mut world, None, 0);
    assert_eq!(
        (reported[0].end, reported[0].measured),
        (TimeWaitEnd::Killed, EndSource::Poll)
    );
    assert_eq!(reported[0].error, Nanos::from_millis(2_501));
}

#[test]
fn one_that_never_existed_overflowed_if_the_counter_reports_it() {
    let mut world = World::new();
    enter(&mut world, 5);
    world.pass_ms(200);
    let reported = poll_once(&mut world, None, 1);
    assert_eq!(
        (reported[0].end, reported[0].dwell),
        (TimeWaitEnd::Overflow, Nanos(0))
    );

    enter(&mut world, 7);
    world.pass_ms(200);
    assert_eq!(
        poll_once(&mut world, None, 0),
        [],
        "a SYN may still explain it"
    );
    world.pass_ms(200);
    let reported = poll_once(&mut world, None, 0);
    assert_eq!(reported[0].end, TimeWaitEnd::Unknown, "nobody ever saw it");
}

#[test]
fn an_orphan_enters_when_the_peers_fin_comes() {
    let mut world = World::new();
    let mut end = Socket::client(&mut world, 5);
    end.evidence.flags.dead = true;
    end.closes_first(&mut world);
    end.to(&mut world, TcpState::Close);
    assert_eq!(world.tracker.in_time_wait(), 0);
    world.pass_ms(500);
    world.answer(MinisocketState::TimeWait(Nanos::from_millis(59_900)));
    assert!(matches!(world.findings()[..], [Finding::Close(_)]));
    assert_eq!(world.tracker.in_time_wait(), 1);
    let entered = world.now - Nanos::from_millis(100);
    world.pass_ms(61_000);
    let reported = poll_once(&mut world, None, 0);
    assert_eq!(reported[0].entered, entered);
}

#[test]
fn what_closes_otherwise_enters_nothing() {
    let mut world = World::new();
    let mut end = Socket::server(&mut world, 5);
    end.receives_fin();
    end.to(&mut world, TcpState::CloseWait);
    end.closes(&mut world, TcpState::LastAck);
    end.is_acknowledged();
    end.to(&mut world, TcpState::Close);
    let mut end = Socket::client(&mut world, 6);
    end.evidence.tcp.error = 104;
    end.to(&mut world, TcpState::Close);
    assert_eq!(world.tracker.in_time_wait(), 0);
}
