//! A FIN overtakes the ACK before it, on another processor: the socket that takes the FIN has not
//! counted the ACK, and only the end that has sent both shows it.

use tcpclose_common::TcpState;
use tcpclose_core::finding::{Close, ClosePath, Initiator};
use tcpclose_core::types::EndpointId;

use super::{CLIENT, SERVER, close_of, connected};
use crate::scenarios::steps;
use crate::socket::{Socket, World};

/// The server takes FIN and ACK as one segment, and is in TIME_WAIT.
fn takes_one_segment(world: &mut World, server: &mut Socket) {
    server.is_acknowledged();
    server.to(world, TcpState::FinWait2);
    server.receives_fin();
    server.evidence.tcp.segs_in -= 1;
    server.acknowledges();
    server.to(world, TcpState::Close);
}

/// The close of the server, which closed first, and whose client answered with a FIN after so many
/// ACKs. `client_ends`: whether the client's end is seen first.
fn server_close(acks: usize, client_ends: bool) -> Close {
    let mut world = World::new();
    let (mut client, mut server) = connected(&mut world);
    server.closes(&mut world, TcpState::FinWait1);
    client.receives_fin();
    client.to(&mut world, TcpState::CloseWait);
    for _ in 0..acks {
        client.acknowledges();
    }
    client.closes(&mut world, TcpState::LastAck);
    if client_ends {
        client.is_acknowledged();
        client.to(&mut world, TcpState::Close);
    }
    takes_one_segment(&mut world, &mut server);
    close_of(&world.findings(), SERVER).clone()
}

#[test]
fn a_fin_that_overtook_the_ack_before_it_makes_no_three_way_close() {
    for client_ends in [false, true] {
        let close = server_close(1, client_ends);
        assert_eq!((close.path, close.segments), (ClosePath::Unknown, None));
        assert_eq!(close.initiator, Initiator::Local);
        assert!(close.half_close.is_none(), "it may be none");
        let known = ["local FIN,ACK 1 1", "peer FIN,ACK 1 2", "local ACK 2 2"];
        assert_eq!(steps(&close), known, "what it took is known");
    }
}

#[test]
fn the_client_shows_that_its_fin_was_its_first_ack() {
    for client_ends in [false, true] {
        let close = server_close(0, client_ends);
        assert_eq!((close.path, close.segments), (ClosePath::ThreeWay, Some(3)));
    }
}

#[test]
fn a_client_whose_ack_was_not_seen_proves_nothing() {
    let mut world = World::new();
    let (mut client, mut server) = connected(&mut world);
    server.closes(&mut world, TcpState::FinWait1);
    // The record of CLOSE_WAIT is lost.
    client.receives_fin();
    client.state = TcpState::CloseWait;
    client.closes(&mut world, TcpState::LastAck);
    takes_one_segment(&mut world, &mut server);
    let close = close_of(&world.findings(), SERVER).clone();
    assert_eq!((close.path, close.segments), (ClosePath::Unknown, None));
}

#[test]
fn segments_of_another_host_arrive_in_one_queue_and_those_of_this_one_need_not() {
    for (is_remote, path) in [(true, ClosePath::ThreeWay), (false, ClosePath::Unknown)] {
        let mut world = World::new();
        let mut server = if is_remote {
            Socket::remote_server(&mut world, SERVER)
        } else {
            Socket::server(&mut world, SERVER)
        };
        server.closes(&mut world, TcpState::FinWait1);
        takes_one_segment(&mut world, &mut server);
        let findings = world.findings();
        let close = close_of(&findings, SERVER);
        assert_eq!(close.endpoint.peer, None, "the other end is not seen");
        assert_eq!(close.path, path);
    }
}

#[test]
fn both_ends_of_an_overtaken_ack_name_each_other() {
    let close = server_close(1, true);
    assert_eq!(close.endpoint.peer, Some(EndpointId(CLIENT)));
}
