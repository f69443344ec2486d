//! The thread that called connect().

use tcpclose_common::TcpState;
use tcpclose_core::types::{OwnerSource, SharedOwner, Thread};

use crate::socket::{POOL_THREAD, Socket, World, task, tuple};
use crate::stuck::{MINUTE, SECOND, held_by, requests, respond, seen, stuck_socket, world};

fn source_and_thread(owner: Option<SharedOwner>) -> Option<(OwnerSource, Option<Thread>)> {
    owner.map(|owner| (owner.source, owner.thread))
}

#[test]
fn a_client_keeps_the_thread_that_connected_when_another_closes() {
    let mut world = World::new();
    let mut socket = Socket::client(&mut world, 5);
    socket.task = Some(task(77, "client"));
    socket.closes_first(&mut world);
    socket.enters_time_wait(&mut world);
    let owner = source_and_thread(world.close().owner);
    assert_eq!(owner, Some((OwnerSource::Connect, Some(POOL_THREAD))));
}

#[test]
fn an_accepted_connection_has_none() {
    let mut world = World::new();
    let mut socket = Socket::server(&mut world, 5);
    socket.task = Some(task(77, "server"));
    socket.closes_first(&mut world);
    socket.enters_time_wait(&mut world);
    let owner = source_and_thread(world.close().owner);
    assert_eq!(owner, Some((OwnerSource::Close, None)));
}

/// Returns the owner of a client's stuck socket that this process holds.
fn owner_of_stuck(pid: u32, comm: &[u8]) -> Option<(OwnerSource, Option<Thread>)> {
    let mut world = world();
    let mut socket = Socket::client(&mut world, 5);
    socket.receives_fin();
    socket.to(&mut world, TcpState::CloseWait);
    world.pass_ms(60 * SECOND);
    assert_eq!(requests(&mut world).len(), 1);
    let mut observed = seen(5, MINUTE);
    observed.tuple = tuple(40_000, 3306);
    let mut probed = held_by(pid, observed);
    if let Some(process) = &mut probed.process {
        std::sync::Arc::make_mut(process).comm = comm.into();
    }
    respond(&mut world, vec![probed]);
    source_and_thread(stuck_socket(&mut world).owner)
}

#[test]
fn the_holder_of_a_stuck_socket_has_it_where_it_is_the_same_process() {
    let same = owner_of_stuck(77, b"client");
    assert_eq!(same, Some((OwnerSource::Proc, Some(POOL_THREAD))));
    // A child has inherited the descriptor.
    let child = owner_of_stuck(9, b"client");
    assert_eq!(child, Some((OwnerSource::Proc, None)));
    // In another pid namespace the same number is another process.
    let other = owner_of_stuck(77, b"bash");
    assert_eq!(other, Some((OwnerSource::Proc, None)));
}
