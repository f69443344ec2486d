//! Sockets that were there before the tracer.

use std::collections::HashSet;
use std::sync::Arc;

use tcpclose_common::TcpState;
use tcpclose_core::event::SignalKind;
use tcpclose_core::finding::{ClosePath, Finding, Initiator, TimeWaitEnd};
use tcpclose_core::types::{Certainty, EndpointId, Nanos, NetNs, Owner, OwnerSource, Role};
use tcpclose_core::{MinisocketState, PollResponse, PolledMinisocket, SnapshotSocket, SocketKind};

use crate::input_methods::InputMethods as _;
use crate::scenarios::steps;
use crate::socket::{NETNS, Socket, World, tuple};

pub fn existing(cookie: u64, state: TcpState, left_ms: Option<u64>) -> SnapshotSocket {
    SnapshotSocket {
        cookie: EndpointId(cookie),
        netns: NETNS,
        tuple: match state {
            TcpState::Listen => tuple(3306, 0),
            _ => tuple(3306, 40_000),
        },
        state,
        kind: match left_ms {
            Some(left) => SocketKind::Minisocket(Nanos::from_millis(left)),
            None => SocketKind::Passive,
        },
        owner: None,
    }
}

#[test]
fn an_open_connection_is_tracked_and_one_that_a_listener_accepted_is_a_servers() {
    let mut world = World::new();
    let snapshot = [
        existing(4, TcpState::Listen, None),
        existing(5, TcpState::Established, None),
    ];
    world.tracker.seed(&snapshot, world.now);
    assert_eq!(world.tracker.live(), 1);
    let mut end = Socket::server(&mut World::new(), 5);
    end.receives_fin();
    end.to(&mut world, TcpState::CloseWait);
    end.closes(&mut world, TcpState::LastAck);
    end.is_acknowledged();
    end.to(&mut world, TcpState::Close);
    let close = world.close();
    assert_eq!(
        (close.endpoint.role, close.endpoint.seen_from_start),
        (Role::Server, false)
    );
    assert_eq!(close.path, ClosePath::ThreeWay);
    assert_eq!(
        steps(&close),
        ["peer FIN,ACK 1 -", "local FIN,ACK - 2", "peer ACK 2 -"]
    );
}

/// A listener may share its port with sockets that connect (`SO_REUSEPORT`).
#[test]
fn a_listener_on_the_port_proves_no_role() {
    for (listens, kind, expected) in [
        (true, SocketKind::Full, Role::Unknown),
        (true, SocketKind::Active, Role::Client),
        (false, SocketKind::Active, Role::Client),
        (true, SocketKind::Passive, Role::Server),
        // It may have been restored.
        (false, SocketKind::Passive, Role::Unknown),
    ] {
        let mut world = World::new();
        let listener = held_by(4, existing(4, TcpState::Listen, None));
        let connection = SnapshotSocket {
            kind,
            ..existing(5, TcpState::Established, None)
        };
        let snapshot = [listener, connection];
        let seen = if listens { 0.. } else { 1.. };
        world.tracker.seed(&snapshot[seen], world.now);
        let mut end = Socket::server(&mut World::new(), 5);
        end.evidence.tcp.error = 104;
        end.to(&mut world, TcpState::Close);
        let close = world.close();
        assert_eq!(close.endpoint.role, expected, "{kind:?}");
        let through_the_listener = listens && expected != Role::Client;
        assert_eq!(close.owner.is_some(), through_the_listener, "{kind:?}");
    }
}

#[test]
fn a_minisocket_on_a_listeners_port_has_no_role() {
    for state in [TcpState::FinWait2, TcpState::TimeWait] {
        let mut world = World::new();
        let snapshot = [
            existing(4, TcpState::Listen, None),
            existing(5, state, Some(20_000)),
        ];
        world.tracker.seed(&snapshot, world.now);
        if state == TcpState::FinWait2 {
            world.pass_ms(100);
            world.answer(MinisocketState::TimeWait(Nanos::from_millis(59_950)));
            assert_eq!(world.close().endpoint.role, Role::Unknown);
        }
        // A SYN of the peer takes its place.
        let _server = Socket::server(&mut world, 6);
        let findings = world.findings();
        let [Finding::TimeWait(ended)] = findings.as_slice() else {
            panic!("{findings:?}")
        };
        assert_eq!(ended.endpoint.role, Role::Unknown);
    }
}

/// Its SYN counts among the acknowledged bytes.
#[test]
fn a_connection_that_was_being_opened_is_a_clients_with_its_numbers() {
    for known in [false, true] {
        let mut world = World::new();
        let mut end = Socket::connecting(&mut World::new(), 5);
        if known {
            let snapshot = SnapshotSocket {
                tuple: tuple(40_000, 3306),
                kind: SocketKind::Full,
                ..existing(5, TcpState::SynSent, None)
            };
            world.tracker.seed(&[snapshot], world.now);
        }
        end.is_connected(&mut world);
        end.sends(7);
        end.evidence.tcp.error = 104;
        world.signal(5, SignalKind::ResetReceived);
        end.to(&mut world, TcpState::Close);
        let close = world.close();
        assert_eq!(close.endpoint.role, Role::Client);
        assert_eq!(close.bytes.sent, Some(7));
        assert_eq!(steps(&close), ["~peer RST,ACK 1 8"]);
    }
}

#[test]
fn a_connection_whose_syns_crossed_is_a_clients() {
    let mut world = World::new();
    let mut end = Socket::connecting(&mut World::new(), 5);
    let listener = existing(4, TcpState::Listen, None);
    let connecting = existing(5, TcpState::SynSent, None);
    world.tracker.seed(&[listener, connecting], world.now);
    end.to(&mut world, TcpState::SynRecv);
    end.is_connected(&mut world);
    end.evidence.tcp.error = 104;
    end.to(&mut world, TcpState::Close);
    let close = world.close();
    assert_eq!(close.endpoint.role, Role::Client);
    assert!(!close.endpoint.seen_from_start);
}

pub fn held_by(pid: u32, socket: SnapshotSocket) -> SnapshotSocket {
    let owner = Owner {
        pid,
        uid: 0,
        cgroup: None,
        comm: b"holder"[..].into(),
        source: OwnerSource::Proc,
        thread: None,
    };
    SnapshotSocket {
        owner: Some(Arc::new(owner)),
        ..socket
    }
}

#[test]
fn who_holds_a_socket_owns_it_until_it_is_closed_by_another() {
    for (closer, expected) in [
        (None, (5, OwnerSource::Proc)),
        (Some(88), (88, OwnerSource::Close)),
    ] {
        let mut world = World::new();
        let socket = held_by(5, existing(5, TcpState::Established, None));
        world.tracker.seed(&[socket], world.now);
        let mut end = Socket::server(&mut World::new(), 5);
        match closer {
            Some(_) => end.closes(&mut world, TcpState::FinWait1),
            None => end.evidence.tcp.error = 104,
        }
        end.to(&mut world, TcpState::Close);
        world.pass_ms(100);
        let owner = world.close().owner.unwrap();
        assert_eq!((owner.pid, owner.source), expected);
    }
}

#[test]
fn a_connection_in_the_accept_queue_is_the_listeners() {
    let mut world = World::new();
    let snapshot = [
        held_by(4, existing(4, TcpState::Listen, None)),
        existing(5, TcpState::Established, None),
    ];
    world.tracker.seed(&snapshot, world.now);
    let mut end = Socket::server(&mut World::new(), 5);
    end.evidence.tcp.error = 104;
    end.to(&mut world, TcpState::Close);
    assert_eq!(world.close().owner.unwrap().pid, 4);
}

#[test]
fn a_port_that_processes_share_has_no_owner() {
    for shared in [false, true] {
        let mut world = World::new();
        let mut snapshot = vec![held_by(4, existing(4, TcpState::Listen, None)); 2];
        if shared {
            snapshot.push(held_by(3, existing(3, TcpState::Listen, None)));
            snapshot.push(held_by(4, existing(2, TcpState::Listen, None)));
        }
        world.tracker.seed(&snapshot, world.now);
        let mut end = Socket::server(&mut world, 5);
        end.evidence.tcp.error = 104;
        end.to(&mut world, TcpState::Close);
        let owner = world.close().owner.map(|owner| owner.pid);
        assert_eq!(owner, (!shared).then_some(4));
    }
}

#[test]
fn records_that_a_snapshot_overtook_are_no_gap() {
    let mut world = World::new();
    world
        .tracker
        .seed(&[existing(5, TcpState::LastAck, None)], world.now);
    let mut end = Socket::server(&mut World::new(), 5);
    end.receives_fin();
    end.to(&mut world, TcpState::CloseWait);
    end.closes(&mut world, TcpState::LastAck);
    end.is_acknowledged();
    end.to(&mut world, TcpState::Close);
    assert_eq!(world.close().path, ClosePath::ThreeWay);

    // Even its opening may be among them.
    world
        .tracker
        .seed(&[existing(6, TcpState::Established, None)], world.now);
    let mut end = Socket::server(&mut world, 6);
    end.evidence.tcp.error = 104;
    end.to(&mut world, TcpState::Close);
    let close = world.close();
    assert!(close.endpoint.seen_from_start);
    assert_eq!(close.endpoint.role, Role::Server);
}

#[test]
fn an_orphan_that_was_parked_before_is_followed_to_its_close() {
    let mut world = World::new();
    world
        .tracker
        .seed(&[existing(5, TcpState::FinWait2, Some(50_000))], world.now);
    assert_eq!(world.tracker.waiting_for_fin(), 1);
    world.pass_ms(100);
    world.answer(MinisocketState::TimeWait(Nanos::from_millis(59_950)));
    let close = world.close();
    assert_eq!(
        (close.path, close.initiator),
        (ClosePath::FourWay, Initiator::Local)
    );
    assert!(
        close
            .steps
            .iter()
            .all(|step| step.known == Certainty::Inferred && step.seq.is_none())
    );
    assert_eq!((close.segments, close.states.len()), (Some(4), 0));
    assert_eq!(world.tracker.in_time_wait(), 1);
}

#[test]
fn a_time_wait_that_began_before_has_its_true_beginning() {
    let mut world = World::new();
    world
        .tracker
        .seed(&[existing(5, TcpState::TimeWait, Some(20_000))], world.now);
    let entered = world.now - Nanos::from_secs(40);
    let sighting = |left| PolledMinisocket {
        cookie: EndpointId(5),
        tuple: tuple(3306, 40_000),
        left: Nanos::from_millis(left),
    };
    for (ms, found) in [(19_900, vec![sighting(100)]), (200, vec![])] {
        world.pass_ms(ms);
        world.tracker.apply_poll(&PollResponse {
            netns: Some(NETNS),
            began: world.now,
            ended: world.now,
            cost: Nanos(0),
            reached: true,
            complete: true,
            overflows: 0,
            found,
        });
    }
    let findings = world.findings();
    let [Finding::TimeWait(reported)] = findings.as_slice() else {
        panic!("{findings:?}")
    };
    assert_eq!(
        (reported.entered, reported.end),
        (entered, TimeWaitEnd::Expired)
    );
    assert!(!reported.endpoint.seen_from_start);
}

#[test]
fn after_a_loss_what_is_gone_is_reported_as_unknown_and_what_lives_stays() {
    let mut world = World::new();
    let _gone = Socket::server(&mut world, 5);
    let mut stays = Socket::server(&mut world, 6);
    world.pass_ms(10);
    let began = world.now;
    world.pass_ms(10);
    let _newer = Socket::server(&mut world, 7);
    let alive = HashSet::from([EndpointId(6)]);
    world.tracker.resync(
        &HashSet::from([NetNs::new(2).expect("it is not 0")]),
        &HashSet::new(),
        world.now,
    );
    world.tracker.resync(&HashSet::from([NETNS]), &alive, began);
    for _ in 0..2 {
        assert!(world.findings().is_empty(), "its record may still come");
        world.pass_ms(100);
        world.answer(MinisocketState::Gone);
    }
    let close = world.close();
    assert_eq!((close.endpoint.id.0, close.path), (5, ClosePath::Unknown));
    assert_eq!(close.segments, None);
    assert_eq!(world.tracker.live(), 2);
    stays.evidence.tcp.error = 104;
    stays.to(&mut world, TcpState::Close);
    assert!(world.close().endpoint.seen_from_start);
}

#[test]
fn a_reset_after_an_unseen_fin_has_no_count_of_segments() {
    let mut world = World::new();
    let mut elsewhere = World::new();
    let mut end = Socket::server(&mut elsewhere, 5);
    end.receives_fin();
    end.to(&mut elsewhere, TcpState::CloseWait);
    end.acknowledges();
    end.closes(&mut world, TcpState::LastAck);
    end.evidence.tcp.error = 104;
    world.signal(5, SignalKind::ResetReceived);
    end.to(&mut world, TcpState::Close);
    let close = world.close();
    assert_eq!(
        (close.path, close.initiator, close.segments),
        (ClosePath::Reset, Initiator::Peer, None)
    );
}
