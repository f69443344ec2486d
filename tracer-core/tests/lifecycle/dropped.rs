//! Segments of this host that it drops itself before they leave: they are not claimed, and a FIN or
//! RST that netfilter drops explains the close.

use tcpclose_common::TcpState;
use tcpclose_core::event::{Segment, SignalKind};
use tcpclose_core::finding::{Cause, Close, ClosePath, Initiator, Side};
use tcpclose_core::types::Nanos;

use crate::scenarios::steps;
use crate::socket::{IRS, ISS, Socket, World, reset_sent};

const ETIMEDOUT: u16 = 110;

fn world() -> World {
    let mut world = World::new();
    world.tracker = world.tracker.with_drops();
    world
}

/// A segment of this host's, with relative numbers.
fn own(seq: u32, ack: u32) -> Segment {
    let seq = ISS.wrapping_add(seq);
    Segment {
        fin: false,
        rst: false,
        has_ack: true,
        seq,
        end: seq,
        ack: IRS.wrapping_add(ack),
    }
}

fn own_fin(seq: u32, ack: u32) -> Segment {
    let segment = own(seq, ack);
    Segment {
        fin: true,
        end: segment.end.wrapping_add(1),
        ..segment
    }
}

fn own_rst(seq: u32, ack: u32) -> Segment {
    Segment {
        rst: true,
        ..own(seq, ack)
    }
}

fn dropped(segment: Segment, reason: &'static str) -> SignalKind {
    SignalKind::SegmentDropped {
        segment,
        reason: Some(reason),
    }
}

fn by_netfilter(segment: Segment) -> SignalKind {
    dropped(segment, "NETFILTER_DROP")
}

/// IP did not take the FIN: TCP does not count it as sent.
fn fin_was_refused(socket: &mut Socket) {
    socket.evidence.tcp.snd_nxt = socket.evidence.tcp.write_seq.wrapping_sub(1);
}

/// A server that closes with unread data, and whose RST meets this before it is reported.
fn aborted(sending: impl FnOnce(&mut World)) -> Close {
    let mut world = world();
    let mut end = Socket::server(&mut world, 5);
    end.receives(5, 0);
    end.closes(&mut world, TcpState::Close);
    sending(&mut world);
    world.signal(5, reset_sent(Some("TCP_ABORT_ON_CLOSE")));
    world.close()
}

#[test]
fn a_rst_that_netfilter_drops_is_not_claimed_and_explains_the_close() {
    let close = aborted(|world| world.signal(5, by_netfilter(own_rst(1, 6))));
    assert_eq!(steps(&close), [""; 0]);
    assert_eq!(
        (close.path, close.initiator, close.segments),
        (ClosePath::Reset, Initiator::Unknown, Some(0))
    );
    assert_eq!(close.cause, Some(Cause::DroppedHere));
    assert_eq!(close.reset.unwrap().by, Side::Local);
}

#[test]
fn a_rst_that_a_queue_drops_is_not_claimed_and_explains_nothing() {
    let close = aborted(|world| world.signal(5, dropped(own_rst(1, 6), "QDISC_DROP")));
    assert_eq!((steps(&close).len(), close.segments), (0, Some(0)));
    assert_eq!(close.cause, Some(Cause::UnreadData));
}

#[test]
fn a_rst_that_leaves_is_claimed_although_other_segments_were_dropped() {
    for other in [own(1, 6), own_fin(1, 6)] {
        let close = aborted(|world| world.signal(5, by_netfilter(other)));
        assert_eq!(steps(&close), ["local RST,ACK 1 6"]);
        assert_eq!(close.cause, Some(Cause::UnreadData));
        assert_eq!(close.initiator, Initiator::Local);
    }
}

#[test]
fn a_rst_that_was_dropped_long_before_is_another() {
    let mut world = world();
    let mut end = Socket::server(&mut world, 5);
    world.signal(5, by_netfilter(own_rst(1, 1)));
    world.pass_ms(100);
    end.receives(5, 0);
    end.closes(&mut world, TcpState::Close);
    world.signal(5, reset_sent(Some("TCP_ABORT_ON_CLOSE")));
    let close = world.close();
    assert_eq!(steps(&close), ["local RST,ACK 1 6"]);
    assert_eq!(close.cause, Some(Cause::UnreadData));
}

#[test]
fn a_fin_that_netfilter_drops_until_the_kernel_gives_up_explains_the_timeout() {
    for (reason, cause) in [
        ("NETFILTER_DROP", Some(Cause::DroppedHere)),
        ("QDISC_DROP", None),
    ] {
        let mut world = world();
        let mut end = Socket::client(&mut world, 5);
        end.closes(&mut world, TcpState::FinWait1);
        for _ in 0..40 {
            world.signal(5, dropped(own_fin(1, 1), reason));
            world.pass_ms(500);
        }
        fin_was_refused(&mut end);
        end.evidence.tcp.error = ETIMEDOUT;
        end.to(&mut world, TcpState::Close);
        let close = world.close();
        assert_eq!(steps(&close), [""; 0]);
        assert_eq!(
            (close.path, close.initiator),
            (ClosePath::Timeout, Initiator::Unknown)
        );
        assert_eq!(close.cause, cause);
    }
}

#[test]
fn a_fin_that_left_after_it_was_dropped_is_no_cause() {
    let mut world = world();
    let mut end = Socket::client(&mut world, 5);
    end.closes(&mut world, TcpState::FinWait1);
    world.signal(5, by_netfilter(own_fin(1, 1)));
    world.pass_ms(20_000);
    end.evidence.tcp.error = ETIMEDOUT;
    end.to(&mut world, TcpState::Close);
    let close = world.close();
    assert_eq!(steps(&close), ["~local FIN,ACK 1 1"]);
    assert_eq!((close.path, close.cause), (ClosePath::Timeout, None));
    assert_eq!(close.segments, None);
}

#[test]
fn a_fin_that_the_peer_has_acknowledged_has_left() {
    let mut world = world();
    let mut end = Socket::client(&mut world, 5);
    end.closes(&mut world, TcpState::FinWait1);
    world.signal(5, by_netfilter(own_fin(1, 1)));
    end.evidence.tcp.segs_out += 1;
    world.pass_ms(500);
    end.is_acknowledged();
    end.to(&mut world, TcpState::FinWait2);
    end.enters_time_wait(&mut world);
    let close = world.close();
    assert_eq!(steps(&close)[0], "local FIN,ACK 1 1");
    assert_eq!(close.steps[0].at, None, "nobody saw when it left");
    assert_eq!((close.path, close.cause), (ClosePath::FourWay, None));
}

#[test]
fn fins_that_wait_for_the_neighbours_address_in_vain_have_not_left() {
    for (drops, expected) in [(2, ""), (1, "~local FIN,ACK 1 1")] {
        let mut world = world();
        let mut end = Socket::client(&mut world, 5);
        end.closes(&mut world, TcpState::FinWait1);
        world.signal(5, SignalKind::FinRetransmitted);
        end.evidence.tcp.retransmits = 1;
        for _ in 0..drops {
            world.pass_ms(3000);
            world.signal(5, dropped(own_fin(1, 1), "NEIGH_FAILED"));
        }
        end.evidence.tcp.error = ETIMEDOUT;
        end.to(&mut world, TcpState::Close);
        let close = world.close();
        assert_eq!(steps(&close).join(""), expected);
        assert_eq!((close.path, close.cause), (ClosePath::Timeout, None));
    }
}

#[test]
fn an_ack_of_the_peers_fin_that_is_dropped_is_not_claimed() {
    // The side that closed first, and both at once.
    for crossing in [false, true] {
        let mut world = world();
        let mut end = Socket::client(&mut world, 5);
        end.closes(&mut world, TcpState::FinWait1);
        if !crossing {
            end.is_acknowledged();
            end.to(&mut world, TcpState::FinWait2);
        }
        end.receives_fin();
        world.signal(5, by_netfilter(own(2, 2)));
        end.acknowledges();
        if crossing {
            end.to(&mut world, TcpState::Closing);
            world.pass_ms(1);
            end.is_acknowledged();
        }
        end.to(&mut world, TcpState::Close);
        let close = world.close();
        let own: Vec<_> = close
            .steps
            .iter()
            .filter(|it| it.from == Side::Local)
            .collect();
        assert_eq!(own.len(), 1, "{:?}", steps(&close));
        assert_eq!(close.segments, None);
        assert_eq!(close.cause, None, "the close was orderly");
    }
}

#[test]
fn an_ack_of_the_peers_fin_for_which_there_was_no_memory_is_not_claimed() {
    for (crossing, retransmits) in [(false, 0), (true, 0), (true, 1)] {
        let mut world = World::new();
        let mut end = Socket::client(&mut world, 5);
        end.closes(&mut world, TcpState::FinWait1);
        end.evidence.tcp.retransmits = retransmits;
        end.evidence.tcp.segs_out += retransmits;
        if !crossing {
            end.is_acknowledged();
            end.to(&mut world, TcpState::FinWait2);
        }
        end.receives_fin();
        if crossing {
            end.to(&mut world, TcpState::Closing);
            world.pass_ms(1);
            end.is_acknowledged();
        }
        end.to(&mut world, TcpState::Close);
        let close = world.close();
        let mut own = close.steps.iter().filter(|it| it.from == Side::Local);
        let fin = own.next().map(|step| step.flags.to_string());
        assert_eq!((fin.as_deref(), own.next()), (Some("FIN,ACK"), None));
        assert_eq!(close.segments, None);
    }
}

#[test]
fn an_ack_of_a_minisocket_that_is_dropped_is_not_claimed() {
    let mut world = world();
    world.tracker = world.tracker.with_segments();
    let mut end = Socket::client(&mut world, 5);
    end.evidence.flags.dead = true;
    end.closes_first(&mut world);
    end.to(&mut world, TcpState::Close);
    world.pass_ms(5);
    world.signal(5, by_netfilter(own(2, 2)));
    let seq = IRS.wrapping_add(1);
    let segment = Segment {
        fin: true,
        rst: false,
        has_ack: true,
        seq,
        end: seq.wrapping_add(1),
        ack: ISS.wrapping_add(2),
    };
    let time_wait = true;
    world.signal(5, SignalKind::MinisocketSegment { segment, time_wait });
    let close = world.close();
    assert_eq!(
        steps(&close),
        ["local FIN,ACK 1 1", "peer ACK 1 2", "peer FIN,ACK 1 2"]
    );
    assert_eq!((close.path, close.segments), (ClosePath::FourWay, None));
}

#[test]
fn a_rst_of_a_minisocket_that_is_dropped_is_not_claimed() {
    let mut world = world();
    let mut end = Socket::client(&mut world, 5);
    end.evidence.flags.dead = true;
    end.closes_first(&mut world);
    end.to(&mut world, TcpState::Close);
    world.pass_ms(5);
    let seq = IRS.wrapping_add(1);
    let data = Segment {
        fin: false,
        rst: false,
        has_ack: true,
        seq,
        end: seq.wrapping_add(100),
        ack: ISS.wrapping_add(2),
    };
    world.signal(
        5,
        SignalKind::ResetSent {
            reason: Some("TCP_ABORT_ON_DATA"),
            answers: Some(data),
            minisocket: true,
        },
    );
    world.signal(5, by_netfilter(own_rst(2, 0)));
    assert!(world.findings().is_empty(), "it waits for the drop");
    world.pass_ms(20);
    let close = world.close();
    assert_eq!(steps(&close), ["local FIN,ACK 1 1", "peer ACK 1 2"]);
    assert_eq!(
        (close.path, close.initiator, close.segments),
        (ClosePath::Reset, Initiator::Local, Some(2))
    );
    assert_eq!(close.cause, Some(Cause::DroppedHere));
}

/// The server acknowledges the peer's FIN `acks` times, of which as many are dropped as `drops` has
/// segments, and closes.
fn closed_after(acks: u32, drops: &[Segment]) -> Close {
    let mut world = world();
    let mut end = Socket::server(&mut world, 5);
    end.receives_fin();
    end.to(&mut world, TcpState::CloseWait);
    for segment in drops {
        world.signal(5, by_netfilter(*segment));
    }
    (0..acks).for_each(|_| end.acknowledges());
    world.pass_ms(10);
    end.closes(&mut world, TcpState::LastAck);
    world.pass_ms(1);
    end.is_acknowledged();
    end.to(&mut world, TcpState::Close);
    world.close()
}

#[test]
fn a_fin_after_an_ack_that_was_dropped_carries_the_ack() {
    let close = closed_after(1, &[own(1, 2)]);
    assert_eq!((close.path, close.segments), (ClosePath::ThreeWay, Some(3)));
    // One of two left.
    let close = closed_after(2, &[own(1, 2)]);
    assert_eq!(steps(&close)[1], "local ACK - 2");
    assert_eq!(close.path, ClosePath::FourWay);
    // Data may be more than one segment.
    let data = Segment {
        end: own(1, 2).end.wrapping_add(3000),
        ..own(1, 2)
    };
    assert_eq!(closed_after(3, &[data]).path, ClosePath::Unknown);
    // More than are kept.
    let close = closed_after(40, &[own(1, 2); 40]);
    assert_eq!(close.path, ClosePath::Unknown);
}

#[test]
fn a_segment_behind_the_end_of_the_window_has_no_known_number() {
    // The peer has taken back a part of its window (tcp_acceptable_seq).
    let mut world = World::new();
    let mut end = Socket::server(&mut world, 5);
    end.writes(3000);
    end.evidence.tcp.snd_wnd = 1000;
    end.receives_fin();
    end.to(&mut world, TcpState::CloseWait);
    end.acknowledges();
    end.is_acknowledged();
    end.closes(&mut world, TcpState::LastAck);
    world.pass_ms(1);
    end.is_acknowledged();
    end.to(&mut world, TcpState::Close);
    assert_eq!(steps(&world.close())[1], "local ACK - 2");
}

#[test]
fn the_first_segment_after_a_fin_may_be_a_probe_of_the_closed_window() {
    // Data waits, and a probe has the number before the first that is not acknowledged.
    let mut world = World::new();
    let mut end = Socket::server(&mut world, 5);
    end.evidence.tcp.snd_wnd = 0;
    end.evidence.tcp.write_seq = end.evidence.tcp.write_seq.wrapping_add(500);
    end.receives_fin();
    end.to(&mut world, TcpState::CloseWait);
    end.acknowledges();
    world.pass_ms(300);
    end.closes(&mut world, TcpState::LastAck);
    world.pass_ms(1);
    end.is_acknowledged();
    end.to(&mut world, TcpState::Close);
    assert_eq!(steps(&world.close())[1], "local ACK - 2");
}

#[test]
fn a_close_that_waits_is_reported_when_no_more_events_follow() {
    let mut world = world();
    let mut end = Socket::server(&mut world, 5);
    end.receives(5, 0);
    end.closes(&mut world, TcpState::Close);
    assert!(world.findings().is_empty());
    world.tracker.end_waits();
    assert_eq!(world.close().path, ClosePath::Reset);
}

#[test]
fn drops_of_a_connection_that_is_at_work_change_nothing() {
    let mut world = world();
    let mut end = Socket::client(&mut world, 5);
    world.signal(5, by_netfilter(own(1, 1)));
    world.pass_ms(10);
    end.closes_first(&mut world);
    end.enters_time_wait(&mut world);
    let close = world.close();
    assert_eq!(
        (close.path, close.segments, close.cause),
        (ClosePath::FourWay, Some(4), None)
    );
    assert_eq!(close.steps[0].at, Some(Nanos::from_millis(1_000_010)));
}
