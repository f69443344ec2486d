//! Closes whose last records were missed: a probe or a segment shows that they are over.

use tcpclose_common::TcpState;
use tcpclose_core::event::{Segment, SignalKind};
use tcpclose_core::finding::{ClosePath, Finding, Initiator};
use tcpclose_core::types::{EndpointId, Nanos, Role};
use tcpclose_core::{MinisocketState, SnapshotSocket, SocketKind};

use crate::input_methods::InputMethods as _;
use crate::scenarios::{states, steps};
use crate::socket::{IRS, ISS, NETNS, Socket, World};

/// The peer's segment with the next number, which acknowledges the local FIN.
fn segment(fin: bool, rst: bool) -> Segment {
    let seq = IRS.wrapping_add(1);
    Segment {
        fin,
        rst,
        has_ack: true,
        seq,
        end: seq.wrapping_add(fin.into()),
        ack: ISS.wrapping_add(2),
    }
}

fn closing(world: &mut World) -> Socket {
    let mut end = Socket::client(world, 5);
    end.evidence.flags.dead = true;
    world.pass_ms(4);
    end.closes(world, TcpState::FinWait1);
    end
}

#[test]
fn a_waiting_endpoint_is_probed_ever_more_rarely() {
    let mut world = World::new();
    closing(&mut world);
    let mut probes = 0;
    for _ in 0..300 {
        world.pass_ms(1_000);
        for request in world.requests() {
            probes += 1;
            world.tracker.apply_minisocket_probe(
                request.id,
                MinisocketState::FullSocket,
                world.now,
            );
        }
    }
    assert_eq!(probes, 9, "after 2, 4, 8, 16, 32, 64 s, then each minute");
    assert_eq!((world.tracker.live(), world.findings().len()), (1, 0));
}

#[test]
fn an_endpoint_that_closes_in_time_is_not_probed() {
    let mut world = World::new();
    let mut end = closing(&mut world);
    end.is_acknowledged();
    end.to(&mut world, TcpState::FinWait2);
    end.enters_time_wait(&mut world);
    world.close();
    world.pass_ms(10_000);
    assert!(world.requests().is_empty());
}

#[test]
fn an_endpoint_that_is_gone_is_reported_with_what_was_seen_of_it() {
    let mut world = World::new();
    closing(&mut world);
    world.pass_ms(2_000);
    world.answer(MinisocketState::Gone);
    assert!(world.findings().is_empty(), "its record may still come");
    world.pass_ms(100);
    world.answer(MinisocketState::Gone);
    let close = world.close();
    assert_eq!(
        (close.path, close.initiator, close.segments),
        (ClosePath::Unknown, Initiator::Local, None)
    );
    assert_eq!(steps(&close), ["local FIN,ACK 1 1"]);
    assert_eq!(
        states(&close),
        [("ESTABLISHED", Some(4)), ("FIN_WAIT1", None)]
    );
    assert_eq!(world.tracker.live(), 0);
}

#[test]
fn a_record_that_was_only_late_is_reported_as_it_is() {
    let mut world = World::new();
    let mut end = closing(&mut world);
    world.pass_ms(2_000);
    world.answer(MinisocketState::Gone);
    end.is_acknowledged();
    end.to(&mut world, TcpState::FinWait2);
    end.enters_time_wait(&mut world);
    assert_eq!(world.close().path, ClosePath::FourWay);
    world.pass_ms(1_000);
    assert!(world.requests().is_empty());
}

#[test]
fn a_minisocket_that_a_probe_finds_is_followed_to_its_end() {
    let mut world = World::new();
    closing(&mut world);
    for wait in [2_000, 100] {
        world.pass_ms(wait);
        world.answer(MinisocketState::FinWait2(Nanos::from_secs(50)));
    }
    assert_eq!(
        (world.tracker.live(), world.tracker.waiting_for_fin()),
        (0, 1)
    );
    world.pass_ms(100);
    world.answer(MinisocketState::TimeWait(Nanos::from_millis(59_990)));
    let close = world.close();
    assert_eq!((close.path, close.segments), (ClosePath::FourWay, None));
    assert_eq!(
        steps(&close),
        [
            "local FIN,ACK 1 1",
            "~peer ACK - -",
            "~peer FIN,ACK - -",
            "~local ACK - -"
        ]
    );
    assert_eq!(close.steps[1].at, None);
    assert_eq!(
        states(&close)[1..],
        [("FIN_WAIT1", None), ("FIN_WAIT2", None)]
    );
    assert_eq!(world.tracker.in_time_wait(), 1);
}

#[test]
fn a_time_wait_that_a_probe_finds_has_its_beginning_and_no_path() {
    let mut world = World::new();
    closing(&mut world);
    for wait in [2_000, 100] {
        world.pass_ms(wait);
        world.answer(MinisocketState::TimeWait(Nanos::from_secs(59)));
    }
    let close = world.close();
    assert_eq!(
        (close.path, close.segments),
        (ClosePath::Unknown, None),
        "three or four segments: who knows"
    );
    assert_eq!(close.at, world.now - Nanos::from_secs(1));
    assert_eq!(world.tracker.in_time_wait(), 1);
}

#[test]
fn a_segment_for_the_minisocket_of_an_end_that_is_thought_to_live_ends_it() {
    let took = |fin, rst, time_wait| SignalKind::MinisocketSegment {
        segment: segment(fin, rst),
        time_wait,
    };
    let refuses = SignalKind::ResetSent {
        reason: None,
        answers: Some(Segment {
            end: IRS.wrapping_add(11),
            ..segment(false, false)
        }),
        minisocket: true,
    };
    for (signal, path, last) in [
        // It may be the second of two, and the first came with the ACK.
        (
            took(true, false, true),
            ClosePath::Unknown,
            "local FIN,ACK 1 1",
        ),
        (
            took(false, true, false),
            ClosePath::Reset,
            "peer RST,ACK 1 2",
        ),
        (refuses, ClosePath::Reset, "local RST 2 -"),
    ] {
        let mut world = World::new();
        world.tracker = world.tracker.with_segments();
        closing(&mut world);
        world.signal(5, signal);
        let close = match world.findings().into_iter().next() {
            Some(Finding::Close(close)) => close,
            other => panic!("{other:?}"),
        };
        assert_eq!(
            (close.path, close.initiator, close.segments),
            (path, Initiator::Local, None)
        );
        assert_eq!(steps(&close).last().unwrap(), last);
        assert_eq!(world.tracker.live(), 0);
    }
}

#[test]
fn crossed_fins_whose_end_was_missed_have_no_count() {
    let mut world = World::new();
    let mut end = closing(&mut world);
    end.receives_fin();
    end.to(&mut world, TcpState::Closing);
    for wait in [2_000, 100] {
        world.pass_ms(wait);
        world.answer(MinisocketState::TimeWait(Nanos::from_secs(59)));
    }
    let close = world.close();
    assert_eq!(
        (close.path, close.segments),
        (ClosePath::Simultaneous, None),
        "what was sent again is not known"
    );
    assert_eq!(close.steps.last().unwrap().at, None);
}

/// The minisocket of an endpoint, as a snapshot shows it. It has the endpoint's cookie.
fn minisocket(end: &Socket, state: TcpState, left: Nanos) -> SnapshotSocket {
    SnapshotSocket {
        cookie: EndpointId(5),
        netns: NETNS,
        tuple: end.tuple,
        state,
        kind: SocketKind::Minisocket(left),
        owner: None,
    }
}

/// All its transitions since ESTABLISHED were lost.
#[test]
fn an_endpoint_that_a_snapshot_shows_in_time_wait_is_not_alive() {
    let mut world = World::new();
    let end = Socket::client(&mut world, 5);
    world.pass_ms(10_000);
    let left = Nanos::from_secs(57);
    let found = minisocket(&end, TcpState::TimeWait, left);
    let (namespaces, alive) = ([NETNS].into(), [found.cookie].into());
    world.tracker.resync(&namespaces, &alive, world.now);
    world.tracker.seed(&[found], world.now);
    assert!(world.findings().is_empty(), "its records may still come");
    for _ in 0..2 {
        world.pass_ms(100);
        world.answer(MinisocketState::TimeWait(left));
    }
    let close = world.close();
    assert_eq!(
        (close.path, close.initiator, close.segments),
        (ClosePath::Unknown, Initiator::Unknown, None)
    );
    assert_eq!(close.at, world.now - Nanos::from_secs(3));
    assert_eq!(close.endpoint.role, Role::Client);
    assert_eq!((world.tracker.live(), world.tracker.in_time_wait()), (0, 1));
    world.pass_ms(1_000);
    assert!(world.requests().is_empty());
}

#[test]
fn an_endpoint_that_a_snapshot_shows_in_a_minisocket_of_fin_wait2_waits_for_the_fin() {
    let mut worlds = [World::new(), World::new()];
    let [one, other] = &mut worlds;
    let ends = [closing(one), Socket::client(other, 5)];
    for (mut world, end) in worlds.into_iter().zip(ends) {
        let left = Nanos::from_secs(50);
        let found = minisocket(&end, TcpState::FinWait2, left);
        world.tracker.seed(&[found], world.now);
        for _ in 0..2 {
            world.pass_ms(100);
            world.answer(MinisocketState::FinWait2(left));
        }
        let tracker = &world.tracker;
        assert_eq!((tracker.live(), tracker.waiting_for_fin()), (0, 1));
        world.pass_ms(1_000);
        world.answer(MinisocketState::TimeWait(Nanos::from_secs(60)));
        assert_eq!(world.close().path, ClosePath::FourWay);
    }
}

/// The snapshot was taken before the records were read.
#[test]
fn an_endpoint_whose_records_were_only_late_is_reported_as_they_show_it() {
    let mut world = World::new();
    let mut end = closing(&mut world);
    let found = minisocket(&end, TcpState::TimeWait, Nanos::from_secs(60));
    world.tracker.seed(&[found], world.now);
    end.is_acknowledged();
    end.to(&mut world, TcpState::FinWait2);
    end.enters_time_wait(&mut world);
    assert_eq!(world.close().path, ClosePath::FourWay);
    world.pass_ms(200);
    assert!(world.requests().is_empty());
    assert_eq!((world.tracker.live(), world.tracker.in_time_wait()), (0, 1));
}
