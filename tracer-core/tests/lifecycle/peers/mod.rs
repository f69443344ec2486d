//! Both endpoints of a connection are on this host: they lend each other what they know.

mod from_path;
mod older;
mod overtaken;

use tcpclose_common::TcpState;
use tcpclose_core::event::SignalKind;
use tcpclose_core::finding::{Cause, Close, ClosePath, Finding};
use tcpclose_core::types::{EndpointId, Nanos, NetNs, Tuple};

use crate::input_methods::InputMethods as _;
use crate::socket::{IRS, ISS, Socket, World, reset_sent, task, tuple};

const ECONNRESET: u16 = 104;
const CLIENT: u64 = 5;
const SERVER: u64 = 6;
const OTHER_NETNS: NetNs = NetNs::new(2).expect("it is not 0");

/// The server's endpoint of the client that has just been connected.
fn server(world: &mut World) -> Socket {
    let mut server = Socket::child(SERVER);
    let (snd, rcv) = (IRS.wrapping_add(1), ISS.wrapping_add(1));
    let tcp = &mut server.evidence.tcp;
    (tcp.snd_una, tcp.snd_nxt, tcp.write_seq) = (snd, snd, snd);
    (tcp.rcv_nxt, tcp.snd_wl1) = (rcv, ISS);
    (server.rcv_wup, server.read_up_to) = (rcv, rcv);
    (tcp.segs_in, tcp.segs_out) = (2, 1);
    server.to(world, TcpState::Established);
    server
}

/// Both endpoints of a connection, opened within a millisecond.
fn connected(world: &mut World) -> (Socket, Socket) {
    let client = Socket::client(world, CLIENT);
    world.pass_ms(1);
    let server = server(world);
    (client, server)
}

/// The close with this id among the findings.
fn close_of(findings: &[Finding], id: u64) -> &Close {
    let mut closes = findings.iter().filter_map(|finding| match finding {
        Finding::Close(close) if close.endpoint.id == EndpointId(id) => Some(&**close),
        _ => None,
    });
    let close = closes
        .next()
        .unwrap_or_else(|| panic!("no close of {id}: {findings:?}"));
    assert!(closes.next().is_none(), "{findings:?}");
    close
}

fn peer_pid(close: &Close) -> Option<u32> {
    close.endpoint.peer_owner.as_ref().map(|owner| owner.pid)
}

/// The endpoint takes a RST of the peer's.
fn is_reset(world: &mut World, socket: &mut Socket) {
    socket.evidence.tcp.error = ECONNRESET;
    world.signal(socket.id, SignalKind::ResetReceived);
    socket.to(world, TcpState::Close);
}

/// The server aborts with unread data: its RST reaches the client before the kernel reports it.
fn abort_with_unread_data(world: &mut World, client: &mut Socket, server: &mut Socket) {
    server.receives(5, 0);
    server.closes(world, TcpState::Close);
    is_reset(world, client);
    world.signal(SERVER, reset_sent(Some("TCP_ABORT_ON_CLOSE")));
}

#[test]
fn both_ends_of_an_orderly_close_name_each_other() {
    let mut world = World::new();
    let (mut client, mut server) = connected(&mut world);
    client.closes_first(&mut world);
    server.receives_fin();
    server.to(&mut world, TcpState::CloseWait);
    server.closes(&mut world, TcpState::LastAck);
    client.enters_time_wait(&mut world);
    server.is_acknowledged();
    server.to(&mut world, TcpState::Close);
    let findings = world.findings();
    assert_eq!(findings.len(), 2, "neither has waited");
    let peer = |id| close_of(&findings, id).endpoint.peer;
    assert_eq!(peer(CLIENT), Some(EndpointId(SERVER)));
    assert_eq!(peer(SERVER), Some(EndpointId(CLIENT)));
    // The client is known from connect(), the server from its close().
    assert_eq!(peer_pid(close_of(&findings, CLIENT)), Some(88));
    assert_eq!(peer_pid(close_of(&findings, SERVER)), Some(77));
    assert!(findings.iter().all(|finding| match finding {
        Finding::Close(close) => close.peer_cause.is_none(),
        _ => true,
    }));
}

#[test]
fn the_end_of_time_wait_names_the_peer_as_the_close_has() {
    let mut world = World::new();
    let (mut client, mut server) = connected(&mut world);
    client.closes_first(&mut world);
    server.receives_fin();
    server.to(&mut world, TcpState::CloseWait);
    server.closes(&mut world, TcpState::LastAck);
    client.enters_time_wait(&mut world);
    world.findings();
    world.pass_ms(100_000);
    let mut polls = Vec::new();
    world.tracker.due_polls(world.now, &mut polls);
    for poll in polls {
        world.tracker.apply_poll(&tcpclose_core::PollResponse {
            netns: poll.netns,
            began: world.now,
            ended: world.now,
            cost: Nanos(0),
            reached: true,
            complete: true,
            overflows: 0,
            found: Vec::new(),
        });
    }
    world.pass_ms(1000);
    let findings = world.findings();
    let time_wait = findings.iter().find_map(|finding| match finding {
        Finding::TimeWait(time_wait) => Some(time_wait),
        _ => None,
    });
    let owner = time_wait.unwrap().endpoint.peer_owner.as_ref();
    assert_eq!(owner.map(|owner| owner.pid), Some(88));
}

#[test]
fn an_owner_found_through_a_listener_stays_marked_as_the_peers() {
    use tcpclose_core::types::OwnerSource;
    let mut world = World::new();
    let mut listener = Socket::child(4);
    listener.state = TcpState::Close;
    listener.tuple = Tuple::from((tuple(3306, 0).local(), "0.0.0.0:0".parse().unwrap()));
    listener.task = Some(task(99, "master"));
    listener.to(&mut world, TcpState::Listen);
    let (mut client, _server) = connected(&mut world);
    client.evidence.flags.linger_zero = true;
    client.closes(&mut world, TcpState::Close);
    world.signal(CLIENT, reset_sent(None));
    let findings = world.findings();
    let owner = close_of(&findings, CLIENT)
        .endpoint
        .peer_owner
        .as_ref()
        .unwrap();
    assert_eq!((owner.pid, owner.source), (99, OwnerSource::Listen));
}

#[test]
fn the_endpoint_that_was_reset_shows_why_the_peer_did_it() {
    let mut world = World::new();
    let (mut client, mut server) = connected(&mut world);
    abort_with_unread_data(&mut world, &mut client, &mut server);
    let findings = world.findings();
    let reset = close_of(&findings, CLIENT);
    assert_eq!((reset.path, reset.cause), (ClosePath::Reset, None));
    assert_eq!(reset.peer_cause, Some(Cause::UnreadData));
    assert_eq!(peer_pid(reset), Some(88));
    let abort = close_of(&findings, SERVER);
    assert_eq!(
        (abort.cause, abort.peer_cause),
        (Some(Cause::UnreadData), None)
    );
    assert_eq!(peer_pid(abort), Some(77));
}

#[test]
fn a_peer_that_has_closed_before_has_left_its_cause() {
    let mut world = World::new();
    let (mut client, mut server) = connected(&mut world);
    server.evidence.flags.linger_zero = true;
    server.closes(&mut world, TcpState::Close);
    world.signal(SERVER, reset_sent(None));
    // The RST was lost: the client's next data is answered with another one.
    world.pass_ms(7000);
    assert_eq!(
        close_of(&world.findings(), SERVER).cause,
        Some(Cause::Linger)
    );
    is_reset(&mut world, &mut client);
    let reset = world.close();
    assert_eq!(reset.peer_cause, Some(Cause::Linger), "it did not wait");
    assert_eq!(peer_pid(&reset), Some(88));
}

#[test]
fn data_after_close_is_shown_by_the_minisocket_that_refused_it() {
    let mut world = World::new();
    let (mut client, mut server) = connected(&mut world);
    client.evidence.flags.dead = true;
    client.closes_first(&mut world);
    client.to(&mut world, TcpState::Close);
    server.receives_fin();
    server.to(&mut world, TcpState::CloseWait);
    server.sends(10);
    is_reset(&mut world, &mut server);
    assert!(world.findings().is_empty(), "both are to come");
    world.signal(
        CLIENT,
        SignalKind::ResetSent {
            reason: None,
            answers: Some(tcpclose_core::event::Segment {
                fin: false,
                rst: false,
                has_ack: true,
                seq: IRS.wrapping_add(1),
                end: IRS.wrapping_add(11),
                ack: ISS.wrapping_add(2),
            }),
            minisocket: true,
        },
    );
    let findings = world.findings();
    assert_eq!(
        close_of(&findings, CLIENT).cause,
        Some(Cause::DataAfterClose)
    );
    let reset = close_of(&findings, SERVER);
    assert_eq!(reset.peer_cause, Some(Cause::DataAfterClose));
    assert_eq!(peer_pid(reset), Some(77));
}

#[test]
fn a_reset_is_not_explained_by_what_the_peer_saw_of_another() {
    let mut world = World::new();
    let (mut client, mut server) = connected(&mut world);
    // Two RSTs that crossed, as of a firewall.
    is_reset(&mut world, &mut client);
    is_reset(&mut world, &mut server);
    let findings = world.findings();
    for id in [CLIENT, SERVER] {
        let close = close_of(&findings, id);
        assert_eq!((close.cause, close.peer_cause), (None, None));
    }
}

#[test]
fn a_reset_of_a_peer_that_is_not_here_is_reported_at_once() {
    let mut world = World::new();
    let mut client = Socket::client(&mut world, CLIENT);
    is_reset(&mut world, &mut client);
    let close = world.close();
    assert_eq!((close.cause, close.peer_cause), (None, None));
    assert_eq!(peer_pid(&close), None);
}

#[test]
fn other_numbers_are_another_connection() {
    let mut world = World::new();
    let mut client = Socket::client(&mut world, CLIENT);
    let mut stranger = Socket::child(SERVER);
    stranger.evidence.tcp.snd_una = IRS.wrapping_add(1);
    stranger.evidence.tcp.rcv_nxt = ISS.wrapping_add(2);
    stranger.to(&mut world, TcpState::Established);
    is_reset(&mut world, &mut client);
    assert_eq!(peer_pid(&world.close()), None);
}

#[test]
fn two_ends_with_nat_between_them_are_known_by_their_numbers() {
    let mut world = World::new();
    let mut client = Socket::connecting(&mut world, CLIENT);
    client.tuple = Tuple::from((
        "10.0.0.1:40000".parse().unwrap(),
        "10.0.0.2:80".parse().unwrap(),
    ));
    client.is_connected(&mut world);
    let mut server = server(&mut world);
    server.closes(&mut world, TcpState::FinWait1);
    abort(&mut world, &mut client);
    assert_eq!(peer_pid(&world.close()), Some(88));
}

/// The process aborts the connection.
fn abort(world: &mut World, socket: &mut Socket) {
    socket.evidence.flags.linger_zero = true;
    socket.closes(world, TcpState::Close);
    world.signal(socket.id, reset_sent(None));
}

#[test]
fn a_socket_connected_to_itself_is_its_own_peer() {
    let mut world = World::new();
    let mut socket = Socket::connecting(&mut world, CLIENT);
    socket.tuple = tuple(40_000, 40_000);
    socket.is_connected(&mut world);
    abort(&mut world, &mut socket);
    assert_eq!(peer_pid(&world.close()), Some(77));
}

#[test]
fn the_classic_tracepoint_shows_no_peer() {
    let mut world = World::new();
    let mut client = Socket::connecting(&mut world, CLIENT);
    client.tuple = tuple(40_000, 3306);
    client.classic = true;
    client.is_connected(&mut world);
    let mut server = Socket::child(SERVER);
    server.classic = true;
    server.to(&mut world, TcpState::Established);
    client.to(&mut world, TcpState::Close);
    world.pass_ms(100);
    assert_eq!(peer_pid(&world.close()), None);
}
