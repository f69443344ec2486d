//! A tracker goes on with what an earlier one has saved: ages are exact, what was reported is not
//! reported again, and what has ended in between is.

use std::collections::HashSet;

use tcpclose_common::TcpState;
use tcpclose_core::finding::{Close, ClosePath, Finding, Loss, LossLocation, TimeWaitEnd};
use tcpclose_core::stuck::{AgeCertainty, Resolution, StuckEvent, StuckSocket};
use tcpclose_core::types::{EndpointId, Nanos, NetNs, OwnerSource, Role};
use tcpclose_core::{Input, RestoreEnd, SaveScope, Saved, SavedEndpoints, SnapshotSocket};

use crate::input_methods::InputMethods as _;
use crate::seed::existing;
use crate::socket::{NETNS, POOL_THREAD, Socket, World, tuple};
use crate::stuck::{MINUTE, SECOND, held_by, requests, respond, seen, stuck, waiting, world};

/// For how long nothing is traced.
const GAP_MS: u64 = 5 * SECOND;

/// What a file would hold.
fn written(saved: &Saved) -> Vec<Vec<u8>> {
    let parts = saved.parts.iter();
    let bytes = parts.map(|part| postcard::to_allocvec(part).unwrap());
    bytes.collect()
}

/// Another tracker, `GAP_MS` later, that gets what this one has saved.
fn restarted(old: &World, scope: SaveScope) -> World {
    let saved = old.tracker.save(scope, 100);
    assert_eq!(saved.left_out, 0);
    let mut world = world();
    world.now = old.now + Nanos::from_millis(GAP_MS);
    for (bytes, part) in written(&saved).iter().zip(saved.parts) {
        let read: SavedEndpoints = postcard::from_bytes(bytes).unwrap();
        assert_eq!(read, part);
        world.tracker.apply_input(Input::Restore(read));
    }
    world
}

/// All sockets were looked at.
fn end(world: &mut World, is_complete: bool) {
    let end = RestoreEnd {
        at: world.now,
        until: world.now - Nanos::from_millis(GAP_MS),
        from: world.now,
        is_complete,
        searched: HashSet::from([NETNS]),
        searched_all: true,
    };
    world.tracker.apply_input(Input::RestoreEnd(end));
    world.pass_ms(1);
}

fn loss(world: &World, lost: u64) -> Loss {
    Loss {
        at: world.now - Nanos::from_millis(1),
        lost,
        location: LossLocation::Restart,
        repaired: true,
        duration: Some(Nanos::from_millis(GAP_MS)),
    }
}

/// The loss, which comes first, and what follows it.
fn after_the_loss(world: &mut World) -> (Loss, Vec<Finding>) {
    let mut findings = world.findings();
    match findings.remove(0) {
        Finding::Loss(loss) => (loss, findings),
        other => panic!("not a loss: {other:?}"),
    }
}

fn close_of(finding: &Finding) -> &Close {
    match finding {
        Finding::Close(close) => close,
        other => panic!("not a close: {other:?}"),
    }
}

fn stuck_of(finding: &Finding) -> &StuckSocket {
    match finding {
        Finding::Stuck(stuck) => stuck,
        other => panic!("not a stuck socket: {other:?}"),
    }
}

/// A client's socket in a snapshot.
fn client(cookie: u64, state: TcpState) -> SnapshotSocket {
    SnapshotSocket {
        tuple: tuple(40_000, 3306),
        ..existing(cookie, state, None)
    }
}

fn ends_first(world: &mut World, mut socket: Socket) -> Close {
    socket.closes_first(world);
    socket.enters_time_wait(world);
    world.close()
}

#[test]
fn a_connection_keeps_its_start_and_origin_whether_a_snapshot_or_a_record_shows_it_first() {
    for by_snapshot in [true, false] {
        let mut before = World::new();
        let opened = before.now;
        let socket = Socket::client(&mut before, 5);
        before.pass_ms(7 * SECOND);
        let mut world = restarted(&before, SaveScope::All);
        if by_snapshot {
            let sockets = [client(5, TcpState::Established)];
            world.tracker.seed(&sockets, world.now);
            end(&mut world, true);
            let (lost, rest) = after_the_loss(&mut world);
            assert_eq!((lost, rest.len()), (loss(&world, 0), 0));
            assert_eq!(world.tracker.live(), 1);
        }
        let close = ends_first(&mut world, socket);
        assert_eq!(close.path, ClosePath::FourWay);
        assert_eq!(close.endpoint.opened, Some(opened));
        assert_eq!(close.endpoint.role, Role::Client);
        assert!(close.endpoint.seen_from_start && close.endpoint.initial.is_some());
        let owner = close
            .owner
            .map(|owner| (owner.pid, owner.source, owner.thread));
        let connected = (77, OwnerSource::Connect, Some(POOL_THREAD));
        assert_eq!(owner, Some(connected));
        assert_eq!(world.tracker.take_uncounted_losses(Nanos(u64::MAX)), 0);
    }
}

#[test]
fn another_socket_with_the_same_addresses_and_ports_is_another_connection() {
    let others = [
        client(6, TcpState::Established),
        SnapshotSocket {
            netns: NetNs::new(2).unwrap(),
            ..client(5, TcpState::Established)
        },
        // The same socket, connected from another port since.
        SnapshotSocket {
            tuple: tuple(40_001, 3306),
            ..client(5, TcpState::Established)
        },
    ];
    for other in others {
        let mut before = World::new();
        Socket::client(&mut before, 5);
        let mut world = restarted(&before, SaveScope::All);
        let cookie = other.cookie;
        world.tracker.seed(&[other], world.now);
        end(&mut world, true);
        let (lost, rest) = after_the_loss(&mut world);
        assert_eq!((lost, rest.len()), (loss(&world, 1), 1));
        let close = close_of(&rest[0]);
        assert_eq!(close.path, ClosePath::Unknown);
        assert_eq!(close.endpoint.opened, Some(before.now));
        assert_eq!(close.at, lost.at);
        assert_eq!(world.tracker.in_state_since(cookie), None, "it is as new");
        assert_eq!(world.tracker.live(), 1);
        assert_eq!(world.tracker.take_uncounted_losses(Nanos(u64::MAX)), 0);
    }
}

#[test]
fn a_stuck_socket_is_not_reported_again_and_its_age_is_exact() {
    let mut before = world();
    let entered = before.now;
    let mut socket = stuck(&mut before, 5);
    let mut world = restarted(&before, SaveScope::MayBeStuck);
    let ages = |world: &World| -> Vec<(Nanos, AgeCertainty)> {
        let stuck = world.tracker.stuck_sockets().unwrap();
        stuck
            .map(|stuck| (stuck.age.since, stuck.age.known))
            .collect()
    };
    let exact = [(entered, AgeCertainty::Observed)];
    assert_eq!(ages(&world), exact, "it counts at once");
    world
        .tracker
        .seed(&[existing(5, TcpState::CloseWait, None)], world.now);
    assert_eq!(ages(&world), exact);
    end(&mut world, false);
    let (lost, rest) = after_the_loss(&mut world);
    assert_eq!((lost, rest.len()), (loss(&world, 0), 0));
    assert_eq!((ages(&world).len(), world.tracker.stuck()), (1, 1));

    // How its process is, a probe shows; keepalive has hidden the age by now.
    assert_eq!(requests(&mut world).len(), 1);
    let kept_alive = tcpclose_core::stuck::ObservedSocket {
        keepalive: true,
        ..seen(5, Nanos::from_secs(1))
    };
    respond(&mut world, vec![held_by(9, kept_alive)]);
    assert_eq!(world.findings().len(), 0);
    assert_eq!(ages(&world), exact);

    world.pass_ms(SECOND);
    socket.closes(&mut world, TcpState::LastAck);
    let findings = world.findings();
    let resolved = stuck_of(&findings[0]);
    assert_eq!(resolved.resolution(), Some(Resolution::Closed));
    assert_eq!((resolved.age.since, resolved.at), (entered, world.now));
    assert_eq!(resolved.owner.as_ref().map(|owner| owner.pid), Some(9));
    assert_eq!(world.tracker.stuck_sockets().unwrap().count(), 0);
    socket.is_acknowledged();
    socket.to(&mut world, TcpState::Close);
    let close = world.close();
    assert_eq!(close.path, ClosePath::ThreeWay);
    assert!(close.endpoint.seen_from_start);
}

#[test]
fn a_socket_that_was_not_stuck_yet_is_in_time_with_its_exact_age() {
    let mut before = world();
    let entered = before.now;
    waiting(&mut before, 5);
    before.pass_ms(30 * SECOND);
    let mut world = restarted(&before, SaveScope::MayBeStuck);
    world
        .tracker
        .seed(&[existing(5, TcpState::CloseWait, None)], world.now);
    end(&mut world, false);
    assert_eq!(requests(&mut world), []);
    assert_eq!(world.tracker.next_deadline(), Some(entered + MINUTE));
    world.now = entered;
    world.pass_ms(60 * SECOND);
    assert_eq!(requests(&mut world).len(), 1);
    respond(&mut world, vec![held_by(9, seen(5, Nanos::from_secs(1)))]);
    let (_, rest) = after_the_loss(&mut world);
    let found = stuck_of(&rest[0]);
    assert_eq!(found.event, StuckEvent::Opened);
    assert_eq!((found.age.since, found.at), (entered, entered + MINUTE));
}

#[test]
fn one_that_is_in_another_state_by_now_is_stuck_no_longer() {
    let mut before = world();
    stuck(&mut before, 5);
    let mut world = restarted(&before, SaveScope::All);
    world
        .tracker
        .seed(&[existing(5, TcpState::LastAck, None)], world.now);
    end(&mut world, true);
    let findings = world.findings();
    let resolved = stuck_of(&findings[0]);
    assert_eq!(resolved.resolution(), Some(Resolution::Unknown));
    assert_eq!(world.tracker.in_state_since(EndpointId(5)), None);
    // Its record was still to come when the snapshot was taken.
    let mut socket = Socket::server(&mut World::new(), 5);
    socket.receives_fin();
    (socket.state, socket.evidence.tcp.segs_out) = (TcpState::CloseWait, 2);
    socket.closes(&mut world, TcpState::LastAck);
    socket.is_acknowledged();
    socket.to(&mut world, TcpState::Close);
    world.pass_ms(100);
    let findings = world.findings();
    let close = close_of(findings.last().unwrap());
    assert!(!close.endpoint.seen_from_start);
    assert!(close.endpoint.opened.is_some());
    assert_eq!(world.tracker.take_uncounted_losses(Nanos(u64::MAX)), 0);
}

#[test]
fn one_whose_minisocket_is_left_has_closed_first_and_its_time_wait_has_its_owner() {
    let mut before = World::new();
    Socket::client(&mut before, 5);
    let mut world = restarted(&before, SaveScope::All);
    let minisocket = SnapshotSocket {
        tuple: tuple(40_000, 3306),
        ..existing(5, TcpState::TimeWait, Some(58_000))
    };
    world.tracker.seed(&[minisocket], world.now);
    let close = world.close();
    assert_eq!(close.owner.map(|owner| owner.pid), Some(77));
    end(&mut world, true);
    assert_eq!(after_the_loss(&mut world).0, loss(&world, 1));
    assert_eq!(world.tracker.in_time_wait(), 1);
    // Another connect() takes its place.
    Socket::client(&mut world, 6);
    let findings = world.findings();
    let [Finding::TimeWait(ended)] = findings.as_slice() else {
        panic!("{findings:?}")
    };
    assert_eq!(ended.end, TimeWaitEnd::Reused);
    assert_eq!(ended.owner.as_ref().map(|owner| owner.pid), Some(77));
    assert_eq!(ended.endpoint.opened, Some(before.now));
}

/// What was saved from time to time lacks what was reported since.
#[test]
fn after_a_crash_only_stuck_sockets_are_reported_to_be_gone() {
    let mut before = world();
    stuck(&mut before, 5);
    waiting(&mut before, 6);
    let mut world = restarted(&before, SaveScope::MayBeStuck);
    end(&mut world, false);
    let (lost, rest) = after_the_loss(&mut world);
    assert_eq!((lost, rest.len()), (loss(&world, 2), 1));
    let resolved = stuck_of(&rest[0]);
    assert_eq!(resolved.endpoint.id, EndpointId(5));
    assert_eq!(resolved.resolution(), Some(Resolution::Unknown));
    assert_eq!(world.tracker.stuck_sockets().unwrap().count(), 0);
}

#[test]
fn one_whose_namespace_could_not_be_read_is_not_reported_to_be_gone() {
    let mut before = world();
    let mut socket = stuck(&mut before, 5);
    let mut world = restarted(&before, SaveScope::All);
    let unread = RestoreEnd {
        at: world.now,
        until: before.now,
        from: world.now,
        is_complete: true,
        searched: HashSet::from([NetNs::new(2).unwrap()]),
        searched_all: false,
    };
    world.tracker.apply_input(Input::RestoreEnd(unread));
    world.pass_ms(1);
    let (lost, rest) = after_the_loss(&mut world);
    assert_eq!((lost.lost, lost.repaired, rest.len()), (0, false, 0));
    assert_eq!(world.tracker.stuck_sockets().unwrap().count(), 0);
    // Its record shows that it is there.
    socket.closes(&mut world, TcpState::LastAck);
    let findings = world.findings();
    let resolved = stuck_of(&findings[0]);
    assert_eq!(resolved.resolution(), Some(Resolution::Closed));
}

#[test]
fn a_restart_during_the_restart_loses_nothing() {
    let mut before = world();
    stuck(&mut before, 5);
    let short = restarted(&before, SaveScope::All);
    let mut world = restarted(&short, SaveScope::All);
    world
        .tracker
        .seed(&[existing(5, TcpState::CloseWait, None)], world.now);
    end(&mut world, true);
    assert_eq!(after_the_loss(&mut world).1.len(), 0);
    assert_eq!(world.tracker.stuck_sockets().unwrap().count(), 1);
}

#[test]
fn where_there_is_no_room_stuck_sockets_come_first_and_the_others_are_counted() {
    let mut before = world();
    for port in 0..10 {
        Socket::client_on(&mut before, 100 + u64::from(port), 50_000 + port);
    }
    stuck(&mut before, 5);
    let saved = before.tracker.save(SaveScope::All, 4);
    assert_eq!(saved.left_out, 7);
    let mut world = world();
    world.now = before.now;
    let parts = saved.parts.into_iter().map(Input::Restore);
    parts.for_each(|part| world.tracker.apply_input(part));
    assert_eq!(world.tracker.stuck_sockets().unwrap().count(), 1);
    end(&mut world, true);
    let (_, rest) = after_the_loss(&mut world);
    let closes = rest.iter().filter_map(|finding| match finding {
        Finding::Close(close) => Some(close.endpoint.id.0),
        _ => None,
    });
    // Then those that have been in their state for longest.
    assert_eq!(closes.collect::<Vec<_>>(), [5, 100, 101, 102]);
}

#[test]
fn very_many_that_are_gone_are_reported_a_part_at_a_time() {
    let mut before = World::with_capacity(5000);
    for id in 0..3000 {
        Socket::client_on(&mut before, 100 + u64::from(id), 20_000 + id);
    }
    let saved = before.tracker.save(SaveScope::All, 5000);
    let mut world = World::with_capacity(5000);
    world.now = before.now;
    let parts = saved.parts.into_iter().map(Input::Restore);
    parts.for_each(|part| world.tracker.apply_input(part));
    end(&mut world, true);
    let mut reported = after_the_loss(&mut world).1.len();
    assert!((1..3000).contains(&reported), "{reported}");
    while world
        .tracker
        .next_deadline()
        .is_some_and(|at| at <= world.now)
    {
        world.pass_ms(0);
        reported += world.findings().len();
    }
    assert_eq!(reported, 3000);
}

#[test]
fn only_what_changes_stuck_sockets_changes_the_revision() {
    let mut world = world();
    let first = world.tracker.stuck_revision();
    Socket::client(&mut world, 7);
    world.pass_ms(SECOND);
    assert_eq!(world.tracker.stuck_revision(), first);
    let mut socket = stuck(&mut world, 5);
    let second = world.tracker.stuck_revision();
    assert_ne!(second, first);
    world.pass_ms(600 * SECOND);
    assert_eq!(world.tracker.stuck_revision(), second);
    socket.closes(&mut world, TcpState::LastAck);
    assert_ne!(world.tracker.stuck_revision(), second);
}
