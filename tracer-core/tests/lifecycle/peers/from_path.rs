//! Resets that neither endpoint has sent.

use tcpclose_common::TcpState;
use tcpclose_core::finding::{Cause, Finding, Loss, LossLocation};
use tcpclose_core::types::{EndpointId, Nanos};
use tcpclose_core::{Input, MinisocketState};

use super::{CLIENT, SERVER, close_of, connected, is_reset};
use crate::input_methods::InputMethods as _;
use crate::socket::{Socket, World, reset_sent};

/// A client that a RST has ended while its peer, here, is open; 20 ms later.
fn reset_from_somewhere(world: &mut World) -> (Socket, Socket) {
    let (mut client, server) = connected(world);
    is_reset(world, &mut client);
    world.pass_ms(19);
    assert!(world.findings().is_empty(), "the peer may have sent it");
    assert!(world.requests().is_empty());
    world.pass_ms(1);
    (client, server)
}

#[test]
fn a_reset_that_neither_end_has_sent_came_from_the_path() {
    let mut world = World::new();
    reset_from_somewhere(&mut world);
    assert!(world.findings().is_empty(), "the peer is to be probed");
    world.answer(MinisocketState::FullSocket);
    let close = world.close();
    assert_eq!(close.cause, Some(Cause::FromPath));
    assert_eq!(close.peer_cause, None);
    assert_eq!(close.at, world.now - Nanos::from_millis(20));
}

#[test]
fn a_reset_behind_the_peers_fin_came_from_the_path_if_that_is_open() {
    let mut world = World::new();
    let (mut client, mut server) = connected(&mut world);
    // shutdown(): it goes on reading.
    server.closes(&mut world, TcpState::FinWait1);
    client.receives_fin();
    client.to(&mut world, TcpState::CloseWait);
    server.is_acknowledged();
    server.to(&mut world, TcpState::FinWait2);
    client.sends(10);
    is_reset(&mut world, &mut client);
    world.pass_ms(20);
    world.answer(MinisocketState::FullSocket);
    assert_eq!(world.close().cause, Some(Cause::FromPath));
}

#[test]
fn a_peer_whose_last_records_are_missing_may_have_sent_the_reset() {
    for answer in [
        MinisocketState::Gone,
        MinisocketState::Unreachable,
        MinisocketState::FinWait2(Nanos(1)),
        MinisocketState::TimeWait(Nanos(1)),
    ] {
        let mut world = World::new();
        reset_from_somewhere(&mut world);
        world.answer(answer);
        let findings = world.findings();
        assert_eq!(close_of(&findings, CLIENT).cause, None, "{answer:?}");
    }
}

#[test]
fn an_answer_that_does_not_come_in_time_is_not_waited_for() {
    let mut world = World::new();
    reset_from_somewhere(&mut world);
    assert_eq!(world.requests().len(), 1);
    let deadline = world.tracker.next_deadline();
    assert_eq!(deadline, Some(world.now + Nanos::from_millis(1980)));
    world.pass_ms(1979);
    assert!(world.findings().is_empty());
    world.pass_ms(1);
    assert_eq!(world.close().cause, None);
    // It comes late.
    let at = world.now;
    let late = MinisocketState::FullSocket;
    world
        .tracker
        .apply_minisocket_probe(EndpointId(SERVER), late, at);
    assert!(world.findings().is_empty());
}

#[test]
fn an_answer_of_before_the_reset_proves_nothing() {
    let mut world = World::new();
    reset_from_somewhere(&mut world);
    let before = world.now - Nanos::from_millis(21);
    let open = MinisocketState::FullSocket;
    world
        .tracker
        .apply_minisocket_probe(EndpointId(SERVER), open, before);
    assert!(world.findings().is_empty());
}

#[test]
fn a_peer_that_closes_meanwhile_is_not_known_to_be_open() {
    let mut world = World::new();
    let (_client, mut server) = reset_from_somewhere(&mut world);
    server.evidence.flags.linger_zero = true;
    server.closes(&mut world, TcpState::Close);
    world.signal(SERVER, reset_sent(None));
    let findings = world.findings();
    let close = close_of(&findings, CLIENT);
    assert_eq!((close.cause, close.peer_cause), (None, Some(Cause::Linger)));
}

#[test]
fn after_a_loss_nothing_is_reported_to_come_from_the_path() {
    for location in [
        LossLocation::Ring,
        LossLocation::Program,
        LossLocation::Decode,
    ] {
        let mut world = World::new();
        let (mut client, _server) = connected(&mut world);
        is_reset(&mut world, &mut client);
        world.tracker.apply_input(Input::Loss(Loss {
            at: world.now,
            lost: 1,
            location,
            repaired: true,
            duration: None,
        }));
        world.pass_ms(20);
        world.findings();
        for request in world.requests() {
            let (at, open) = (world.now, MinisocketState::FullSocket);
            world.tracker.apply_minisocket_probe(request.id, open, at);
        }
        world.pass_ms(2000);
        let findings = world.findings();
        let causes = findings.iter().filter_map(|finding| match finding {
            Finding::Close(close) => close.cause,
            _ => None,
        });
        assert_eq!(causes.count(), 0, "{location}");
    }
}

#[test]
fn a_reset_that_resembles_ones_own_is_not_reported_to_come_from_the_path() {
    let mut world = World::new();
    let (mut client, _server) = connected(&mut world);
    // Data for a closed socket: tcp_reset() ends it, and the RST that goes out is its own. The
    // record of that one is missing.
    client.closes(&mut world, TcpState::FinWait1);
    is_reset(&mut world, &mut client);
    world.pass_ms(20);
    assert!(world.requests().is_empty());
    assert_eq!(world.close().cause, None);
}

#[test]
fn a_session_that_ends_reports_the_closes_that_wait() {
    let mut world = World::new();
    reset_from_somewhere(&mut world);
    world.tracker.end_waits();
    assert_eq!(world.close().cause, None);
}
