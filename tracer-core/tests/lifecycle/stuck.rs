//! Endpoints that stay in CLOSE_WAIT: probed when their time has come, reported when they are stuck
//! and when they no longer are.

use std::sync::Arc;

use tcpclose_common::TcpState;
use tcpclose_core::finding::Finding;
use tcpclose_core::process::Process;
use tcpclose_core::stuck::{
    Activity, AgeCertainty, Holder, HolderCoverage, ObservedSocket, ProbedSocket, Resolution,
    StuckEvent, StuckProbeResponse, StuckSocket, Verdict,
};
use tcpclose_core::types::{EndpointId, Inode, Nanos, OwnerSource, StartTime};
use tcpclose_core::{MinisocketState, ProbeRequest, SnapshotSocket, SocketKind};

use crate::input_methods::InputMethods as _;
use crate::socket::{NETNS, Socket, World, task, tuple};

pub const MINUTE: Nanos = Nanos::from_secs(60);
pub const SECOND: u64 = 1_000;

pub fn world() -> World {
    let mut world = World::new();
    world.tracker = world.tracker.with_stuck_after(MINUTE);
    world
}

/// A server's endpoint that the peer has closed.
pub fn waiting(world: &mut World, id: u64) -> Socket {
    let mut end = Socket::server(world, id);
    end.receives_fin();
    end.to(world, TcpState::CloseWait);
    end
}

pub fn requests(world: &mut World) -> Vec<ProbeRequest> {
    let mut requests = Vec::new();
    world.tracker.due_stuck_probes(world.now, &mut requests);
    requests
}

/// A socket that read everything; its last ACK came that long ago.
pub fn seen(id: u64, since_ack: Nanos) -> ObservedSocket {
    ObservedSocket {
        id: EndpointId(id),
        state: TcpState::CloseWait,
        netns: Some(NETNS),
        tuple: tuple(3306, 40_000),
        interface: None,
        inode: Inode::new(100 + id as u32),
        uid: 0,
        cgroup: None,
        queued: 0,
        unsent: 0,
        unanswered: None,
        keepalive: false,
        mptcp: false,
        opening: None,
        entered: None,
        activity: Some(Activity {
            since_data: None,
            since_ack,
            bytes_acked: 0,
            since_sent: None,
        }),
    }
}

pub fn held_by(pid: u32, socket: ObservedSocket) -> ProbedSocket {
    let process = Process {
        pid,
        started: StartTime::new(5),
        comm: (*b"web").into(),
        open_fds: 24,
        fd_limit: Some(1024),
        ..Process::default()
    };
    ProbedSocket {
        id: socket.id,
        holders: vec![Holder {
            pid,
            comm: (*b"web").into(),
            fds: vec![7],
            thread: None,
        }],
        socket,
        process: Some(Arc::new(process)),
    }
}

/// Responds to what was requested, at once.
pub fn respond(world: &mut World, found: Vec<ProbedSocket>) {
    respond_after(world, HolderCoverage::All, found);
}

/// The same, after a search of those processes.
pub fn respond_after(world: &mut World, coverage: HolderCoverage, found: Vec<ProbedSocket>) {
    world.tracker.apply_stuck_probe(&StuckProbeResponse {
        at: world.now,
        ended: world.now,
        found,
        coverage,
    });
}

pub fn stuck_sockets(world: &mut World) -> Vec<StuckSocket> {
    let leak = |finding| match finding {
        Finding::Stuck(stuck) => Some(*stuck),
        _ => None,
    };
    world.findings().into_iter().filter_map(leak).collect()
}

pub fn stuck_socket(world: &mut World) -> StuckSocket {
    let mut stuck_sockets = stuck_sockets(world);
    assert_eq!(stuck_sockets.len(), 1, "{stuck_sockets:?}");
    stuck_sockets.remove(0)
}

/// One that has been reported to be stuck, held by process 9.
pub fn stuck(world: &mut World, id: u64) -> Socket {
    let end = waiting(world, id);
    world.pass_ms(60 * SECOND);
    assert_eq!(requests(world).len(), 1);
    respond(world, vec![held_by(9, seen(id, MINUTE))]);
    assert_eq!(stuck_socket(world).event, StuckEvent::Opened);
    end
}

#[test]
fn an_endpoint_is_probed_when_its_time_has_come_and_reported_with_its_exact_age() {
    let mut world = world();
    let entered = world.now;
    waiting(&mut world, 5);
    assert_eq!(world.tracker.next_deadline(), Some(entered + MINUTE));
    world.pass_ms(60 * SECOND - 1);
    assert_eq!(requests(&mut world), []);
    world.pass_ms(1);
    let request = ProbeRequest {
        id: EndpointId(5),
        cookie: Some(EndpointId(5)),
        netns: Some(NETNS),
        tuple: tuple(3306, 40_000),
    };
    assert_eq!(requests(&mut world), [request]);
    assert_eq!(requests(&mut world), [], "it is probed once");
    assert_eq!(
        world.tracker.next_deadline(),
        None,
        "nobody wakes up for it"
    );

    // The probe came 3 ms later.
    world.pass_ms(3);
    respond(&mut world, vec![held_by(9, seen(5, MINUTE))]);
    let reported = stuck_socket(&mut world);
    assert_eq!(reported.event, StuckEvent::Opened);
    assert_eq!(reported.verdict, Verdict::EofRead);
    assert_eq!(reported.age.since, entered);
    assert_eq!(reported.age.known, AgeCertainty::Observed);
    assert_eq!(reported.at - entered, Nanos::from_millis(60_003));
    assert!(reported.endpoint.seen_from_start);
    let owner = reported
        .owner
        .as_ref()
        .map(|owner| (owner.pid, owner.source));
    assert_eq!(owner, Some((9, OwnerSource::Proc)));
    assert_eq!(reported.fds(), [7]);
    assert_eq!(reported.process.as_ref().map(|owner| owner.stuck), Some(1));
    assert_eq!(world.tracker.stuck(), 1);
    assert_eq!(world.tracker.next_deadline(), None);
}

#[test]
fn an_endpoint_that_is_closed_in_time_is_never_probed_as_stuck() {
    let mut world = world();
    let mut end = waiting(&mut world, 5);
    end.closes(&mut world, TcpState::LastAck);
    world.pass_ms(1);
    // In LAST_ACK it is looked up after two seconds, in case its end is missed; that is
    // the only deadline.
    assert_eq!(
        world.tracker.next_deadline(),
        Some(world.now + Nanos::from_millis(1_999))
    );
    world.pass_ms(60 * SECOND);
    assert_eq!(requests(&mut world), []);
    assert!(stuck_sockets(&mut world).is_empty());
}

#[test]
fn without_a_time_nothing_is_probed() {
    let mut world = World::new();
    waiting(&mut world, 5);
    world.pass_ms(600 * SECOND);
    assert_eq!(requests(&mut world), []);
}

#[test]
fn how_it_is_resolved_is_reported_with_the_total_time() {
    let ends: [(TcpState, u16, Option<Option<bool>>, Resolution); 9] = [
        (TcpState::LastAck, 0, Some(Some(false)), Resolution::Closed),
        (
            TcpState::LastAck,
            0,
            Some(Some(true)),
            Resolution::ProcessExited,
        ),
        // A kernel thread did the last close(), or the kernel does not say who exits.
        (TcpState::LastAck, 0, None, Resolution::Unknown),
        (TcpState::LastAck, 0, Some(None), Resolution::Unknown),
        // close() with unread data resets.
        (TcpState::Close, 0, Some(Some(false)), Resolution::Closed),
        (
            TcpState::Close,
            0,
            Some(Some(true)),
            Resolution::ProcessExited,
        ),
        (TcpState::Close, 32, None, Resolution::Reset),
        (TcpState::Close, 110, None, Resolution::Timeout),
        (TcpState::Close, 103, None, Resolution::Destroyed),
    ];
    for (new, error, exits, expected) in ends {
        let mut world = world();
        let mut end = stuck(&mut world, 5);
        let entered = world.now - MINUTE;
        world.pass_ms(30 * SECOND);
        end.evidence.tcp.error = error;
        end.task = exits.map(|exits| {
            let mut task = task(9, "web");
            task.exits = exits;
            task
        });
        end.to(&mut world, new);
        let reported = stuck_socket(&mut world);
        assert_eq!(
            reported.event,
            StuckEvent::Resolved(expected),
            "{new:?} {error} {exits:?}"
        );
        assert_eq!(reported.at - reported.age.since, Nanos::from_secs(90));
        assert_eq!(reported.age.since, entered);
        assert_eq!(reported.fds(), [7], "as it was when it was stuck");
    }
}

#[test]
fn without_the_socket_s_evidence_it_is_not_known_how_it_ended() {
    let mut world = world();
    let mut end = stuck(&mut world, 5);
    end.classic = true;
    end.to(&mut world, TcpState::Close);
    assert_eq!(
        stuck_socket(&mut world).resolution(),
        Some(Resolution::Unknown)
    );
}

#[test]
fn a_lost_close_resolves_it_once_a_snapshot_misses_it() {
    let mut world = world();
    stuck(&mut world, 5);
    world.pass_ms(SECOND);
    let (namespaces, alive) = ([NETNS].into(), [].into());
    world.tracker.resync(&namespaces, &alive, world.now);
    for _ in 0..2 {
        world.pass_ms(100);
        world.answer(MinisocketState::Gone);
    }
    let reported = stuck_sockets(&mut world).remove(0);
    assert_eq!(reported.event, StuckEvent::Resolved(Resolution::Unknown));
}

#[test]
fn an_endpoint_that_still_sends_is_not_stuck_until_it_falls_silent() {
    let mut world = world();
    waiting(&mut world, 5);
    world.pass_ms(60 * SECOND);
    assert_eq!(requests(&mut world).len(), 1);
    // The peer acknowledged 10 bytes, 20 s ago.
    let mut socket = seen(5, Nanos::from_secs(20));
    socket.activity.as_mut().expect("it has").bytes_acked = 10;
    respond(&mut world, vec![held_by(9, socket)]);
    assert!(stuck_sockets(&mut world).is_empty());
    // One minute after that.
    assert_eq!(
        world.tracker.next_deadline(),
        Some(world.now + Nanos::from_secs(40))
    );
    world.pass_ms(40 * SECOND);
    assert_eq!(requests(&mut world).len(), 1);
    socket.activity.as_mut().expect("it has").since_ack = MINUTE;
    respond(&mut world, vec![held_by(9, socket)]);
    let reported = stuck_socket(&mut world);
    assert_eq!(reported.verdict, Verdict::EofRead);
    assert_eq!(reported.at - reported.age.since, Nanos::from_secs(100));
}

#[test]
fn an_endpoint_with_bytes_on_their_way_is_not_stuck_until_the_peer_takes_none() {
    let mut world = world();
    waiting(&mut world, 5);
    let mut socket = seen(5, MINUTE);
    for _ in 0..3 {
        world.pass_ms(60 * SECOND);
        assert_eq!(requests(&mut world).len(), 1);
        socket.unsent = 100;
        let activity = socket.activity.as_mut().expect("it has");
        activity.since_sent = Some(Nanos::from_secs(1));
        respond(&mut world, vec![held_by(9, socket)]);
        assert!(stuck_sockets(&mut world).is_empty());
    }
    world.pass_ms(60 * SECOND);
    assert_eq!(requests(&mut world).len(), 1);
    // It answers probes of its closed window.
    let activity = socket.activity.as_mut().expect("it has");
    activity.since_ack = Nanos::from_secs(10);
    activity.since_sent = Some(Nanos::from_secs(61));
    respond(&mut world, vec![held_by(9, socket)]);
    let reported = stuck_socket(&mut world);
    assert_eq!(reported.verdict, Verdict::EofRead);
    assert_eq!(reported.at - reported.age.since, Nanos::from_secs(240));
}

pub fn existing(world: &mut World, id: u64) {
    let socket = SnapshotSocket {
        cookie: EndpointId(id),
        netns: NETNS,
        tuple: tuple(3306, 40_000),
        state: TcpState::CloseWait,
        kind: SocketKind::Full,
        owner: None,
    };
    world.tracker.seed(&[socket], world.now);
}

#[test]
fn a_socket_that_was_stuck_before_is_reported_at_once_with_an_estimated_age() {
    let mut world = world();
    existing(&mut world, 5);
    assert_eq!(requests(&mut world).len(), 1);
    respond(&mut world, vec![held_by(9, seen(5, Nanos::from_secs(200)))]);
    let reported = stuck_socket(&mut world);
    assert_eq!(reported.event, StuckEvent::Ongoing);
    assert_eq!(reported.age.known, AgeCertainty::Estimated);
    assert_eq!(reported.at - reported.age.since, Nanos::from_secs(200));
    assert!(!reported.endpoint.seen_from_start);
}

#[test]
fn a_socket_that_was_there_and_is_younger_is_probed_when_its_time_has_come() {
    let mut world = world();
    existing(&mut world, 5);
    assert_eq!(requests(&mut world).len(), 1);
    respond(&mut world, vec![held_by(9, seen(5, Nanos::from_secs(25)))]);
    assert!(stuck_sockets(&mut world).is_empty());
    let due = world.now + Nanos::from_secs(35);
    assert_eq!(world.tracker.next_deadline(), Some(due));
    world.pass_ms(35 * SECOND);
    assert_eq!(requests(&mut world).len(), 1);
    // A keepalive probe was answered meanwhile: the earlier estimate is the better one.
    respond(&mut world, vec![held_by(9, seen(5, Nanos::from_secs(1)))]);
    let reported = stuck_socket(&mut world);
    assert_eq!(reported.event, StuckEvent::Opened);
    assert_eq!(reported.at - reported.age.since, MINUTE);
}

#[test]
fn an_endpoint_that_no_probe_finds_in_close_wait_is_not_reported() {
    let mut world = world();
    waiting(&mut world, 5);
    world.pass_ms(60 * SECOND);
    assert_eq!(requests(&mut world).len(), 1);
    respond(&mut world, vec![]);
    assert!(stuck_sockets(&mut world).is_empty());
    let again = Some(world.now + MINUTE);
    assert_eq!(world.tracker.next_deadline(), again, "it is probed again");
}

#[test]
fn a_probe_that_took_long_is_followed_by_rest() {
    let mut world = world();
    existing(&mut world, 5);
    existing(&mut world, 6);
    assert_eq!(requests(&mut world).len(), 2);
    let at = world.now;
    world.pass_ms(200);
    let seen = vec![held_by(9, seen(5, Nanos::from_millis(59_900)))];
    world.tracker.apply_stuck_probe(&StuckProbeResponse {
        at,
        ended: world.now,
        found: seen,
        coverage: HolderCoverage::All,
    });
    let rested = world.now + Nanos::from_secs(4);
    assert_eq!(world.tracker.next_deadline(), Some(rested));
    world.pass_ms(SECOND);
    assert_eq!(requests(&mut world), []);
    world.pass_ms(3 * SECOND);
    assert_eq!(requests(&mut world).len(), 1);
}
