//! Segments that had arrived and were not processed yet, and numbers that belong to another
//! segment.

use tcpclose_common::TcpState;
use tcpclose_core::event::SignalKind;
use tcpclose_core::finding::{Close, ClosePath, HalfClose, Initiator, SegmentFlags, Side};
use tcpclose_core::types::Nanos;

use crate::scenarios::steps;
use crate::socket::{Socket, World, reset_sent};

/// Segments wait in the backlog while a system call holds the socket.
fn has_backlog(socket: &mut Socket, is_there: bool) {
    socket.evidence.flags.backlog = is_there;
    socket.evidence.flags.lock_owned = is_there;
}

#[track_caller]
fn assert_closed(close: &Close, path: ClosePath, initiator: Initiator, segments: Option<u32>) {
    assert_eq!(
        (close.path, close.initiator, close.segments),
        (path, initiator, segments)
    );
}

#[test]
fn the_ack_of_a_fin_that_a_later_ack_overtook_is_not_known() {
    let mut world = World::new();
    let mut end = Socket::server(&mut world, 5);
    end.sends(300);
    end.receives_fin();
    end.evidence.flags.fin_ack_differs = true;
    end.to(&mut world, TcpState::CloseWait);
    end.evidence.flags.fin_ack_differs = false;
    end.acknowledges();
    world.pass_ms(100);
    end.closes(&mut world, TcpState::LastAck);
    end.is_acknowledged();
    end.to(&mut world, TcpState::Close);
    let close = world.close();
    assert_eq!((close.path, close.segments), (ClosePath::FourWay, Some(4)));
    assert_eq!(steps(&close)[0], "peer FIN,ACK 1 -");
}

#[test]
fn an_abort_while_the_peers_fin_is_out_of_order_comes_after_that() {
    let mut world = World::new();
    let mut end = Socket::client(&mut world, 5);
    end.evidence.flags.fin_out_of_order = true;
    end.evidence.tcp.out_of_order = 1;
    end.evidence.flags.linger_zero = true;
    end.closes(&mut world, TcpState::Close);
    world.signal(5, reset_sent(None));
    let close = world.close();
    assert_closed(&close, ClosePath::Reset, Initiator::Peer, Some(2));
    assert_eq!(steps(&close), ["~peer FIN,ACK - -", "local RST,ACK 1 1"]);
}

#[test]
fn a_rst_of_the_peer_whose_fin_is_out_of_order_is_its_second_segment() {
    let mut world = World::new();
    let mut end = Socket::client(&mut world, 5);
    end.evidence.flags.fin_out_of_order = true;
    end.evidence.tcp.out_of_order = 1;
    end.evidence.tcp.error = 104;
    world.signal(5, SignalKind::ResetReceived);
    end.to(&mut world, TcpState::Close);
    let close = world.close();
    assert_closed(&close, ClosePath::Reset, Initiator::Peer, Some(2));
    assert_eq!(steps(&close)[0], "~peer FIN,ACK - -");
}

#[test]
fn what_waits_in_the_backlog_is_not_counted_with_a_fin_behind_a_hole() {
    let mut world = World::new();
    let mut end = Socket::client(&mut world, 5);
    has_backlog(&mut end, true);
    end.evidence.flags.fin_out_of_order = true;
    end.evidence.tcp.out_of_order = 1;
    end.evidence.flags.linger_zero = true;
    end.closes(&mut world, TcpState::Close);
    world.signal(5, reset_sent(None));
    assert_closed(&world.close(), ClosePath::Reset, Initiator::Peer, None);
}

#[test]
fn a_fin_while_the_peers_is_out_of_order_crosses_it_and_leaves_the_path_open() {
    let mut world = World::new();
    let mut end = Socket::client(&mut world, 5);
    end.evidence.flags.fin_out_of_order = true;
    end.evidence.tcp.out_of_order = 1;
    end.closes_first(&mut world);
    end.evidence.flags.fin_out_of_order = false;
    world.pass_ms(50);
    end.receives(100, 100);
    end.enters_time_wait(&mut world);
    let close = world.close();
    assert_eq!(
        (
            close.path,
            close.initiator,
            close.segments,
            close.half_close
        ),
        (ClosePath::Unknown, Initiator::Both, None, None)
    );
}

#[test]
fn a_fin_that_came_with_the_ack_and_waited_for_data_is_not_counted_twice() {
    let mut world = World::new();
    let mut end = Socket::client(&mut world, 5);
    end.closes_first(&mut world);
    // It carried the ACK, and went to the out-of-order queue only after that was taken.
    end.evidence.tcp.out_of_order = 1;
    world.pass_ms(50);
    end.receives(100, 100);
    end.enters_time_wait(&mut world);
    assert_closed(&world.close(), ClosePath::Unknown, Initiator::Local, None);
}

#[test]
fn an_abort_over_a_backlog_has_no_known_initiator() {
    let mut world = World::new();
    let mut end = Socket::client(&mut world, 5);
    has_backlog(&mut end, true);
    end.receives(5, 0);
    end.closes(&mut world, TcpState::Close);
    world.signal(5, reset_sent(None));
    assert_closed(&world.close(), ClosePath::Reset, Initiator::Unknown, None);
}

#[test]
fn a_fin_over_a_backlog_is_the_first_if_its_ack_came_before_the_peers_fin() {
    let mut world = World::new();
    let mut end = Socket::client(&mut world, 5);
    has_backlog(&mut end, true);
    end.closes(&mut world, TcpState::FinWait1);
    has_backlog(&mut end, false);
    end.is_acknowledged();
    end.to(&mut world, TcpState::FinWait2);
    world.pass_ms(1);
    end.enters_time_wait(&mut world);
    assert_closed(
        &world.close(),
        ClosePath::FourWay,
        Initiator::Local,
        Some(4),
    );
}

#[test]
fn a_fin_over_a_backlog_that_meets_a_rst_may_be_the_second() {
    let mut world = World::new();
    let mut end = Socket::client(&mut world, 5);
    has_backlog(&mut end, true);
    end.closes(&mut world, TcpState::FinWait1);
    end.evidence.tcp.error = 104;
    world.signal(5, SignalKind::ResetReceived);
    end.to(&mut world, TcpState::Close);
    world.pass_ms(20);
    assert_closed(&world.close(), ClosePath::Reset, Initiator::Unknown, None);
}

#[test]
fn a_rst_that_is_taken_from_the_backlog_is_the_peers() {
    let mut world = World::new();
    let mut end = Socket::client(&mut world, 5);
    has_backlog(&mut end, true);
    end.evidence.tcp.error = 104;
    world.signal(5, SignalKind::ResetReceived);
    end.to(&mut world, TcpState::Close);
    assert_closed(&world.close(), ClosePath::Reset, Initiator::Peer, Some(1));
}

#[test]
fn half_close_is_not_measured_from_a_fin_that_waited() {
    for waits in [false, true] {
        let mut world = World::new();
        let mut end = Socket::client(&mut world, 5);
        let sent = end.evidence.tcp.snd_nxt;
        if waits {
            end.evidence.tcp.write_seq = sent.wrapping_add(1000);
        }
        end.closes(&mut world, TcpState::FinWait1);
        world.pass_ms(400);
        end.is_acknowledged();
        end.to(&mut world, TcpState::FinWait2);
        world.pass_ms(10);
        end.receives(14, 14);
        end.enters_time_wait(&mut world);
        let expected = HalfClose {
            by: Side::Local,
            lasted: Nanos::from_millis(410),
            bytes_sent: 0,
            bytes_received: 14,
        };
        assert_eq!(world.close().half_close, (!waits).then_some(expected));
    }
}

#[test]
fn half_close_does_not_end_with_the_call_of_a_fin_that_waited() {
    let mut world = World::new();
    let mut end = Socket::server(&mut world, 5);
    end.receives_fin();
    end.to(&mut world, TcpState::CloseWait);
    end.acknowledges();
    world.pass_ms(10);
    end.sends(100);
    end.evidence.tcp.write_seq = end.evidence.tcp.write_seq.wrapping_add(1000);
    end.closes(&mut world, TcpState::LastAck);
    world.pass_ms(400);
    end.is_acknowledged();
    end.to(&mut world, TcpState::Close);
    assert_eq!(world.close().half_close, None);
}

/// The socket has sent `bytes` that have not been acknowledged.
fn has_in_flight(socket: &mut Socket, bytes: u32) {
    let evidence = &mut socket.evidence;
    evidence.tcp.write_seq = evidence.tcp.write_seq.wrapping_add(bytes);
    evidence.tcp.snd_nxt = evidence.tcp.write_seq;
}

/// Ten segments are in flight, and the first of them is acknowledged a round trip later.
#[test]
fn a_fin_that_the_congestion_window_may_hold_has_no_time() {
    for (in_flight, retransmits, is_certain) in [
        (500, 0, true),
        (500, 1, false),
        (14_480, 0, false),
        (0, 1, true),
    ] {
        let mut world = World::new();
        let mut end = Socket::server(&mut world, 5);
        end.receives_fin();
        end.to(&mut world, TcpState::CloseWait);
        end.acknowledges();
        world.pass_ms(10);
        end.sends(100);
        end.evidence.tcp.retransmits = retransmits;
        has_in_flight(&mut end, in_flight);
        end.closes(&mut world, TcpState::LastAck);
        world.pass_ms(40);
        end.is_acknowledged();
        end.to(&mut world, TcpState::Close);
        let close = world.close();
        let fin = close
            .steps
            .iter()
            .find(|step| step.from == Side::Local && step.flags == SegmentFlags::FinAck);
        assert_eq!(fin.expect("a FIN").at.is_some(), is_certain, "{in_flight}");
        assert_eq!(close.half_close.is_some(), is_certain, "{in_flight}");
    }
}
