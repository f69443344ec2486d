//! Probes of endpoints in CLOSE_WAIT: each once, however often it was requested, and again where a
//! process has no descriptors left.

use std::collections::HashSet;
use std::sync::Arc;

use tcpclose_common::TcpState;
use tcpclose_core::process::Process;
use tcpclose_core::stuck::ProbedSocket;
use tcpclose_core::types::Nanos;

use crate::socket::{Socket, World};
use crate::stuck::{
    MINUTE, SECOND, existing, held_by, requests, respond, seen, stuck_socket, stuck_sockets,
    waiting, world,
};

/// Responds, once for each endpoint, that all are that old.
fn respond_to_all(world: &mut World, age: Nanos) {
    let requested = requests(world);
    let once: HashSet<_> = requested.iter().map(|it| it.id).collect();
    assert_eq!(once.len(), requested.len(), "{requested:?}");
    let seen = requested.iter().map(|it| held_by(9, seen(it.id.0, age)));
    let seen = seen.collect();
    respond(world, seen);
}

#[test]
fn a_resync_does_not_make_endpoints_be_reported_twice() {
    let mut world = world();
    for id in [5, 6, 7] {
        waiting(&mut world, id);
    }
    world.pass_ms(10 * SECOND);
    for id in [5, 6, 7] {
        existing(&mut world, id);
    }
    respond_to_all(&mut world, Nanos::from_secs(10));
    world.pass_ms(50 * SECOND);
    respond_to_all(&mut world, MINUTE);
    assert_eq!(
        (stuck_sockets(&mut world).len(), world.tracker.stuck()),
        (3, 3)
    );
}

#[test]
fn an_endpoint_whose_way_to_close_wait_comes_after_the_snapshot_that_shows_it_is_reported_once() {
    let mut world = world();
    let mut end = Socket::server(&mut world, 5);
    existing(&mut world, 5);
    respond_to_all(&mut world, Nanos(0));
    end.receives_fin();
    end.to(&mut world, TcpState::CloseWait);
    for _ in 0..7 {
        world.pass_ms(10 * SECOND);
        respond_to_all(&mut world, MINUTE);
    }
    assert_eq!(
        (stuck_sockets(&mut world).len(), world.tracker.stuck()),
        (1, 1)
    );
}

#[test]
fn probes_of_a_half_close_do_not_multiply_with_resyncs() {
    let mut world = world();
    waiting(&mut world, 5);
    for round in 1..=32 {
        if round % 4 == 0 {
            existing(&mut world, 5);
        }
        world.pass_ms(15 * SECOND);
        let requested = requests(&mut world);
        assert!(requested.len() <= 1, "{requested:?}");
        let seen = requested.iter().map(|_| {
            let mut socket = seen(5, Nanos::from_secs(1));
            let activity = socket.activity.as_mut().expect("the kernel tells");
            activity.bytes_acked = 100 * round;
            held_by(9, socket)
        });
        let seen = seen.collect();
        respond(&mut world, seen);
    }
    assert_eq!(stuck_sockets(&mut world).len(), 0);
}

/// The process of the stuck endpoints, as the core knows it.
fn process_of_stuck(world: &World) -> Vec<(u32, Option<u64>)> {
    let ends = world.tracker.stuck_sockets().expect("they are watched");
    let owners = ends.filter_map(|end| end.process.as_ref());
    let newest = owners.max_by_key(|owner| owner.as_of);
    newest
        .map(|owner| (owner.process.pid, owner.process.fds_left()))
        .into_iter()
        .collect()
}

fn with_limit(limit: u64, probed: ProbedSocket) -> ProbedSocket {
    let process = Process {
        fd_limit: Some(limit),
        ..(**probed.process.as_ref().expect("it is held")).clone()
    };
    ProbedSocket {
        process: Some(Arc::new(process)),
        ..probed
    }
}

#[test]
fn a_process_without_descriptors_is_probed_until_it_has_some() {
    let mut world = world();
    for id in [5, 6] {
        waiting(&mut world, id);
    }
    world.pass_ms(60 * SECOND);
    assert_eq!(requests(&mut world).len(), 2);
    let full = [5, 6].map(|id| with_limit(24, held_by(9, seen(id, MINUTE))));
    respond(&mut world, full.to_vec());
    assert_eq!(stuck_sockets(&mut world).len(), 2);
    for _ in 0..3 {
        world.pass_ms(60 * SECOND);
        let requested = requests(&mut world);
        assert_eq!(
            requested.len(),
            1,
            "one endpoint stands for all of the process"
        );
        let id = requested[0].id.0;
        respond(
            &mut world,
            vec![with_limit(24, held_by(9, seen(id, MINUTE)))],
        );
        assert_eq!(process_of_stuck(&world), [(9, Some(0))]);
    }
    world.pass_ms(60 * SECOND);
    let id = requests(&mut world)[0].id.0;
    respond(
        &mut world,
        vec![with_limit(1000, held_by(9, seen(id, MINUTE)))],
    );
    assert_eq!(process_of_stuck(&world), [(9, Some(976))]);
    world.pass_ms(600 * SECOND);
    assert_eq!(requests(&mut world), [], "no probe is needed any more");
    assert_eq!(
        (stuck_sockets(&mut world).len(), world.tracker.stuck()),
        (0, 2)
    );
}

#[test]
fn another_endpoint_of_a_full_process_is_probed_when_the_first_is_gone() {
    let mut world = world();
    let mut ends = [5, 6].map(|id| waiting(&mut world, id));
    world.pass_ms(60 * SECOND);
    assert_eq!(requests(&mut world).len(), 2);
    let full = [5, 6].map(|id| with_limit(24, held_by(9, seen(id, MINUTE))));
    respond(&mut world, full.to_vec());
    ends[0].closes(&mut world, TcpState::LastAck);
    // Any probe notices.
    waiting(&mut world, 7);
    world.pass_ms(60 * SECOND);
    let requested = requests(&mut world);
    let seen_again = requested
        .iter()
        .map(|it| with_limit(24, held_by(9, seen(it.id.0, MINUTE))));
    let seen_again = seen_again.collect();
    respond(&mut world, seen_again);
    world.pass_ms(60 * SECOND);
    assert_eq!(requests(&mut world).len(), 1);
}

#[test]
fn a_process_with_ever_more_stuck_sockets_gets_a_forecast_from_the_third_sample_on() {
    let mut world = world();
    let mut forecasts = Vec::new();
    for id in 0..5 {
        waiting(&mut world, id);
        world.pass_ms(10 * SECOND);
    }
    world.pass_ms(10 * SECOND);
    for id in 0..5 {
        assert_eq!(requests(&mut world).len(), 1);
        respond(&mut world, vec![held_by(9, seen(id, MINUTE))]);
        let owner = stuck_socket(&mut world)
            .process
            .expect("a process holds it");
        assert_eq!(owner.stuck, id as usize + 1);
        forecasts.push(owner.forecast);
        world.pass_ms(10 * SECOND);
    }
    assert_eq!(forecasts[..2], [None, None]);
    let last = forecasts[4].expect("five samples");
    assert_eq!((last.fit.per_second, last.fit.samples), (0.1, 5));
    // 1,000 descriptors are left.
    assert_eq!(last.exhausted_in, Some(Nanos::from_secs(10_000)));
}
