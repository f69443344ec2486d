//! Errors of a socket that did not end its connection: ICMP reports, with and without IP_RECVERR.

use tcpclose_common::TcpState;
use tcpclose_core::MinisocketState;
use tcpclose_core::event::SignalKind;
use tcpclose_core::finding::{ClosePath, Initiator, ResetReason, Side};
use tcpclose_core::types::Nanos;

use crate::socket::{Socket, World, reset_sent};

const EHOSTUNREACH: u16 = 113;
const ECONNREFUSED: u16 = 111;
const ETIMEDOUT: u16 = 110;
/// What ICMP and ICMPv6 report with each of their codes (icmp_err_convert, tab_unreach).
const FROM_ICMP: [u16; 8] = [13, 71, 92, 95, 101, ECONNREFUSED, 112, EHOSTUNREACH];

#[test]
fn a_connect_that_icmp_refused_was_not_reset() {
    for error in FROM_ICMP {
        let mut world = World::new();
        let mut end = Socket::connecting(&mut world, 5);
        end.evidence.tcp.error = error;
        end.to(&mut world, TcpState::Close);
        world.pass_ms(20);
        let close = world.close();
        assert_eq!(
            (close.path, close.initiator, close.segments, &close.reset),
            (ClosePath::ConnectFailed, Initiator::Unknown, Some(0), &None),
            "errno {error}"
        );
        assert!(close.steps.is_empty());
    }
}

#[test]
fn a_refused_connect_that_received_something_may_have_been_reset() {
    let mut world = World::new();
    let mut end = Socket::connecting(&mut world, 5);
    end.evidence.tcp.error = ECONNREFUSED;
    end.evidence.tcp.segs_in = 1;
    end.to(&mut world, TcpState::Close);
    let close = world.close();
    assert_eq!(
        (close.path, close.segments),
        (ClosePath::ConnectFailed, None)
    );
    assert_eq!(close.reset, None);
}

#[test]
fn an_orderly_close_stays_one_whatever_icmp_reported_before() {
    for error in FROM_ICMP {
        // The side that closes first, up to TIME_WAIT.
        let mut world = World::new();
        let mut end = Socket::client(&mut world, 5);
        end.evidence.tcp.error = error;
        end.closes_first(&mut world);
        world.pass_ms(1);
        end.enters_time_wait(&mut world);
        let close = world.close();
        assert_eq!(
            (close.path, close.initiator, close.segments, &close.reset),
            (ClosePath::FourWay, Initiator::Local, Some(4), &None)
        );
        assert_eq!(world.tracker.in_time_wait(), 1);

        // The side that closes second.
        let mut world = World::new();
        let mut end = Socket::server(&mut world, 5);
        end.receives_fin();
        end.to(&mut world, TcpState::CloseWait);
        end.acknowledges();
        end.evidence.tcp.error = error;
        end.closes(&mut world, TcpState::LastAck);
        end.is_acknowledged();
        end.to(&mut world, TcpState::Close);
        let close = world.close();
        assert_eq!(
            (close.path, close.initiator, close.segments, &close.reset),
            (ClosePath::FourWay, Initiator::Peer, Some(4), &None)
        );

        // FINs that cross.
        let mut world = World::new();
        let mut end = Socket::client(&mut world, 5);
        end.evidence.tcp.error = error;
        end.closes(&mut world, TcpState::FinWait1);
        world.pass_ms(1);
        end.receives_fin();
        end.acknowledges();
        end.to(&mut world, TcpState::Closing);
        end.is_acknowledged();
        end.to(&mut world, TcpState::Close);
        let close = world.close();
        assert_eq!(
            (close.path, close.segments, &close.reset),
            (ClosePath::Simultaneous, Some(4), &None)
        );
    }
}

#[test]
fn an_earlier_error_does_not_hide_the_minisocket_that_waits_for_the_fin() {
    let mut world = World::new();
    let mut end = Socket::client(&mut world, 5);
    end.evidence.tcp.error = EHOSTUNREACH;
    end.evidence.flags.dead = true;
    end.closes_first(&mut world);
    end.to(&mut world, TcpState::Close);
    world.pass_ms(20);
    assert!(world.findings().is_empty());
    assert_eq!(world.tracker.waiting_for_fin(), 1);
    world.answer(MinisocketState::TimeWait(Nanos::from_millis(59_990)));
    assert_eq!(world.close().path, ClosePath::FourWay);
}

#[test]
fn an_abort_is_one_with_an_earlier_error_too() {
    let mut world = World::new();
    let mut end = Socket::client(&mut world, 5);
    end.evidence.tcp.error = EHOSTUNREACH;
    end.evidence.flags.linger_zero = true;
    end.evidence.flags.lock_owned = true;
    end.to(&mut world, TcpState::Close);
    assert!(world.findings().is_empty(), "the RST is still to come");
    world.signal(5, reset_sent(None));
    let close = world.close();
    assert_eq!(
        (close.path, close.initiator, close.segments),
        (ClosePath::Reset, Initiator::Local, Some(1))
    );
    let reset = close.reset.unwrap();
    assert_eq!(
        (reset.by, reset.reason),
        (Side::Local, Some(ResetReason::Linger))
    );
}

#[test]
fn a_timer_reports_what_icmp_reported_last() {
    for (error, state) in [
        (EHOSTUNREACH, TcpState::FinWait1),
        (ETIMEDOUT, TcpState::FinWait1),
    ] {
        let mut world = World::new();
        let mut end = Socket::client(&mut world, 5);
        end.closes(&mut world, state);
        end.evidence.tcp.error = error;
        end.to(&mut world, TcpState::Close);
        world.pass_ms(20);
        let close = world.close();
        assert_eq!((close.path, close.reset), (ClosePath::Timeout, None));
    }
}

#[test]
fn without_a_rst_an_earlier_error_leaves_an_end_under_the_lock_open() {
    let mut world = World::new();
    let mut end = Socket::client(&mut world, 5);
    end.evidence.tcp.error = EHOSTUNREACH;
    end.evidence.flags.lock_owned = true;
    end.to(&mut world, TcpState::Close);
    world.pass_ms(20);
    let close = world.close();
    assert_eq!(
        (close.path, close.initiator, close.segments, close.reset),
        (ClosePath::Unknown, Initiator::Unknown, None, None)
    );
}

#[test]
fn the_peers_rst_ends_a_connection_with_an_earlier_error() {
    let mut world = World::new();
    let mut end = Socket::client(&mut world, 5);
    end.evidence.tcp.error = EHOSTUNREACH;
    world.pass_ms(100);
    // tcp_reset() writes its own error over it.
    end.evidence.tcp.error = 104;
    world.signal(5, SignalKind::ResetReceived);
    end.to(&mut world, TcpState::Close);
    let close = world.close();
    assert_eq!(
        (close.path, close.initiator),
        (ClosePath::Reset, Initiator::Peer)
    );
}
