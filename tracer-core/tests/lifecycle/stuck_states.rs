//! Endpoints that stay in other states than CLOSE_WAIT: what each waits for, and what ends that.

use tcpclose_common::TcpState;
use tcpclose_core::stuck::{
    AgeCertainty, ObservedSocket, OwnerUnknown, ProbedSocket, Resolution, StuckEvent, Unanswered,
    UnansweredKind, Verdict,
};
use tcpclose_core::types::{EndpointId, Nanos, OwnerSource};
use tcpclose_core::{MinisocketState, SnapshotSocket, SocketKind};

use crate::input_methods::InputMethods as _;
use crate::socket::{NETNS, Socket, World, task, tuple};
use crate::stuck::{
    MINUTE, SECOND, held_by, requests, respond, seen, stuck_socket, stuck_sockets, waiting, world,
};

/// Errors as the kernel has them in `sk_err`.
const ETIMEDOUT: u16 = 110;

/// An endpoint whose process has called shutdown(), which the peer has acknowledged.
fn shut_down(world: &mut World, id: u64) -> Socket {
    let mut end = Socket::client(world, id);
    end.closes_first(world);
    end
}

/// The endpoint is still there when it is looked up for the first time, two seconds after it began
/// to close.
fn is_still_there(world: &mut World) {
    world.pass_ms(2 * SECOND);
    world.answer(MinisocketState::FullSocket);
}

/// A minute has passed since it began to close; it is probed and found like this.
fn found(world: &mut World, probed: ProbedSocket) {
    world.pass_ms(58 * SECOND);
    let asked: Vec<_> = requests(world).iter().map(|request| request.id).collect();
    assert_eq!(asked, [probed.id]);
    respond(world, vec![probed]);
}

/// A socket in FIN_WAIT2 whose peer was last heard that long ago.
fn silent(id: u64, since_ack: Nanos) -> ObservedSocket {
    ObservedSocket {
        state: TcpState::FinWait2,
        tuple: tuple(40_000, 3306),
        ..seen(id, since_ack)
    }
}

/// One into which data came that long ago.
fn receiving(id: u64, since_data: Nanos) -> ObservedSocket {
    let mut socket = silent(id, since_data);
    socket.activity = socket.activity.map(|mut activity| {
        activity.since_data = Some(since_data);
        activity
    });
    socket
}

/// A socket that its process has closed and whose FIN the peer does not acknowledge.
fn unacknowledged(id: u64, state: TcpState) -> ProbedSocket {
    let socket = ObservedSocket {
        state,
        inode: None,
        unsent: 1,
        unanswered: Some(Unanswered {
            kind: UnansweredKind::Retransmissions,
            count: 8,
            at_least: Some(Nanos::from_secs(51)),
        }),
        ..seen(id, MINUTE)
    };
    ProbedSocket {
        id: socket.id,
        socket,
        holders: vec![],
        process: None,
    }
}

fn resolved(world: &mut World) -> Resolution {
    let stuck = stuck_sockets(world).into_iter();
    let mut ends = stuck.filter_map(|stuck| stuck.resolution());
    let by = ends.next().expect("it is no longer stuck");
    assert_eq!(
        (ends.next(), world.tracker.stuck()),
        (None, 1),
        "as of the last probe"
    );
    by
}

#[test]
fn shutdown_without_close_is_stuck_once_the_peer_is_silent() {
    let mut world = world();
    let entered = world.now;
    shut_down(&mut world, 5);
    is_still_there(&mut world);
    found(&mut world, held_by(9, silent(5, MINUTE)));
    let stuck = stuck_socket(&mut world);
    assert_eq!(
        (stuck.event, stuck.verdict),
        (StuckEvent::Opened, Verdict::HalfClosed)
    );
    assert_eq!(
        (stuck.age.since, stuck.age.known),
        (entered, AgeCertainty::Observed)
    );
    assert_eq!(stuck.fds(), [7]);
    assert_eq!(stuck.process.as_ref().map(|owner| owner.stuck), Some(1));
    assert!(stuck.is_stuck() && stuck.idle_before_fin.is_none());
}

#[test]
fn a_half_close_at_work_is_not_stuck_until_data_stops() {
    let mut world = world();
    shut_down(&mut world, 5);
    is_still_there(&mut world);
    let ten = Nanos::from_secs(10);
    found(&mut world, held_by(9, receiving(5, ten)));
    assert_eq!(stuck_sockets(&mut world), []);
    world.pass_ms(50 * SECOND - 1);
    assert_eq!(requests(&mut world), [], "data came ten seconds before");
    world.pass_ms(1);
    assert_eq!(requests(&mut world).len(), 1);
    respond(&mut world, vec![held_by(9, receiving(5, MINUTE))]);
    assert_eq!(stuck_socket(&mut world).verdict, Verdict::HalfClosed);
}

#[test]
fn what_ends_fin_wait2_is_reported() {
    let end = |last: &dyn Fn(&mut World, &mut Socket)| {
        let mut world = world();
        let mut end = shut_down(&mut world, 5);
        is_still_there(&mut world);
        found(&mut world, held_by(9, silent(5, MINUTE)));
        stuck_socket(&mut world);
        world.pass_ms(10);
        last(&mut world, &mut end);
        resolved(&mut world)
    };
    let by_peer = end(&|world, end| end.enters_time_wait(world));
    assert_eq!(by_peer, Resolution::PeerClosed);
    let by_close = end(&|world, end| {
        end.evidence.flags.dead = true;
        end.closes(world, TcpState::Close);
    });
    assert_eq!(by_close, Resolution::Closed);
    let by_exit = end(&|world, end| {
        end.evidence.flags.dead = true;
        let mut exiting = task(9, "web");
        exiting.exits = Some(true);
        end.task = Some(exiting);
        end.to(world, TcpState::Close);
    });
    assert_eq!(by_exit, Resolution::ProcessExited);
    let by_timer = end(&|world, end| {
        end.evidence.tcp.error = ETIMEDOUT;
        end.to(world, TcpState::Close);
    });
    assert_eq!(by_timer, Resolution::Timeout);
}

#[test]
fn a_socket_that_is_closed_is_ended_by_the_kernel_in_fin_wait2() {
    // TCP_LINGER2 keeps it a full socket for more than a minute.
    let mut world = world();
    shut_down(&mut world, 5);
    is_still_there(&mut world);
    let orphan = ObservedSocket {
        inode: None,
        ..silent(5, MINUTE)
    };
    let probed = ProbedSocket {
        id: EndpointId(5),
        socket: orphan,
        holders: vec![],
        process: None,
    };
    found(&mut world, probed);
    assert_eq!(stuck_sockets(&mut world), []);
}

#[test]
fn a_fin_that_is_never_acknowledged_is_stuck_and_belongs_to_who_closed() {
    let mut world = world();
    let mut end = waiting(&mut world, 5);
    world.pass_ms(10);
    let entered = world.now;
    end.closes(&mut world, TcpState::LastAck);
    is_still_there(&mut world);
    found(&mut world, unacknowledged(5, TcpState::LastAck));
    let stuck = stuck_socket(&mut world);
    assert_eq!(stuck.verdict, Verdict::Unanswered);
    assert_eq!(
        (stuck.age.since, stuck.age.known),
        (entered, AgeCertainty::Observed)
    );
    let owner = stuck.owner.as_ref();
    let owner = owner.map(|owner| (owner.pid, owner.source));
    assert_eq!(owner, Some((88, OwnerSource::Close)));
    assert_eq!(stuck.owner_unknown, None);
    // The kernel gives up.
    world.pass_ms(40 * SECOND);
    end.evidence.tcp.error = ETIMEDOUT;
    end.to(&mut world, TcpState::Close);
    assert_eq!(resolved(&mut world), Resolution::Timeout);
}

#[test]
fn an_orphan_of_an_unknown_process_has_been_closed() {
    let mut world = world();
    let socket = SnapshotSocket {
        cookie: EndpointId(5),
        netns: NETNS,
        tuple: tuple(3306, 40_000),
        state: TcpState::LastAck,
        kind: SocketKind::Passive,
        owner: None,
    };
    let at = world.now;
    world.tracker.seed(&[socket], at);
    assert_eq!(requests(&mut world).len(), 1);
    let young = unacknowledged(5, TcpState::LastAck);
    respond(&mut world, vec![young.clone()]);
    assert_eq!(stuck_sockets(&mut world), [], "51 s are certain");
    world.pass_ms(9 * SECOND);
    assert_eq!(requests(&mut world).len(), 1);
    respond(&mut world, vec![young]);
    let stuck = stuck_socket(&mut world);
    assert_eq!(stuck.age.known, AgeCertainty::Estimated);
    assert_eq!(stuck.age.since, at - Nanos::from_secs(51));
    assert_eq!(stuck.owner_unknown, Some(OwnerUnknown::Closed));
}

#[test]
fn a_peer_that_does_not_read_keeps_fin_wait1() {
    let mut world = world();
    let mut end = Socket::client(&mut world, 5);
    end.closes(&mut world, TcpState::FinWait1);
    is_still_there(&mut world);
    // It answers probes of its closed window.
    let mut probed = unacknowledged(5, TcpState::FinWait1);
    probed.socket.unanswered = None;
    probed.socket.unsent = 9_000;
    probed.socket.activity = probed.socket.activity.map(|mut activity| {
        activity.since_ack = Nanos::from_secs(3);
        activity.since_sent = Some(Nanos::from_secs(61));
        activity
    });
    found(&mut world, probed);
    assert_eq!(stuck_socket(&mut world).verdict, Verdict::PeerNotReading);
    // Then it reads.
    end.is_acknowledged();
    end.to(&mut world, TcpState::FinWait2);
    assert_eq!(resolved(&mut world), Resolution::Acknowledged);
}

#[test]
fn what_still_gets_through_is_not_stuck() {
    let mut world = world();
    let mut end = Socket::client(&mut world, 5);
    end.closes(&mut world, TcpState::FinWait1);
    is_still_there(&mut world);
    // A retransmission is under way, and bytes were acknowledged five seconds ago.
    let mut probed = unacknowledged(5, TcpState::FinWait1);
    probed.socket.unsent = 9_000;
    probed.socket.activity = probed.socket.activity.map(|mut activity| {
        activity.since_ack = Nanos::from_secs(5);
        activity.bytes_acked = 70_000;
        activity
    });
    found(&mut world, probed);
    assert_eq!(stuck_sockets(&mut world), []);
}

#[test]
fn a_single_probe_that_may_be_on_its_way_proves_nothing() {
    let mut world = world();
    let mut end = Socket::client(&mut world, 5);
    end.closes(&mut world, TcpState::FinWait1);
    is_still_there(&mut world);
    let mut probed = unacknowledged(5, TcpState::FinWait1);
    probed.socket.unanswered = Some(Unanswered {
        kind: UnansweredKind::WindowProbes,
        count: 1,
        at_least: None,
    });
    probed.socket.activity = probed.socket.activity.map(|mut activity| {
        activity.since_ack = Nanos::from_secs(5);
        activity
    });
    found(&mut world, probed);
    assert_eq!(stuck_sockets(&mut world), []);
}

#[test]
fn a_socket_may_be_stuck_in_one_state_after_the_other() {
    let mut world = world();
    let mut end = waiting(&mut world, 5);
    world.pass_ms(60 * SECOND);
    assert_eq!(requests(&mut world).len(), 1);
    respond(&mut world, vec![held_by(9, seen(5, MINUTE))]);
    assert_eq!(stuck_socket(&mut world).verdict, Verdict::EofRead);
    end.closes(&mut world, TcpState::LastAck);
    assert_eq!(resolved(&mut world), Resolution::Closed);
    is_still_there(&mut world);
    found(&mut world, unacknowledged(5, TcpState::LastAck));
    let again = stuck_socket(&mut world);
    assert_eq!(
        (again.event, again.verdict),
        (StuckEvent::Opened, Verdict::Unanswered)
    );
}

#[test]
fn closes_that_are_over_in_time_are_never_probed_as_stuck() {
    let mut world = world();
    let mut end = shut_down(&mut world, 5);
    is_still_there(&mut world);
    world.pass_ms(10 * SECOND);
    end.enters_time_wait(&mut world);
    world.pass_ms(60 * SECOND);
    assert_eq!(requests(&mut world), []);
}
