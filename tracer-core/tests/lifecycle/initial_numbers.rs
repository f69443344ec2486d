//! The initial sequence numbers, by which the two endpoints of a connection find each other.

use tcpclose_common::TcpState;
use tcpclose_core::finding::InitialSequenceNumbers;
use tcpclose_core::types::Role;

use crate::scenarios::steps;
use crate::socket::{IRS, ISS, Socket, World, tuple};

const BOTH: Option<InitialSequenceNumbers> = Some(InitialSequenceNumbers { iss: ISS, irs: IRS });

/// Closes the endpoint first, in order; returns its role and numbers.
fn close(mut world: World, mut end: Socket) -> (Role, Option<InitialSequenceNumbers>) {
    end.closes_first(&mut world);
    end.enters_time_wait(&mut world);
    let close = world.close();
    assert_eq!(
        steps(&close)[0].contains("FIN,ACK 1 1"),
        close.endpoint.initial.is_some(),
        "{:?}",
        close.steps
    );
    (close.endpoint.role, close.endpoint.initial)
}

/// A socket in SYN_SENT whose connect() nobody saw.
fn connecting_unseen(world: &mut World) -> Socket {
    let mut end = Socket::connecting(&mut World::new(), 5);
    end.tuple = tuple(40_000, 3306);
    end.evidence.tcp.bytes_acked = 1;
    end.evidence.tcp.snd_una = ISS.wrapping_add(1);
    end.evidence.tcp.rcv_nxt = IRS.wrapping_add(1);
    world.pass_ms(1);
    end
}

#[test]
fn both_ends_know_the_same_numbers() {
    let mut world = World::new();
    let client = Socket::client(&mut world, 5);
    assert_eq!(close(world, client), (Role::Client, BOTH));
    let mut world = World::new();
    let server = Socket::server(&mut world, 6);
    assert_eq!(close(world, server), (Role::Server, BOTH));
}

#[test]
fn what_leaves_syn_sent_is_a_client_also_where_its_connect_was_missed() {
    let mut world = World::new();
    let mut end = connecting_unseen(&mut world);
    end.to(&mut world, TcpState::Established);
    assert_eq!(close(world, end), (Role::Client, BOTH));
}

#[test]
fn a_restored_connection_has_none_also_where_its_connect_was_missed() {
    let mut world = World::new();
    let mut end = Socket::restoring(&mut world, 5);
    end.to(&mut world, TcpState::Established);
    assert_eq!(close(world, end), (Role::Unknown, None));

    let mut world = World::new();
    let mut end = connecting_unseen(&mut world);
    end.evidence.flags.repair = true;
    end.to(&mut world, TcpState::Established);
    end.evidence.flags.repair = false;
    assert_eq!(close(world, end), (Role::Unknown, None));
}

#[test]
fn a_connection_whose_start_was_not_seen_has_none() {
    let end = Socket::server(&mut World::new(), 5);
    assert_eq!(close(World::new(), end).1, None);
}

#[test]
fn a_simultaneous_open_that_was_missed_is_not_taken_for_a_passive_one() {
    let mut world = World::new();
    let mut end = connecting_unseen(&mut world);
    end.state = TcpState::SynRecv;
    end.to(&mut world, TcpState::Established);
    assert_eq!(close(world, end).1, None);
}
