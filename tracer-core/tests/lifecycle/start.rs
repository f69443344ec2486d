//! The start: what was open before is learnt while records already come. Whenever the snapshot was
//! taken, and whenever it comes, each endpoint is reported once.

use tcpclose_common::TcpState;
use tcpclose_core::event::Event;
use tcpclose_core::finding::{Close, Finding};
use tcpclose_core::types::{Nanos, OwnerSource, Role};
use tcpclose_core::{Input, SnapshotJoin, SnapshotSocket, SocketKind};

use crate::input_methods::InputMethods as _;
use crate::seed::{existing, held_by};
use crate::socket::{Socket, World, tuple};

/// How a core came to where it is: the sockets as they were after `taken` transitions became known
/// after `came` transitions.
#[derive(Clone, Copy, Debug)]
struct Order {
    taken: usize,
    came: usize,
    /// Whether the transitions until then were kept back, so that the core got the sockets first.
    kept_back: bool,
}

/// A world for each order of these transitions and the sockets, given by the number of transitions
/// before them.
fn in_each_order(
    transitions: &[Event],
    sockets: impl Fn(usize) -> Vec<SnapshotSocket>,
) -> Vec<(Order, World)> {
    let mut worlds = Vec::new();
    for taken in 0..=transitions.len() {
        for came in taken..=transitions.len() {
            for kept_back in [false, true] {
                let order = Order {
                    taken,
                    came,
                    kept_back,
                };
                worlds.push((order, joined(transitions, sockets(taken), order)));
            }
        }
    }
    worlds
}

fn joined(transitions: &[Event], sockets: Vec<SnapshotSocket>, order: Order) -> World {
    let mut world = World::new();
    let mut join = SnapshotJoin::default();
    let (before, after) = transitions.split_at(order.came);
    before.iter().for_each(|event| join.note(event));
    let at = world.now;
    if order.kept_back {
        let sockets = join.before_records(sockets);
        world.tracker.apply_input(Input::Snapshot { sockets, at });
        before.iter().for_each(|event| world.tracker.ingest(event));
    } else {
        before.iter().for_each(|event| world.tracker.ingest(event));
        let sockets = join.after_records(sockets);
        world.tracker.apply_input(Input::Snapshot { sockets, at });
    }
    after.iter().for_each(|event| world.tracker.ingest(event));
    world.pass_ms(100);
    world
}

fn closes(world: &mut World) -> Vec<Close> {
    let findings = world.findings().into_iter();
    let closes = findings.filter_map(|finding| match finding {
        Finding::Close(close) => Some(*close),
        _ => None,
    });
    closes.collect()
}

/// The transitions of a connection that its peer and then its process close.
fn older_connection_closes() -> Vec<Event> {
    let mut past = World::new();
    let mut end = Socket::server(&mut past, 5);
    let mut world = World::new();
    end.receives_fin();
    end.to(&mut world, TcpState::CloseWait);
    end.to(&mut world, TcpState::LastAck);
    end.is_acknowledged();
    end.to(&mut world, TcpState::Close);
    world.transitions
}

#[test]
fn a_connection_that_was_open_before_is_reported_once_and_with_what_was_known_in_time() {
    let states = [
        TcpState::Established,
        TcpState::CloseWait,
        TcpState::LastAck,
    ];
    let sockets = |taken: usize| {
        let listener = existing(4, TcpState::Listen, None);
        let connection = states.get(taken).map(|&state| existing(5, state, None));
        let connection = connection.map(|connection| held_by(9, connection));
        [listener].into_iter().chain(connection).collect()
    };
    for (order, mut world) in in_each_order(&older_connection_closes(), sockets) {
        let closes = closes(&mut world);
        let [close] = &*closes else {
            panic!("{order:?}: {closes:?}")
        };
        assert_eq!(world.tracker.live(), 0, "{order:?}");
        let endpoint = &close.endpoint;
        assert!(!endpoint.seen_from_start, "{order:?}");
        assert_eq!(endpoint.opened, None, "{order:?}");
        // Its close was the last transition.
        let is_known = order.taken < 3 && (order.kept_back || order.came < 3);
        let expected = match is_known {
            true => (Role::Server, Some((9, OwnerSource::Proc))),
            false => (Role::Unknown, None),
        };
        let owner = close.owner.as_ref();
        let owner = owner.map(|owner| (owner.pid, owner.source));
        assert_eq!((endpoint.role, owner), expected, "{order:?}");
    }
}

#[test]
fn a_connection_that_was_opened_since_has_its_start() {
    let mut past = World::new();
    let mut end = Socket::connecting(&mut past, 5);
    end.tuple = tuple(40_000, 3306);
    end.is_connected(&mut past);
    end.closes_first(&mut past);
    end.enters_time_wait(&mut past);
    let opened = past.now;
    let sockets = |taken: usize| {
        let shown = |state, left, port| SnapshotSocket {
            tuple: tuple(port, 3306),
            ..existing(5, state, left)
        };
        let socket = match taken {
            1 => Some(shown(TcpState::SynSent, None, 0)),
            2 => Some(shown(TcpState::Established, None, 40_000)),
            3 => Some(shown(TcpState::FinWait1, None, 40_000)),
            4 => Some(shown(TcpState::FinWait2, None, 40_000)),
            5 => Some(shown(TcpState::TimeWait, Some(59_900), 40_000)),
            _ => None,
        };
        socket.into_iter().collect()
    };
    for (order, mut world) in in_each_order(&past.transitions, sockets) {
        let closes = closes(&mut world);
        let [close] = &*closes else {
            panic!("{order:?}: {closes:?}")
        };
        let endpoint = &close.endpoint;
        assert!(endpoint.seen_from_start, "{order:?}");
        assert_eq!(endpoint.opened, Some(opened), "{order:?}");
        assert_eq!(endpoint.role, Role::Client, "{order:?}");
        assert_eq!(world.tracker.live(), 0, "{order:?}");
        assert_eq!(world.tracker.in_time_wait(), 1, "{order:?}");
    }
}

#[test]
fn an_orphan_that_was_parked_since_is_followed_once() {
    let mut past = World::new();
    let mut end = Socket::server(&mut past, 5);
    let mut world = World::new();
    end.evidence.flags.dead = true;
    end.closes_first(&mut world);
    end.to(&mut world, TcpState::Close);
    let sockets = |taken: usize| {
        let (state, left) = match taken {
            0 => (TcpState::Established, None),
            1 => (TcpState::FinWait1, None),
            2 => (TcpState::FinWait2, None),
            _ => (TcpState::FinWait2, Some(59_000)),
        };
        vec![existing(5, state, left)]
    };
    for (order, mut world) in in_each_order(&world.transitions, sockets) {
        let counts = (world.tracker.live(), world.tracker.waiting_for_fin());
        assert_eq!(counts, (0, 1), "{order:?}");
        assert!(world.findings().is_empty(), "{order:?}");
    }
}

/// The minisocket of an older connection; the peer then connects from the same port.
#[test]
fn a_time_wait_that_was_replaced_since_does_not_come_back() {
    let mut past = World::new();
    let _server = Socket::server(&mut past, 6);
    let sockets = |taken: usize| match taken {
        0 => vec![existing(5, TcpState::TimeWait, Some(20_000))],
        _ => vec![existing(6, TcpState::Established, None)],
    };
    for (order, mut world) in in_each_order(&past.transitions, sockets) {
        let counts = (world.tracker.live(), world.tracker.in_time_wait());
        assert_eq!(counts, (1, 0), "{order:?}");
        let mut findings = world.findings().into_iter();
        let is_end = |finding| matches!(finding, Finding::TimeWait(_));
        assert!(findings.all(is_end), "{order:?}");
    }
}

/// TIME_WAIT lasts 60 s, so its beginning follows from the time that is left.
#[test]
fn a_time_wait_has_the_start_that_its_own_part_of_the_snapshot_shows() {
    let mut world = World::new();
    let at = world.now;
    world.now = world.now + Nanos::from_secs(8);
    let sockets = vec![existing(5, TcpState::TimeWait, Some(20_000))];
    let sockets = SnapshotJoin::default().after_records(sockets);
    world.tracker.apply_input(Input::Snapshot { sockets, at });
    let _replaces_it = Socket::server(&mut world, 6);
    let findings = world.findings();
    let [Finding::TimeWait(ended)] = &*findings else {
        panic!("{findings:?}")
    };
    assert_eq!(ended.entered, at - Nanos::from_secs(40));
}

/// A socket keeps its cookie when it connects anew.
#[test]
fn a_second_life_of_a_socket_is_another_endpoint() {
    let mut past = World::new();
    let mut end = Socket::server(&mut past, 5);
    let mut world = World::new();
    end.evidence.tcp.error = 104;
    end.to(&mut world, TcpState::Close);
    let mut end = Socket::connecting(&mut world, 5);
    end.tuple = tuple(41_000, 3306);
    end.is_connected(&mut world);
    let sockets = |taken: usize| {
        let shown = |state, port| SnapshotSocket {
            tuple: tuple(port, 3306),
            kind: SocketKind::Full,
            ..existing(5, state, None)
        };
        let socket = match taken {
            0 => Some(existing(5, TcpState::Established, None)),
            2 => Some(shown(TcpState::SynSent, 0)),
            3 => Some(shown(TcpState::Established, 41_000)),
            _ => None,
        };
        let socket = socket.map(|socket| held_by(9, socket));
        socket.into_iter().collect()
    };
    for (order, mut world) in in_each_order(&world.transitions, sockets) {
        let closes = closes(&mut world);
        let [first] = &*closes else {
            panic!("{order:?}: {closes:?}")
        };
        assert!(!first.endpoint.seen_from_start, "{order:?}");
        assert_eq!(world.tracker.live(), 1, "{order:?}");
        end.evidence.tcp.error = 104;
        end.state = TcpState::Established;
        end.to(&mut world, TcpState::Close);
        let second = world.close();
        assert!(second.endpoint.seen_from_start, "{order:?}");
        let owner = second.owner.map(|owner| owner.source);
        assert_eq!(owner, Some(OwnerSource::Connect), "{order:?}");
    }
}

#[test]
fn owners_that_are_found_last_go_to_the_endpoints_that_are_there() {
    for is_listener_known in [false, true] {
        let mut world = World::new();
        let mut join = SnapshotJoin::default();
        let mut opened_since = Socket::server(&mut world, 6);
        join.note(&world.transitions[0]);
        let listener = existing(4, TcpState::Listen, None);
        let open_before = SnapshotSocket {
            tuple: tuple(3306, 50_000),
            ..existing(5, TcpState::Established, None)
        };
        let first = vec![listener.clone(), open_before.clone()];
        let first = join.after_records(first);
        world.tracker.seed(&first, world.now);
        let mut second = vec![held_by(9, open_before)];
        second.extend(is_listener_known.then(|| held_by(8, listener)));
        let second = join.after_records(second);
        world.tracker.seed(&second, world.now);

        let mut owner_of = |socket: &mut Socket| {
            socket.evidence.tcp.error = 104;
            socket.to(&mut world, TcpState::Close);
            let owner = world.close().owner;
            owner.map(|owner| (owner.pid, owner.source))
        };
        let by_listener = is_listener_known.then_some((8, OwnerSource::Listen));
        assert_eq!(owner_of(&mut opened_since), by_listener);
        let mut older = Socket::server(&mut World::new(), 5);
        older.tuple = tuple(3306, 50_000);
        assert_eq!(owner_of(&mut older), Some((9, OwnerSource::Proc)));
    }
}

/// A listener that was closed before the snapshot came owns nothing.
#[test]
fn a_listener_that_has_closed_does_not_come_back() {
    let mut world = World::new();
    let mut join = SnapshotJoin::default();
    let mut listener = Socket::server(&mut World::new(), 4);
    listener.state = TcpState::Listen;
    listener.tuple = tuple(3306, 0);
    listener.to(&mut world, TcpState::Close);
    join.note(&world.transitions[0]);
    let sockets = join.after_records(vec![held_by(9, existing(4, TcpState::Listen, None))]);
    assert!(sockets.is_empty());
    let mut end = Socket::server(&mut world, 5);
    end.evidence.tcp.error = 104;
    end.to(&mut world, TcpState::Close);
    assert_eq!(world.close().owner, None);
}

#[test]
fn a_snapshot_after_too_many_records_shows_listeners_only() {
    let mut world = World::new();
    let mut join = SnapshotJoin::new(2);
    for id in [6, 7, 8] {
        let _server = Socket::server(&mut world, id);
    }
    world.transitions.iter().for_each(|event| join.note(event));
    assert!(join.is_full());
    let sockets = vec![
        existing(4, TcpState::Listen, None),
        existing(5, TcpState::Established, None),
    ];
    for selected in [
        join.before_records(sockets.clone()),
        join.after_records(sockets),
    ] {
        let cookies: Vec<_> = selected.iter().map(|socket| socket.cookie.0).collect();
        assert_eq!(cookies, [4]);
    }
}
