//! Looks at ends in CLOSE_WAIT: each once, whoever wishes for it, and again where a process has no
//! descriptors left.

use std::collections::HashSet;
use std::sync::Arc;

use tcpclose_common::TcpState;
use tcpclose_core::process::Process;
use tcpclose_core::stuck::ProbedSocket;
use tcpclose_core::types::Nanos;

use crate::socket::{Socket, World};
use crate::stuck::{
    MINUTE, SECOND, answer, existing, held_by, leaks, questions, seen, waiting, world,
};

/// Asks, once for each end, and answers that all are that old.
fn answered(world: &mut World, age: Nanos) {
    let asked = questions(world);
    let once: HashSet<_> = asked.iter().map(|it| it.id).collect();
    assert_eq!(once.len(), asked.len(), "{asked:?}");
    let seen = asked.iter().map(|it| held_by(9, seen(it.id.0, age)));
    let seen = seen.collect();
    answer(world, seen);
}

#[test]
fn a_repair_does_not_make_ends_be_reported_twice() {
    let mut world = world();
    for id in [5, 6, 7] {
        waiting(&mut world, id);
    }
    world.pass_ms(10 * SECOND);
    for id in [5, 6, 7] {
        existing(&mut world, id);
    }
    answered(&mut world, Nanos::from_secs(10));
    world.pass_ms(50 * SECOND);
    answered(&mut world, MINUTE);
    assert_eq!((leaks(&mut world).len(), world.tracker.stuck()), (3, 3));
}

#[test]
fn an_end_whose_way_to_close_wait_comes_after_the_snapshot_that_shows_it_is_reported_once() {
    let mut world = world();
    let mut end = Socket::server(&mut world, 5);
    existing(&mut world, 5);
    answered(&mut world, Nanos(0));
    end.receives_fin();
    end.to(&mut world, TcpState::CloseWait);
    for _ in 0..7 {
        world.pass_ms(10 * SECOND);
        answered(&mut world, MINUTE);
    }
    assert_eq!((leaks(&mut world).len(), world.tracker.stuck()), (1, 1));
}

#[test]
fn looks_at_a_half_close_do_not_multiply_with_repairs() {
    let mut world = world();
    waiting(&mut world, 5);
    for round in 1..=32 {
        if round % 4 == 0 {
            existing(&mut world, 5);
        }
        world.pass_ms(15 * SECOND);
        let asked = questions(&mut world);
        assert!(asked.len() <= 1, "{asked:?}");
        let seen = asked.iter().map(|_| {
            let mut socket = seen(5, Nanos::from_secs(1));
            let activity = socket.activity.as_mut().expect("the kernel tells");
            activity.bytes_acked = 100 * round;
            held_by(9, socket)
        });
        let seen = seen.collect();
        answer(&mut world, seen);
    }
    assert_eq!(leaks(&mut world).len(), 0);
}

/// The process of the stuck ends, as the core knows it.
fn process_of_stuck(world: &World) -> Vec<(u32, Option<u64>)> {
    let ends = world.tracker.stuck_sockets().expect("they are watched");
    let owners = ends.filter_map(|end| end.process.as_ref());
    let newest = owners.max_by_key(|owner| owner.as_of);
    newest
        .map(|owner| (owner.process.pid, owner.process.room()))
        .into_iter()
        .collect()
}

fn with_limit(limit: u64, answer: ProbedSocket) -> ProbedSocket {
    let process = Process {
        limit: Some(limit),
        ..(**answer.process.as_ref().expect("it is held")).clone()
    };
    ProbedSocket {
        process: Some(Arc::new(process)),
        ..answer
    }
}

#[test]
fn a_process_without_descriptors_is_looked_at_until_it_has_some() {
    let mut world = world();
    for id in [5, 6] {
        waiting(&mut world, id);
    }
    world.pass_ms(60 * SECOND);
    assert_eq!(questions(&mut world).len(), 2);
    let full = [5, 6].map(|id| with_limit(24, held_by(9, seen(id, MINUTE))));
    answer(&mut world, full.to_vec());
    assert_eq!(leaks(&mut world).len(), 2);
    for _ in 0..3 {
        world.pass_ms(60 * SECOND);
        let asked = questions(&mut world);
        assert_eq!(asked.len(), 1, "one end stands for all of the process");
        let id = asked[0].id.0;
        answer(
            &mut world,
            vec![with_limit(24, held_by(9, seen(id, MINUTE)))],
        );
        assert_eq!(process_of_stuck(&world), [(9, Some(0))]);
    }
    world.pass_ms(60 * SECOND);
    let id = questions(&mut world)[0].id.0;
    answer(
        &mut world,
        vec![with_limit(1000, held_by(9, seen(id, MINUTE)))],
    );
    assert_eq!(process_of_stuck(&world), [(9, Some(976))]);
    world.pass_ms(600 * SECOND);
    assert_eq!(questions(&mut world), [], "nobody has to look any more");
    assert_eq!((leaks(&mut world).len(), world.tracker.stuck()), (0, 2));
}

#[test]
fn another_end_of_a_full_process_is_looked_at_when_the_first_is_gone() {
    let mut world = world();
    let mut ends = [5, 6].map(|id| waiting(&mut world, id));
    world.pass_ms(60 * SECOND);
    assert_eq!(questions(&mut world).len(), 2);
    let full = [5, 6].map(|id| with_limit(24, held_by(9, seen(id, MINUTE))));
    answer(&mut world, full.to_vec());
    ends[0].closes(&mut world, TcpState::LastAck);
    // Any look will do to notice.
    waiting(&mut world, 7);
    world.pass_ms(60 * SECOND);
    let asked = questions(&mut world);
    let seen_again = asked
        .iter()
        .map(|it| with_limit(24, held_by(9, seen(it.id.0, MINUTE))));
    let seen_again = seen_again.collect();
    answer(&mut world, seen_again);
    world.pass_ms(60 * SECOND);
    assert_eq!(questions(&mut world).len(), 1);
}
