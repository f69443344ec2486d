//! A scan, the tracer and a recording of it describe the same stuck socket alike.

use tcpclose_common::TcpState;
use tcpclose_core::finding::Finding;
use tcpclose_core::stuck::{
    Activity, HolderCoverage, ObservedSocket, OwnerUnknown, ProbedSocket, Report, ScanHistory,
    StuckProbeResponse, StuckSocket, Trends,
};
use tcpclose_core::types::{EndpointId, Nanos, Role};
use tcpclose_core::{Input, SnapshotSocket, SocketKind};

use crate::socket::{NETNS, World, tuple};
use crate::stuck::{MINUTE, held_by, seen, world};

/// What a scan at the world's time makes of it.
fn scanned(world: &World, scans: &mut ScanHistory, probed: &ProbedSocket) -> Vec<StuckSocket> {
    let found = scans.add(vec![probed.socket], world.now, MINUTE).old;
    let held = found
        .into_iter()
        .filter(StuckSocket::is_stuck)
        .map(|stuck| {
            let process = probed.process.as_ref();
            let mut stuck =
                stuck.with_holders(probed.holders.clone(), process, OwnerUnknown::NoHolder);
            // Somebody listens on its port.
            stuck.endpoint.role = Role::Server;
            stuck
        });
    let trends = &mut Trends::default();
    Report::new(world.now, MINUTE, held.collect(), trends).sockets
}

/// What the tracer makes of it, and what goes into a recording.
fn traced(world: &mut World, recording: &mut Vec<Vec<u8>>, input: Input) -> Vec<StuckSocket> {
    recording.push(postcard::to_stdvec(&input).expect("memory takes everything"));
    world.tracker.apply(&input);
    let found = world.findings().into_iter().map(|finding| match finding {
        Finding::Stuck(stuck) => *stuck,
        other => panic!("not a stuck socket: {other:?}"),
    });
    found.collect()
}

/// What a replay of the recording makes of it.
fn replayed(recording: &[Vec<u8>]) -> Vec<StuckSocket> {
    let mut world = world();
    let mut found = Vec::new();
    for input in recording {
        let input = postcard::from_bytes(input).expect("it was written by this test");
        found.extend(traced(&mut world, &mut Vec::new(), input));
    }
    found
}

fn snapshot(state: TcpState, id: u64) -> SnapshotSocket {
    SnapshotSocket {
        cookie: EndpointId(id),
        netns: NETNS,
        tuple: tuple(3306, if state == TcpState::Listen { 0 } else { 40_000 }),
        state,
        kind: SocketKind::Passive,
        owner: None,
    }
}

fn response(world: &World, probed: &ProbedSocket) -> Input {
    Input::StuckProbe(StuckProbeResponse {
        at: world.now,
        ended: world.now,
        found: vec![probed.clone()],
        coverage: HolderCoverage::All,
    })
}

/// A socket that was there before anybody looked, probed once and then once more.
fn alike(first: ObservedSocket, second: ObservedSocket, second_after: u64) -> [usize; 2] {
    let mut world = world();
    let (mut scans, mut recording) = (ScanHistory::default(), Vec::new());
    let sockets = vec![snapshot(TcpState::Listen, 4), snapshot(first.state, 5)];
    let at = world.now;
    let seed = Input::Snapshot { sockets, at };
    assert_eq!(traced(&mut world, &mut recording, seed), []);
    let mut counts = [0; 2];
    let mut all = Vec::new();
    for (poll, socket) in [first, second].into_iter().enumerate() {
        if poll > 0 {
            world.pass_ms(1000 * second_after);
            recording.push(postcard::to_stdvec(&Input::Time(world.now)).expect("memory"));
        }
        let mut requests = Vec::new();
        world.tracker.due_stuck_probes(world.now, &mut requests);
        let probed = held_by(9, socket);
        let found = scanned(&world, &mut scans, &probed);
        let response = response(&world, &probed);
        let reported = traced(&mut world, &mut recording, response);
        if poll == 0 || counts[0] == 0 {
            assert_eq!(found, reported, "poll {poll}");
        }
        counts[poll] = found.len();
        all.extend(reported);
    }
    assert_eq!(replayed(&recording), all);
    counts
}

fn sending(socket: ObservedSocket, since_ack: Nanos) -> ObservedSocket {
    let activity = Some(Activity {
        since_ack,
        bytes_acked: 10,
        ..Activity::default()
    });
    ObservedSocket { activity, ..socket }
}

#[test]
fn one_that_was_stuck_before_is_the_same_to_all() {
    let socket = seen(5, Nanos::from_secs(200));
    assert_eq!(alike(socket, socket, 10), [1, 1]);
}

#[test]
fn one_that_is_exactly_old_enough_is_stuck_for_all() {
    let socket = seen(5, MINUTE);
    assert_eq!(alike(socket, socket, 10), [1, 1]);
    let younger = seen(5, MINUTE - Nanos(1));
    assert_eq!(alike(younger, younger, 1), [0, 1]);
}

#[test]
fn one_that_has_rested_for_exactly_long_enough_is_stuck_for_all() {
    // The first poll is too early. By the second, bytes have moved.
    let first = seen(5, Nanos::from_secs(30));
    let rested = sending(first, MINUTE);
    assert_eq!(alike(first, rested, 100), [0, 1]);
    let at_work = sending(first, MINUTE - Nanos(1));
    assert_eq!(alike(first, at_work, 100), [0, 0]);
}

#[test]
fn one_that_was_not_accepted_is_the_same_to_all() {
    let unaccepted = ObservedSocket {
        inode: None,
        queued: 6,
        ..seen(5, Nanos::from_secs(200))
    };
    assert_eq!(alike(unaccepted, unaccepted, 10), [1, 1]);
}
