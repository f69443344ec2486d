//! Resets and refusals, seen from both sides.

use tcpclose_common::TcpState;
use tcpclose_core::event::{Segment, SignalKind};
use tcpclose_core::finding::{ClosePath, Initiator, Reset, ResetReason, Side};

use crate::scenarios::{states, steps};
use crate::socket::{Socket, World, reset_sent};

const ABORT: SignalKind = reset_sent(None);

#[test]
fn close_with_unread_data_resets_and_the_rst_is_reported_after_the_transition() {
    let mut world = World::new();
    let mut end = Socket::server(&mut world, 5);
    end.receives(5, 0);
    end.closes(&mut world, TcpState::Close);
    assert!(world.findings().is_empty(), "the RST is still to come");
    world.signal(5, reset_sent(Some("TCP_ABORT_ON_CLOSE")));
    world.pass_ms(20);
    let close = world.close();
    assert_eq!(
        (close.path, close.initiator),
        (ClosePath::Reset, Initiator::Local)
    );
    assert_eq!(
        close.reset,
        Some(Reset {
            by: Side::Local,
            reason: Some(ResetReason::UnreadData),
            kernel_reason: Some("TCP_ABORT_ON_CLOSE")
        })
    );
    assert_eq!(steps(&close), ["local RST,ACK 1 6"]);
    assert_eq!(close.segments, Some(1));
}

#[test]
fn the_peer_of_an_abort_names_no_motive() {
    let mut world = World::new();
    let mut end = Socket::client(&mut world, 5);
    end.sends(5);
    end.evidence.tcp.error = 104;
    world.signal(5, SignalKind::ResetReceived);
    end.to(&mut world, TcpState::Close);
    let close = world.close();
    assert_eq!(
        (close.path, close.initiator),
        (ClosePath::Reset, Initiator::Peer)
    );
    assert_eq!(
        close.reset,
        Some(Reset {
            by: Side::Peer,
            reason: None,
            kernel_reason: None
        })
    );
    assert_eq!(steps(&close), ["~peer RST,ACK 1 6"]);
}

#[test]
fn linger_zero_resets() {
    let mut world = World::new();
    let mut end = Socket::client(&mut world, 5);
    end.evidence.flags.linger_zero = true;
    end.closes(&mut world, TcpState::Close);
    world.signal(5, ABORT);
    world.pass_ms(20);
    let close = world.close();
    assert_eq!(
        close.reset.as_ref().map(|reset| reset.reason),
        Some(Some(ResetReason::Linger))
    );
    assert_eq!(steps(&close), ["local RST,ACK 1 1"]);
}

#[test]
fn an_abort_whose_rst_was_never_reported_is_inferred() {
    let mut world = World::new();
    let mut end = Socket::client(&mut world, 5);
    end.evidence.flags.linger_zero = true;
    end.closes(&mut world, TcpState::Close);
    world.pass_ms(20);
    assert_eq!(steps(&world.close()), ["~local RST,ACK 1 1"]);
}

#[test]
fn linger_zero_after_the_peers_fin_is_a_reset_that_the_peer_began() {
    let mut world = World::new();
    let mut end = Socket::server(&mut world, 5);
    end.receives_fin();
    end.to(&mut world, TcpState::CloseWait);
    end.acknowledges();
    end.evidence.flags.linger_zero = true;
    world.pass_ms(3);
    end.closes(&mut world, TcpState::Close);
    world.signal(5, ABORT);
    world.pass_ms(20);
    let close = world.close();
    assert_eq!(
        (close.path, close.initiator, close.segments),
        (ClosePath::Reset, Initiator::Peer, Some(3))
    );
    assert_eq!(
        steps(&close),
        ["peer FIN,ACK 1 1", "local ACK 1 2", "local RST,ACK 1 2"]
    );
}

#[test]
fn a_refused_connect_never_opened() {
    let mut world = World::new();
    let mut end = Socket::connecting(&mut world, 5);
    world.pass_ms(7);
    end.evidence.tcp.error = 111;
    world.signal(5, SignalKind::ResetReceived);
    end.to(&mut world, TcpState::Close);
    let close = world.close();
    assert_eq!(
        (close.path, close.initiator),
        (ClosePath::ConnectFailed, Initiator::Peer)
    );
    assert_eq!(
        close.reset.as_ref().and_then(|reset| reset.reason),
        Some(ResetReason::NoSocket)
    );
    assert_eq!(close.endpoint.opened, None);
    assert_eq!(states(&close), [("SYN_SENT", Some(7))]);
    assert_eq!(
        close.endpoint.lifetime.map(|lifetime| lifetime.0),
        Some(7_000_000)
    );
    assert_eq!(close.owner.unwrap().pid, 77);
}

#[test]
fn an_unanswered_connect_has_no_initiator() {
    let mut world = World::new();
    let mut end = Socket::connecting(&mut world, 5);
    end.evidence.tcp.error = 110;
    end.to(&mut world, TcpState::Close);
    let close = world.close();
    assert_eq!(
        (close.path, close.initiator),
        (ClosePath::ConnectFailed, Initiator::Unknown)
    );
    assert_eq!(close.reset, None);
}

#[test]
fn a_listener_closed_over_its_accept_queue_resets_what_waits_in_it() {
    let mut world = World::new();
    let mut end = Socket::server(&mut world, 5);
    end.evidence.flags.no_socket = true;
    end.to(&mut world, TcpState::Close);
    world.signal(5, ABORT);
    world.pass_ms(20);
    let close = world.close();
    assert_eq!(
        close.reset.and_then(|reset| reset.reason),
        Some(ResetReason::NotAccepted)
    );
    assert_eq!(close.owner, None, "who was on the CPU is no owner");
}

#[test]
fn sock_destroy_is_reported_as_such() {
    let mut world = World::new();
    let mut end = Socket::client(&mut world, 5);
    end.evidence.tcp.error = 103;
    world.signal(5, ABORT);
    end.to(&mut world, TcpState::Close);
    let close = world.close();
    assert_eq!(
        (close.path, close.initiator),
        (ClosePath::Destroyed, Initiator::Local)
    );
    assert_eq!(
        close.reset.and_then(|reset| reset.reason),
        Some(ResetReason::Destroyed)
    );
}

/// The function that sends the RST closes the socket; a machine that is emulated, or that loses its
/// processor, may take long for that.
#[test]
fn a_rst_of_its_own_accord_belongs_to_the_close_that_comes_late() {
    let mut world = World::new();
    let mut end = Socket::client(&mut world, 5);
    end.evidence.tcp.error = 103;
    world.signal(5, ABORT);
    world.pass_ms(60);
    end.to(&mut world, TcpState::Close);
    let close = world.close();
    assert_eq!(close.initiator, Initiator::Local);
    assert_eq!(steps(&close), ["local RST,ACK 1 1"]);
}

/// One that answers a segment does not: the connection lived on.
#[test]
fn a_rst_that_answered_a_segment_long_before_the_close_does_not_belong_to_it() {
    let mut world = World::new();
    let mut end = Socket::client(&mut world, 5);
    end.evidence.tcp.error = 103;
    let answer = SignalKind::ResetSent {
        reason: None,
        answers: Some(Segment {
            fin: false,
            rst: false,
            has_ack: true,
            seq: 7,
            end: 7,
            ack: 9,
        }),
        minisocket: false,
    };
    world.signal(5, answer);
    world.pass_ms(60);
    end.to(&mut world, TcpState::Close);
    world.pass_ms(60);
    let close = world.close();
    assert!(close.reset.is_none() && close.steps.is_empty(), "{close:?}");
}

#[test]
fn data_for_a_closed_socket_is_reset_by_us_though_the_kernel_blames_the_peer() {
    let mut world = World::new();
    let mut end = Socket::client(&mut world, 5);
    end.evidence.flags.dead = true;
    end.closes_first(&mut world);
    end.evidence.tcp.error = 104;
    world.signal(5, SignalKind::ResetReceived);
    end.to(&mut world, TcpState::Close);
    world.signal(5, ABORT);
    world.pass_ms(20);
    let reset = world.close().reset.unwrap();
    assert_eq!(
        (reset.by, reset.reason),
        (Side::Local, Some(ResetReason::DataAfterClose))
    );
}

#[test]
fn a_peer_that_stays_silent_makes_a_timeout() {
    let mut world = World::new();
    let mut end = Socket::client(&mut world, 5);
    end.closes(&mut world, TcpState::FinWait1);
    end.evidence.tcp.error = 110;
    end.to(&mut world, TcpState::Close);
    let close = world.close();
    assert_eq!(
        (close.path, close.initiator, close.segments),
        (ClosePath::Timeout, Initiator::Local, None)
    );
    assert_eq!(steps(&close), ["local FIN,ACK 1 1"]);
}

#[test]
fn a_fin_that_never_left_began_nothing() {
    let mut world = World::new();
    let mut end = Socket::client(&mut world, 5);
    let sent = end.evidence.tcp.snd_nxt;
    end.evidence.tcp.write_seq = end.evidence.tcp.write_seq.wrapping_add(1000);
    end.closes(&mut world, TcpState::FinWait1);
    end.evidence.tcp.snd_nxt = sent;
    end.evidence.tcp.error = 104;
    world.signal(5, SignalKind::ResetReceived);
    end.to(&mut world, TcpState::Close);
    world.pass_ms(20);
    let close = world.close();
    assert_eq!(
        (close.path, close.initiator),
        (ClosePath::Reset, Initiator::Peer)
    );
    assert_eq!(close.segments, Some(1));
}

#[test]
fn an_abort_behind_ones_own_fin_is_no_minisocket() {
    for linger_zero in [true, false] {
        let mut world = World::new();
        let mut end = Socket::client(&mut world, 5);
        end.closes_first(&mut world);
        end.receives(10, if linger_zero { 10 } else { 0 });
        end.evidence.flags.linger_zero = linger_zero;
        end.to(&mut world, TcpState::Close);
        world.signal(5, ABORT);
        let close = world.close();
        assert_eq!(
            (close.path, close.initiator),
            (ClosePath::Reset, Initiator::Local)
        );
        let reason = if linger_zero {
            ResetReason::Linger
        } else {
            ResetReason::UnreadData
        };
        assert_eq!(close.reset.as_ref().unwrap().reason, Some(reason));
        assert_eq!(steps(&close)[2], "local RST,ACK 2 11");
        assert_eq!(world.tracker.waiting_for_fin(), 0);
    }
}

#[test]
fn an_abort_in_last_ack_is_no_orderly_end() {
    let mut world = World::new();
    let mut end = Socket::server(&mut world, 5);
    end.receives_fin();
    end.to(&mut world, TcpState::CloseWait);
    end.closes(&mut world, TcpState::LastAck);
    end.evidence.flags.linger_zero = true;
    end.to(&mut world, TcpState::Close);
    world.signal(5, ABORT);
    assert_eq!(world.close().path, ClosePath::Reset);
}

#[test]
fn a_rst_that_answers_a_stray_segment_ends_nothing() {
    let mut world = World::new();
    let mut end = Socket::connecting(&mut world, 5);
    // The answer to a challenge ACK; the connection is opened all the same.
    world.signal(5, reset_sent(Some("TCP_INVALID_ACK_SEQUENCE")));
    end.evidence.tcp.bytes_acked = 1;
    end.tuple = crate::socket::tuple(40_000, 3306);
    end.to(&mut world, TcpState::Established);
    world.pass_ms(100);
    world.signal(5, reset_sent(None));
    world.pass_ms(100);
    end.closes_first(&mut world);
    end.enters_time_wait(&mut world);
    let close = world.close();
    assert_eq!((close.path, close.reset), (ClosePath::FourWay, None));
}

#[test]
fn an_ack_whose_segment_the_closed_socket_refused_is_inferred() {
    let mut world = World::new();
    let mut end = Socket::client(&mut world, 5);
    end.evidence.flags.dead = true;
    end.closes_first(&mut world);
    end.evidence.tcp.error = 104;
    end.to(&mut world, TcpState::Close);
    world.signal(5, ABORT);
    assert_eq!(steps(&world.close())[1], "~peer ACK 1 2");
}

#[test]
fn connect_to_nowhere_is_a_disconnect() {
    let mut world = World::new();
    let mut end = Socket::client(&mut world, 5);
    end.evidence.flags.lock_owned = true;
    end.closes(&mut world, TcpState::Close);
    world.signal(5, ABORT);
    let reset = world.close().reset.unwrap();
    assert_eq!(reset.reason, Some(ResetReason::Disconnect));
}

#[test]
fn the_kernels_own_reason_goes_before_ours() {
    let mut world = World::new();
    let mut end = Socket::client(&mut world, 5);
    end.evidence.flags.dead = true;
    end.closes_first(&mut world);
    end.to(&mut world, TcpState::Close);
    world.signal(5, reset_sent(Some("TCP_ABORT_ON_DATA")));
    let reset = world.close().reset.unwrap();
    assert_eq!(reset.reason, Some(ResetReason::DataAfterClose));
}

#[test]
fn a_connection_that_is_moved_elsewhere_is_not_reset() {
    for (state, path) in [
        (TcpState::Established, ClosePath::Unknown),
        (TcpState::CloseWait, ClosePath::Unknown),
    ] {
        let mut world = World::new();
        let mut end = Socket::server(&mut world, 5);
        if state == TcpState::CloseWait {
            end.receives_fin();
            end.to(&mut world, state);
        }
        end.evidence.flags.repair = true;
        end.evidence.flags.lock_owned = true;
        end.closes(&mut world, TcpState::Close);
        world.pass_ms(20);
        let close = world.close();
        assert_eq!((close.path, &close.reset), (path, &None));
        assert_eq!(close.segments, None);
        assert!(close.steps.iter().all(|step| !step.is_reset()));
    }
}
