//! FINs that a firewall or a queue of this host drops: the kernel tries again, and counts each try
//! as a segment.

use tcpclose_common::TcpState;
use tcpclose_core::finding::ClosePath;

use crate::socket::{Socket, World};

#[test]
fn a_fin_that_ip_refused_at_first_has_no_time() {
    for refused in [false, true] {
        let mut world = World::new();
        let mut end = Socket::client(&mut world, 5);
        end.closes(&mut world, TcpState::FinWait1);
        world.pass_ms(500);
        end.evidence.tcp.segs_out += u32::from(refused);
        end.is_acknowledged();
        end.to(&mut world, TcpState::FinWait2);
        world.pass_ms(3);
        end.enters_time_wait(&mut world);
        let close = world.close();
        assert_eq!((close.path, close.segments), (ClosePath::FourWay, Some(4)));
        assert_eq!(close.steps[0].at.is_none(), refused);
        assert_eq!(close.half_close.is_none(), refused);
    }
}

#[test]
fn acks_of_what_comes_meanwhile_are_no_tries_to_send_the_fin() {
    let mut world = World::new();
    let mut end = Socket::client(&mut world, 5);
    end.closes(&mut world, TcpState::FinWait1);
    end.receives(100, 100);
    end.receives(100, 100);
    end.is_acknowledged();
    end.to(&mut world, TcpState::FinWait2);
    end.enters_time_wait(&mut world);
    let close = world.close();
    assert!(close.steps[0].at.is_some());
    assert_eq!(close.half_close.unwrap().bytes_received, 200);
}

#[test]
fn how_a_fin_was_acknowledged_is_unknown_where_the_answer_was_refused_at_first() {
    for (refused, expected) in [(false, ClosePath::ThreeWay), (true, ClosePath::Unknown)] {
        let mut world = World::new();
        let mut end = Socket::server(&mut world, 5);
        end.receives_fin();
        end.to(&mut world, TcpState::CloseWait);
        end.closes(&mut world, TcpState::LastAck);
        end.evidence.tcp.segs_out += u32::from(refused);
        end.is_acknowledged();
        end.to(&mut world, TcpState::Close);
        assert_eq!(world.close().path, expected);
    }
}
