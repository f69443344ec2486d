//! Closes by unusual system calls and options: `TCP_REPAIR`, `TCP_LINGER2`, `SO_LINGER` late in a
//! close, a socket that is connected to itself.

use tcpclose_common::TcpState;
use tcpclose_core::event::{Segment, SignalKind};
use tcpclose_core::finding::{Bytes, ClosePath, Initiator};
use tcpclose_core::types::Role;

use crate::scenarios::{states, steps};
use crate::socket::{IRS, Socket, World, reset_sent, tuple};

#[test]
fn linger_zero_sends_no_rst_where_only_the_ack_of_the_fin_is_missing() {
    for crossing in [false, true] {
        let mut world = World::new();
        let mut end = Socket::server(&mut world, 5);
        if crossing {
            end.closes(&mut world, TcpState::FinWait1);
            end.receives_fin();
            end.acknowledges();
            end.to(&mut world, TcpState::Closing);
        } else {
            end.receives_fin();
            end.to(&mut world, TcpState::CloseWait);
            end.acknowledges();
            end.closes(&mut world, TcpState::LastAck);
        }
        end.evidence.flags.linger_zero = true;
        end.evidence.flags.lock_owned = true;
        end.to(&mut world, TcpState::Close);
        assert!(world.findings().is_empty(), "a RST may still come");
        world.pass_ms(20);
        let close = world.close();
        let initiator = if crossing {
            Initiator::Both
        } else {
            Initiator::Peer
        };
        assert_eq!(
            (close.path, close.initiator, close.segments, &close.reset),
            (ClosePath::Unknown, initiator, None, &None)
        );
        assert!(close.steps.iter().all(|step| !step.is_reset()));
        assert_eq!(world.tracker.in_time_wait(), 0);
    }
}

#[test]
fn linger_zero_with_a_fin_that_has_not_left_sends_a_rst() {
    let mut world = World::new();
    let mut end = Socket::server(&mut world, 5);
    end.receives_fin();
    end.to(&mut world, TcpState::CloseWait);
    end.acknowledges();
    let sent = end.evidence.tcp.snd_nxt;
    end.evidence.tcp.write_seq = sent.wrapping_add(1000);
    end.closes(&mut world, TcpState::LastAck);
    end.evidence.tcp.snd_nxt = sent;
    end.evidence.flags.linger_zero = true;
    end.to(&mut world, TcpState::Close);
    world.signal(5, reset_sent(Some("TCP_DISCONNECT_WITH_DATA")));
    let close = world.close();
    assert_eq!(
        (close.path, close.initiator),
        (ClosePath::Reset, Initiator::Peer)
    );
}

#[test]
fn a_negative_linger2_is_no_so_linger() {
    for reason in [Some("TCP_ABORT_ON_LINGER"), None] {
        let mut world = World::new();
        let mut end = Socket::client(&mut world, 5);
        end.closes_first(&mut world);
        end.evidence.flags.dead = true;
        end.evidence.flags.lock_owned = true;
        end.to(&mut world, TcpState::Close);
        world.signal(5, reset_sent(reason));
        let close = world.close();
        assert_eq!(
            (close.path, close.initiator),
            (ClosePath::Reset, Initiator::Local)
        );
        let reset = close.reset.as_ref().unwrap();
        assert_eq!((reset.reason, reset.kernel_reason), (None, reason));
        assert_eq!(steps(&close)[2], "local RST,ACK 2 1");
    }
}

#[test]
fn an_ack_that_a_negative_linger2_refuses_is_no_data() {
    let mut world = World::new();
    let mut end = Socket::client(&mut world, 5);
    end.evidence.flags.dead = true;
    end.closes_first(&mut world);
    end.to(&mut world, TcpState::Close);
    let refused = Segment {
        fin: false,
        rst: false,
        has_ack: true,
        seq: IRS.wrapping_add(1),
        end: IRS.wrapping_add(1),
        ack: end.evidence.tcp.snd_nxt,
    };
    world.signal(
        5,
        SignalKind::ResetSent {
            reason: Some("TCP_ABORT_ON_DATA"),
            answers: Some(refused),
            minisocket: false,
        },
    );
    let reset = world.close().reset.unwrap();
    assert_eq!(reset.reason, None);
}

/// connect() under TCP_REPAIR passes SYN_SENT and ESTABLISHED in one call, without a segment.
fn restored(world: &mut World) -> Socket {
    let mut end = Socket::restoring(world, 5);
    world.pass_ms(1);
    end.tuple = tuple(3306, 40_000);
    end.to(world, TcpState::Established);
    end.evidence.flags.repair = false;
    end
}

#[test]
fn a_restored_connection_has_neither_role_nor_beginning_nor_numbers() {
    let mut world = World::new();
    let mut end = restored(&mut world);
    world.pass_ms(50);
    end.sends(5);
    end.receives(7, 7);
    end.receives_fin();
    end.to(&mut world, TcpState::CloseWait);
    end.acknowledges();
    world.pass_ms(1);
    end.closes(&mut world, TcpState::LastAck);
    end.is_acknowledged();
    end.to(&mut world, TcpState::Close);
    let close = world.close();
    assert_eq!(
        (close.path, close.initiator, close.segments),
        (ClosePath::FourWay, Initiator::Peer, Some(4))
    );
    assert_eq!(close.endpoint.role, Role::Unknown);
    assert!(!close.endpoint.seen_from_start);
    assert_eq!(
        (close.endpoint.opened, close.endpoint.lifetime),
        (None, None)
    );
    assert_eq!(close.bytes, Bytes::default());
    assert_eq!(close.retransmits, None);
    assert_eq!(states(&close)[0], ("ESTABLISHED", None));
    assert_eq!(
        steps(&close),
        [
            "peer FIN,ACK - -",
            "local ACK - -",
            "local FIN,ACK - -",
            "peer ACK - -"
        ]
    );
}

#[test]
fn a_restored_connection_that_is_reset_has_no_numbers() {
    let mut world = World::new();
    let mut end = restored(&mut world);
    end.receives(7, 0);
    end.closes(&mut world, TcpState::Close);
    world.signal(5, reset_sent(None));
    let close = world.close();
    assert_eq!((close.path, close.segments), (ClosePath::Reset, Some(1)));
    assert_eq!(steps(&close), ["~local RST,ACK - -"]);
    assert_eq!(close.bytes, Bytes::default());
}

#[test]
fn a_socket_that_is_connected_to_itself_sends_two_segments() {
    let mut world = World::new();
    let mut end = Socket::client_on(&mut world, 5, 3306);
    end.closes(&mut world, TcpState::FinWait1);
    end.receives_fin();
    end.acknowledges();
    end.to(&mut world, TcpState::Closing);
    end.is_acknowledged();
    end.to(&mut world, TcpState::Close);
    let close = world.close();
    assert_eq!(
        (close.path, close.initiator, close.segments),
        (ClosePath::Simultaneous, Initiator::Both, Some(2))
    );
    assert_eq!(steps(&close), ["local FIN,ACK 1 1", "local ACK 2 2"]);
}
