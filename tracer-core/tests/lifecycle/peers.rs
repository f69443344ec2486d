//! Both endpoints of a connection are on this host: they lend each other what they know.

use tcpclose_common::TcpState;
use tcpclose_core::event::SignalKind;
use tcpclose_core::finding::{Cause, Close, ClosePath, Finding, Loss, LossLocation};
use tcpclose_core::types::{EndpointId, Nanos, NetNs, Tuple};
use tcpclose_core::{Input, MinisocketState, SnapshotSocket, SocketKind};

use crate::input_methods::InputMethods as _;
use crate::socket::{IRS, ISS, NETNS, Socket, World, reset_sent, task, tuple};

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
fn a_reset_of_a_peer_that_is_not_here_is_reported_at_once() {
    let mut world = World::new();
    let mut client = Socket::client(&mut world, CLIENT);
    is_reset(&mut world, &mut client);
    let close = world.close();
    assert_eq!((close.cause, close.peer_cause), (None, None));
    assert_eq!(peer_pid(&close), None);
}

#[test]
fn a_session_that_ends_reports_the_closes_that_wait() {
    let mut world = World::new();
    reset_from_somewhere(&mut world);
    world.tracker.end_waits_for_peers();
    assert_eq!(world.close().cause, None);
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

/// An open socket as a snapshot shows it.
fn older(id: u64, netns: NetNs, tuple: Tuple) -> SnapshotSocket {
    let owner = tcpclose_core::types::Owner {
        pid: 1000 + id as u32,
        uid: 0,
        cgroup: None,
        comm: (*b"older").into(),
        source: tcpclose_core::types::OwnerSource::Proc,
    };
    SnapshotSocket {
        cookie: EndpointId(id),
        netns,
        tuple,
        state: TcpState::Established,
        kind: SocketKind::Full,
        owner: Some(owner.into()),
    }
}

/// The peer's pid that the first of these sockets shows when it is aborted.
fn peer_among(sockets: &[SnapshotSocket]) -> Option<u32> {
    let mut world = World::new();
    world.tracker.seed(sockets, world.now);
    let mut socket = Socket::child(sockets[0].cookie.0);
    socket.state = TcpState::Established;
    socket.tuple = sockets[0].tuple;
    abort(&mut world, &mut socket);
    peer_pid(&world.close())
}

fn far(local: &str, peer: &str) -> Tuple {
    Tuple::from((local.parse().unwrap(), peer.parse().unwrap()))
}

#[test]
fn older_sockets_are_known_by_their_addresses() {
    let (near, mirrored) = (tuple(40_000, 3306), tuple(3306, 40_000));
    let here = |id, tuple| older(id, NETNS, tuple);
    let there = |id, tuple| older(id, OTHER_NETNS, tuple);
    assert_eq!(peer_among(&[here(5, near), here(6, mirrored)]), Some(1006));
    assert_eq!(
        peer_among(&[here(5, near), here(6, tuple(3306, 40_001))]),
        None
    );
    // Each namespace has a loopback of its own.
    assert_eq!(peer_among(&[here(5, near), there(6, mirrored)]), None);
    let both = [
        here(5, near),
        there(7, mirrored),
        there(8, near),
        here(6, mirrored),
    ];
    assert_eq!(peer_among(&both), Some(1006));

    let (out, back) = (
        far("10.0.0.1:40000", "10.0.0.2:80"),
        far("10.0.0.2:80", "10.0.0.1:40000"),
    );
    assert_eq!(peer_among(&[here(5, out), there(6, back)]), Some(1006));
    // Two containers with the same addresses.
    let third = NetNs::new(3).unwrap();
    let alike = [here(5, out), there(6, back), older(7, third, out)];
    assert_eq!(peer_among(&alike), None);
}

#[test]
fn a_few_more_sockets_are_joined_a_second_later() {
    let mut world = World::with_capacity(64);
    let many = (0..20).map(|number| older(100 + number, NETNS, tuple(50_000, number as u16 + 1)));
    let many: Vec<SnapshotSocket> = many.collect();
    world.tracker.seed(&many, world.now);
    let pair = [
        older(CLIENT, NETNS, tuple(40_000, 3306)),
        older(SERVER, NETNS, tuple(3306, 40_000)),
    ];
    world.tracker.seed(&pair, world.now);
    assert_eq!(
        world.tracker.next_deadline(),
        Some(world.now + Nanos::from_secs(1))
    );
    world.pass_ms(1000);
    let mut client = Socket::child(CLIENT);
    client.state = TcpState::Established;
    client.tuple = pair[0].tuple;
    abort(&mut world, &mut client);
    assert_eq!(peer_pid(&world.close()), Some(1006));
}

#[test]
fn older_sockets_prove_no_reset_from_the_path() {
    let mut world = World::new();
    let sockets = [
        older(CLIENT, NETNS, tuple(40_000, 3306)),
        older(SERVER, NETNS, tuple(3306, 40_000)),
    ];
    world.tracker.seed(&sockets, world.now);
    let mut client = Socket::child(CLIENT);
    client.state = TcpState::Established;
    client.tuple = sockets[0].tuple;
    is_reset(&mut world, &mut client);
    world.pass_ms(20);
    assert!(world.requests().is_empty());
    let close = world.close();
    assert_eq!((close.cause, peer_pid(&close)), (None, Some(1006)));
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
