//! Closes whose last segment was seen itself: what a minisocket took, what a closed socket refused.

use tcpclose_common::TcpState;
use tcpclose_core::MinisocketState;
use tcpclose_core::event::{Segment, SignalKind};
use tcpclose_core::finding::{
    Close, ClosePath, EndSource, Finding, Initiator, ResetReason, Side, TimeWaitEnd,
};
use tcpclose_core::types::Nanos;

use crate::scenarios::steps;
use crate::socket::{IRS, ISS, Socket, World};

fn world() -> World {
    let mut world = World::new();
    world.tracker = world.tracker.with_segments();
    world
}

/// A segment of the peer's, with relative numbers.
fn segment(seq: u32, bytes: u32, ack: u32) -> Segment {
    let seq = IRS.wrapping_add(seq);
    Segment {
        fin: false,
        rst: false,
        has_ack: true,
        seq,
        end: seq.wrapping_add(bytes),
        ack: ISS.wrapping_add(ack),
    }
}

fn with_fin(segment: Segment) -> Segment {
    Segment {
        fin: true,
        end: segment.end.wrapping_add(1),
        ..segment
    }
}

fn with_rst(segment: Segment) -> Segment {
    Segment {
        rst: true,
        ..segment
    }
}

fn took(segment: Segment, time_wait: bool) -> SignalKind {
    SignalKind::MinisocketSegment { segment, time_wait }
}

fn refuses(answered: Segment, minisocket: bool) -> SignalKind {
    SignalKind::ResetSent {
        reason: Some("TCP_ABORT_ON_DATA"),
        answers: Some(answered),
        minisocket,
    }
}

/// A client whose process has closed it; the peer has acknowledged that, and its FIN is still to
/// come.
fn park(world: &mut World) {
    let mut end = Socket::client(world, 5);
    end.evidence.flags.dead = true;
    end.closes_first(world);
    end.to(world, TcpState::Close);
    assert!(world.findings().is_empty());
}

/// The close that has been reported first, with its TIME_WAIT followed.
fn first_close(world: &mut World) -> Close {
    match world.findings().into_iter().next() {
        Some(Finding::Close(close)) => *close,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_peers_fin_to_a_minisocket_is_reported_at_once_and_as_seen() {
    let mut world = world();
    park(&mut world);
    world.pass_ms(7);
    world.signal(5, took(with_fin(segment(1, 0, 2)), true));
    let close = world.close();
    assert_eq!((close.path, close.segments), (ClosePath::FourWay, Some(4)));
    assert_eq!(
        steps(&close)[2..],
        ["peer FIN,ACK 1 2", "local ACK 2 2"].map(str::to_owned)
    );
    assert_eq!(
        close.states.last(),
        Some(&(TcpState::FinWait2, Some(Nanos::from_millis(7))))
    );
    assert_eq!(world.tracker.in_time_wait(), 1);
    assert!(world.requests().is_empty(), "nobody asks for what was seen");
}

#[test]
fn a_fin_that_the_minisocket_did_not_take_ends_nothing() {
    let mut world = world();
    park(&mut world);
    world.signal(5, took(with_fin(segment(9, 0, 2)), false));
    world.signal(5, took(with_fin(segment(9, 0, 2)), true));
    assert!(world.findings().is_empty());
    assert_eq!(world.tracker.waiting_for_fin(), 1);
}

#[test]
fn the_peers_rst_to_a_minisocket_is_a_reset_by_the_peer() {
    let mut world = world();
    park(&mut world);
    world.pass_ms(3);
    world.signal(5, took(with_rst(segment(1, 0, 2)), false));
    let close = world.close();
    assert_eq!(
        (close.path, close.initiator, close.segments),
        (ClosePath::Reset, Initiator::Local, Some(3))
    );
    assert_eq!(steps(&close)[2], "peer RST,ACK 1 2");
    assert_eq!(close.reset.unwrap().by, Side::Peer);
    assert_eq!(
        close.states.last(),
        Some(&(TcpState::FinWait2, Some(Nanos::from_millis(3))))
    );
}

#[test]
fn a_rst_without_an_ack_has_no_ack_number() {
    let mut world = world();
    park(&mut world);
    let rst = Segment {
        has_ack: false,
        ..with_rst(segment(1, 0, 0))
    };
    world.signal(5, took(rst, false));
    assert_eq!(steps(&world.close())[2], "peer RST 1 -");
}

#[test]
fn a_rst_after_a_fin_that_was_missed_leaves_the_end_unknown() {
    let mut world = world();
    park(&mut world);
    world.signal(5, took(with_rst(segment(2, 0, 2)), true));
    assert_eq!(world.close().path, ClosePath::Unknown);
}

#[test]
fn data_for_a_minisocket_is_refused_in_three_segments() {
    let mut world = world();
    park(&mut world);
    world.pass_ms(30);
    world.signal(5, refuses(segment(1, 100, 2), true));
    let close = world.close();
    assert_eq!(
        (close.path, close.initiator, close.segments),
        (ClosePath::Reset, Initiator::Local, Some(3))
    );
    assert_eq!(
        steps(&close),
        ["local FIN,ACK 1 1", "peer ACK 1 2", "local RST 2 -"]
    );
}

#[test]
fn data_with_a_fin_for_a_minisocket_is_a_segment_more() {
    let mut world = world();
    park(&mut world);
    world.signal(5, refuses(with_fin(segment(1, 100, 2)), true));
    let close = world.close();
    assert_eq!(close.segments, Some(4));
    assert_eq!(steps(&close)[1..3], ["peer ACK 1 2", "peer FIN,ACK 1 2"]);
}

#[test]
fn data_that_acknowledges_the_fin_and_is_refused_is_its_ack() {
    for fin in [false, true] {
        let mut world = world();
        let mut end = Socket::remote_server(&mut world, 5);
        end.evidence.flags.dead = true;
        end.closes_first(&mut world);
        end.to(&mut world, TcpState::Close);
        let data = segment(1, 100, 2);
        world.signal(5, refuses(if fin { with_fin(data) } else { data }, false));
        let close = world.close();
        assert_eq!(
            (close.initiator, close.segments),
            (Initiator::Local, Some(3))
        );
        let flags = if fin { "FIN,ACK" } else { "ACK" };
        assert_eq!(steps(&close)[1], format!("peer {flags} 1 2"));
    }
}

#[test]
fn refused_data_that_crossed_this_ends_fin_shows_the_initiator() {
    for (fin, initiator, count) in [(false, Initiator::Local, 2), (true, Initiator::Both, 3)] {
        let mut world = world();
        let mut end = Socket::client(&mut world, 5);
        end.evidence.flags.dead = true;
        end.closes(&mut world, TcpState::FinWait1);
        end.evidence.tcp.segs_in += 1;
        end.evidence.tcp.error = 104;
        world.signal(5, SignalKind::ResetReceived);
        end.to(&mut world, TcpState::Close);
        let data = segment(1, 100, 1);
        world.signal(5, refuses(if fin { with_fin(data) } else { data }, false));
        let close = world.close();
        assert_eq!((close.initiator, close.segments), (initiator, Some(count)));
        assert_eq!(steps(&close).last().unwrap(), "local RST 1 -");
    }
}

#[test]
fn what_waited_in_the_backlog_may_have_been_one_segment_or_two() {
    for (fin, segments) in [(false, Some(3)), (true, None)] {
        let mut world = world();
        let mut end = Socket::client(&mut world, 5);
        end.evidence.flags.dead = true;
        end.closes(&mut world, TcpState::FinWait1);
        end.evidence.flags.lock_owned = true;
        end.is_acknowledged();
        end.evidence.tcp.segs_in += 1;
        end.to(&mut world, TcpState::FinWait2);
        end.to(&mut world, TcpState::Close);
        let data = segment(1, 100, 2);
        world.signal(5, refuses(if fin { with_fin(data) } else { data }, false));
        assert_eq!(world.close().segments, segments);
    }
}

#[test]
fn a_fin_behind_a_hole_may_have_come_before_what_is_refused() {
    let mut world = world();
    let mut end = Socket::client(&mut world, 5);
    end.evidence.tcp.out_of_order = 1;
    end.evidence.flags.dead = true;
    end.closes_first(&mut world);
    end.to(&mut world, TcpState::Close);
    world.signal(5, refuses(segment(1, 100, 2), false));
    assert_eq!(world.close().segments, None);
}

#[test]
fn a_refused_ack_is_not_data() {
    // TCP_LINGER2 below zero: no patience with the peer at all.
    let mut world = world();
    let mut end = Socket::client(&mut world, 5);
    end.evidence.flags.dead = true;
    end.closes_first(&mut world);
    end.to(&mut world, TcpState::Close);
    world.signal(5, refuses(segment(1, 0, 2), false));
    let close = world.close();
    assert_eq!(close.segments, Some(3));
    let reset = close.reset.unwrap();
    assert_eq!((reset.by, reset.reason), (Side::Local, None));
    assert_eq!(reset.kernel_reason, Some("TCP_ABORT_ON_DATA"));
}

#[test]
fn a_probe_waits_once_for_the_segment_that_is_on_its_way() {
    for seen in [true, false] {
        let mut world = world();
        park(&mut world);
        world.pass_ms(20);
        world.answer(MinisocketState::TimeWait(Nanos::from_millis(59_990)));
        assert!(world.findings().is_empty());
        if seen {
            world.signal(5, took(with_fin(segment(1, 0, 2)), true));
        } else {
            world.pass_ms(50);
            world.answer(MinisocketState::TimeWait(Nanos::from_millis(59_940)));
        }
        let close = world.close();
        let mark = if seen { "" } else { "~" };
        assert_eq!(steps(&close)[2], format!("{mark}peer FIN,ACK 1 2"));
    }
}

#[test]
fn a_minisocket_that_is_gone_before_its_segment_was_seen_is_unknown() {
    let mut world = world();
    park(&mut world);
    world.pass_ms(20);
    world.answer(MinisocketState::Gone);
    assert!(world.findings().is_empty());
    world.pass_ms(50);
    world.answer(MinisocketState::Gone);
    assert_eq!(world.close().path, ClosePath::Unknown);
}

#[test]
fn a_segment_takes_precedence_over_a_hook() {
    let armed = SignalKind::MinisocketArmed { time_wait: true };
    for hooks_and_segment in [
        (vec![armed], took(with_fin(segment(1, 0, 2)), true)),
        (
            vec![
                SignalKind::MinisocketDescheduled,
                SignalKind::MinisocketKilled,
            ],
            took(with_rst(segment(1, 0, 2)), false),
        ),
    ] {
        let mut world = World::new();
        world.tracker = world.tracker.with_hooks().with_segments();
        park(&mut world);
        let (hooks, segment) = hooks_and_segment;
        for hook in hooks {
            world.signal(5, hook);
        }
        assert!(world.findings().is_empty());
        world.signal(5, segment);
        assert!(!steps(&first_close(&mut world))[2].starts_with('~'));
    }
}

#[test]
fn a_rst_that_kills_a_time_wait_and_a_fin_that_prolongs_it_are_exact() {
    let mut world = world();
    let mut end = Socket::client(&mut world, 5);
    end.closes_first(&mut world);
    end.enters_time_wait(&mut world);
    world.close();
    world.pass_ms(4_000);
    world.signal(5, took(with_fin(segment(1, 0, 2)), true));
    world.pass_ms(3_000);
    world.signal(5, took(with_rst(segment(2, 0, 2)), true));
    let Some(Finding::TimeWait(reported)) = world.findings().pop() else {
        panic!("no end of TIME_WAIT")
    };
    assert_eq!(
        (reported.end, reported.measured, reported.restarts),
        (TimeWaitEnd::Killed, EndSource::Hook, 1)
    );
    assert_eq!(
        (reported.dwell, reported.error),
        (Nanos::from_secs(7), Nanos(0))
    );
    assert_eq!(world.tracker.in_time_wait(), 0);
}

#[test]
fn an_abort_of_the_peers_is_reported_by_its_timestamp() {
    for (saw, rst) in [(true, "~peer RST,ACK 2 6"), (false, "~peer RST - -")] {
        let mut world = world();
        let mut end = Socket::server(&mut world, 5);
        end.sends(5);
        end.evidence.flags.timestamps = true;
        end.receives_fin();
        end.to(&mut world, TcpState::CloseWait);
        end.acknowledges();
        end.evidence.tcp.error = 32;
        end.evidence.flags.saw_timestamp = saw;
        world.signal(5, SignalKind::ResetReceived);
        end.to(&mut world, TcpState::Close);
        assert_eq!(steps(&world.close())[2], rst);
    }
}

#[test]
fn data_on_its_way_leaves_the_number_open_that_an_abort_acknowledges() {
    let mut world = world();
    let mut end = Socket::server(&mut world, 5);
    end.evidence.tcp.snd_nxt = end.evidence.tcp.snd_nxt.wrapping_add(10);
    end.evidence.tcp.error = 104;
    world.signal(5, SignalKind::ResetReceived);
    end.to(&mut world, TcpState::Close);
    let close = world.close();
    assert_eq!(steps(&close), ["~peer RST,ACK 1 -"]);
    assert_eq!(close.reset.unwrap().reason, None::<ResetReason>);
}
