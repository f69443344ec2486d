//! Segments that arrived in another order than they were sent in, or all at once. Each sequence was
//! found by `cargo xtask parity`.

use tcpclose_common::TcpState;
use tcpclose_core::event::{Segment, SignalKind};
use tcpclose_core::finding::{ClosePath, Initiator};

use crate::scenarios::steps;
use crate::socket::{ISS, Socket, World};

/// The peer's FIN is there, and data in front of it is not.
fn fin_waits(socket: &mut Socket) {
    socket.evidence.flags.fin_out_of_order = true;
    socket.evidence.tcp.out_of_order = 1;
    socket.evidence.tcp.segs_in += 1;
    socket.acknowledges();
}

/// The data in front of the peer's FIN arrives: the socket takes both.
fn hole_is_filled(socket: &mut Socket, world: &mut World) {
    socket.evidence.flags.fin_out_of_order = false;
    world.pass_ms(50);
    socket.receives(100, 100);
    socket.enters_time_wait(world);
}

/// This host answers a segment for its closed socket with a RST.
fn refuses(fin: bool, seq: u32, end: u32) -> SignalKind {
    SignalKind::ResetSent {
        reason: Some("TCP_ABORT_ON_DATA"),
        answers: Some(Segment {
            fin,
            rst: false,
            has_ack: true,
            seq,
            end,
            ack: ISS.wrapping_add(2),
        }),
        minisocket: false,
    }
}

#[test]
fn a_fin_that_waited_behind_a_hole_stands_where_it_arrived() {
    let mut world = World::new();
    let mut end = Socket::client(&mut world, 5);
    fin_waits(&mut end);
    end.closes_first(&mut world);
    hole_is_filled(&mut end, &mut world);
    let close = world.close();
    assert_eq!(
        steps(&close),
        [
            "~peer FIN,ACK 101 -",
            "local FIN,ACK 1 1",
            "peer ACK 1 2",
            "local ACK 2 102"
        ]
    );
    assert_eq!(close.steps[0].at, None);
}

#[test]
fn a_fin_that_came_after_ours_and_before_its_ack_stands_between_them() {
    let mut world = World::new();
    let mut end = Socket::client(&mut world, 5);
    end.closes(&mut world, TcpState::FinWait1);
    fin_waits(&mut end);
    end.is_acknowledged();
    end.to(&mut world, TcpState::FinWait2);
    hole_is_filled(&mut end, &mut world);
    let order = steps(&world.close());
    assert_eq!(
        order,
        [
            "local FIN,ACK 1 1",
            "~peer FIN,ACK 101 -",
            "peer ACK 1 2",
            "local ACK 2 102"
        ]
    );
}

#[test]
fn a_fin_that_waited_and_is_refused_when_it_comes_again_has_no_numbers() {
    let mut world = World::new();
    let mut end = Socket::client(&mut world, 5);
    fin_waits(&mut end);
    end.evidence.flags.dead = true;
    end.closes(&mut world, TcpState::FinWait1);
    end.evidence.tcp.error = 104;
    world.signal(5, SignalKind::ResetReceived);
    end.to(&mut world, TcpState::Close);
    let number = end.evidence.tcp.rcv_nxt.wrapping_add(100);
    world.signal(5, refuses(true, number, number.wrapping_add(1)));
    world.pass_ms(20);
    let close = world.close();
    assert_eq!((close.initiator, close.segments), (Initiator::Both, None));
    assert_eq!(
        steps(&close),
        ["~peer FIN,ACK - -", "local FIN,ACK 1 1", "local RST 2 -"]
    );
}

#[test]
fn the_number_of_a_rst_that_came_over_a_hole_is_not_known() {
    let mut world = World::new();
    let mut end = Socket::client(&mut world, 5);
    end.evidence.tcp.out_of_order = 2;
    end.evidence.tcp.error = 104;
    world.signal(5, SignalKind::ResetReceived);
    end.to(&mut world, TcpState::Close);
    let close = world.close();
    assert_eq!(close.initiator, Initiator::Peer);
    assert_eq!(steps(&close), ["~peer RST,ACK - 1"]);
}

#[test]
fn a_refused_segment_that_waited_behind_a_hole_is_not_the_ack_of_the_fin() {
    let mut world = World::new();
    let mut end = Socket::client(&mut world, 5);
    end.evidence.flags.dead = true;
    end.closes_first(&mut world);
    end.evidence.tcp.out_of_order = 3;
    world.pass_ms(5);
    end.receives(70_000, 0);
    end.evidence.tcp.segs_in += 1;
    end.evidence.tcp.error = 104;
    world.signal(5, SignalKind::ResetReceived);
    end.to(&mut world, TcpState::Close);
    let last = end.evidence.tcp.rcv_nxt;
    world.signal(5, refuses(false, last, last.wrapping_add(100)));
    world.pass_ms(20);
    let close = world.close();
    assert_eq!((close.path, close.segments), (ClosePath::Reset, None));
    assert_eq!(steps(&close), ["local FIN,ACK 1 1", "local RST 2 -"]);
}

#[test]
fn data_that_was_sent_again_hides_no_fin_that_never_left() {
    let mut world = World::new();
    let mut end = Socket::client(&mut world, 5);
    let sent = end.evidence.tcp.snd_nxt;
    end.evidence.tcp.write_seq = sent.wrapping_add(1_000);
    end.closes(&mut world, TcpState::FinWait1);
    end.evidence.tcp.snd_nxt = sent;
    end.evidence.tcp.retransmits += 3;
    end.evidence.tcp.error = 104;
    world.signal(5, SignalKind::ResetReceived);
    end.to(&mut world, TcpState::Close);
    world.pass_ms(20);
    let close = world.close();
    assert_eq!(
        (close.initiator, close.segments),
        (Initiator::Peer, Some(1))
    );
}

#[test]
fn a_half_close_that_began_with_a_fin_behind_a_hole_has_no_known_time() {
    for reordered in [false, true] {
        let mut world = World::new();
        let mut end = Socket::server(&mut world, 5);
        end.evidence.tcp.out_of_order = u16::from(reordered);
        end.receives_fin();
        end.to(&mut world, TcpState::CloseWait);
        end.acknowledges();
        world.pass_ms(100);
        end.sends(500);
        end.closes(&mut world, TcpState::LastAck);
        end.is_acknowledged();
        end.to(&mut world, TcpState::Close);
        assert_eq!(world.close().half_close.is_none(), reordered);
    }
}

#[test]
fn a_half_close_that_ended_with_a_fin_behind_a_hole_has_no_known_time() {
    for reordered in [false, true] {
        let mut world = World::new();
        let mut end = Socket::client(&mut world, 5);
        end.closes_first(&mut world);
        world.pass_ms(100);
        end.evidence.tcp.out_of_order = u16::from(reordered);
        end.receives(500, 500);
        end.enters_time_wait(&mut world);
        assert_eq!(world.close().half_close.is_none(), reordered);
    }
}

#[test]
fn acks_of_what_came_in_another_order_are_not_taken_for_the_ack_of_the_fin() {
    for reordered in [false, true] {
        let mut world = World::new();
        let mut end = Socket::server(&mut world, 5);
        end.receives_fin();
        end.to(&mut world, TcpState::CloseWait);
        // The FIN waits behind data, and takes along the ACK or follows it.
        let evidence = &mut end.evidence;
        evidence.tcp.write_seq = evidence.tcp.write_seq.wrapping_add(80);
        end.closes(&mut world, TcpState::LastAck);
        end.acknowledges();
        end.evidence.tcp.out_of_order = u16::from(reordered);
        end.acknowledges();
        end.is_acknowledged();
        end.to(&mut world, TcpState::Close);
        let expected = if reordered {
            ClosePath::Unknown
        } else {
            ClosePath::FourWay
        };
        assert_eq!(world.close().path, expected);
    }
}

#[test]
fn what_waited_in_the_backlog_behind_a_refused_segment_may_have_been_a_fin() {
    for backlog in [false, true] {
        let mut world = World::new();
        let mut end = Socket::client(&mut world, 5);
        end.evidence.flags.dead = true;
        end.closes(&mut world, TcpState::FinWait1);
        end.evidence.flags.backlog = backlog;
        end.evidence.flags.lock_owned = backlog;
        end.evidence.tcp.error = 104;
        world.signal(5, SignalKind::ResetReceived);
        end.to(&mut world, TcpState::Close);
        let number = end.evidence.tcp.rcv_nxt;
        world.signal(5, refuses(false, number, number.wrapping_add(100)));
        world.pass_ms(20);
        let close = world.close();
        let expected = if backlog {
            (Initiator::Unknown, None)
        } else {
            (Initiator::Local, Some(2))
        };
        assert_eq!((close.initiator, close.segments), expected);
    }
}

#[test]
fn the_ack_of_a_fin_among_reordered_segments_is_not_known() {
    let mut world = World::new();
    let mut end = Socket::server(&mut world, 5);
    end.evidence.tcp.out_of_order = 1;
    end.receives_fin();
    end.to(&mut world, TcpState::CloseWait);
    end.acknowledges();
    end.closes(&mut world, TcpState::LastAck);
    end.is_acknowledged();
    end.to(&mut world, TcpState::Close);
    assert_eq!(steps(&world.close())[0], "~peer FIN,ACK 1 -");
}
