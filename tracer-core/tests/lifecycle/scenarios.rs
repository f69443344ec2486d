//! Orderly closes, seen from both sides.

use tcpclose_common::TcpState;
use tcpclose_core::MinisocketState;
use tcpclose_core::event::SignalKind;
use tcpclose_core::finding::{Close, ClosePath, HalfClose, Initiator, Side};
use tcpclose_core::types::{Certainty, Nanos, OwnerSource, Role};

use crate::socket::{Socket, World, reset_sent, task, tuple};

/// `who flags seq ack` of each step, `~` before those that are inferred.
pub fn steps(close: &Close) -> Vec<String> {
    let number = |number: Option<u32>| number.map_or("-".to_owned(), |number| number.to_string());
    let line = |step: &tcpclose_core::finding::Step| {
        let mark = if step.known == Certainty::Inferred {
            "~"
        } else {
            ""
        };
        let (seq, ack) = (number(step.seq), number(step.ack));
        format!("{mark}{} {} {seq} {ack}", step.from, step.flags)
    };
    close.steps.iter().map(line).collect()
}

/// State names and whole milliseconds.
pub fn states(close: &Close) -> Vec<(&'static str, Option<u64>)> {
    close
        .states
        .iter()
        .map(|(state, dwell)| (state.into(), dwell.map(|dwell| dwell.0 / 1_000_000)))
        .collect()
}

#[test]
fn the_end_that_receives_the_first_fin_and_answers_late_sees_four_segments() {
    let mut world = World::new();
    let mut end = Socket::server(&mut world, 5);
    end.receives(10, 10);
    world.pass_ms(20);
    end.receives_fin();
    end.to(&mut world, TcpState::CloseWait);
    end.acknowledges();
    world.pass_ms(300);
    end.closes(&mut world, TcpState::LastAck);
    world.pass_ms(1);
    end.is_acknowledged();
    end.to(&mut world, TcpState::Close);

    let close = world.close();
    assert_eq!(close.path, ClosePath::FourWay);
    assert_eq!(close.initiator, Initiator::Peer);
    assert_eq!(close.segments, Some(4));
    assert_eq!(
        steps(&close),
        [
            "peer FIN,ACK 11 1",
            "local ACK 1 12",
            "local FIN,ACK 1 12",
            "peer ACK 12 2"
        ]
    );
    assert_eq!(
        states(&close),
        [
            ("ESTABLISHED", Some(20)),
            ("CLOSE_WAIT", Some(300)),
            ("LAST_ACK", Some(1))
        ]
    );
    assert_eq!(close.endpoint.lifetime, Some(Nanos::from_millis(321)));
    assert_eq!(
        (close.bytes.sent, close.bytes.received),
        (Some(0), Some(10))
    );
    assert_eq!(close.endpoint.role, Role::Server);
    let owner = close.owner.unwrap();
    assert_eq!(
        (owner.pid, &*owner.comm, owner.source),
        (88, &b"closer"[..], OwnerSource::Close)
    );
    assert_eq!(world.tracker.live(), 0);
}

#[test]
fn the_end_that_answers_the_first_fin_at_once_sends_its_ack_with_its_own_fin() {
    let mut world = World::new();
    let mut end = Socket::client(&mut world, 5);
    end.sends(211);
    end.receives(174, 174);
    end.acknowledges();
    end.receives_fin();
    end.to(&mut world, TcpState::CloseWait);
    end.closes(&mut world, TcpState::LastAck);
    end.is_acknowledged();
    end.to(&mut world, TcpState::Close);

    let close = world.close();
    assert_eq!(close.path, ClosePath::ThreeWay);
    assert_eq!(close.segments, Some(3));
    assert_eq!(
        steps(&close),
        [
            "peer FIN,ACK 175 212",
            "local FIN,ACK 212 176",
            "peer ACK 176 213"
        ]
    );
    assert_eq!(
        (close.bytes.sent, close.bytes.received),
        (Some(211), Some(174))
    );
    assert_eq!(
        close.owner.unwrap().source,
        OwnerSource::Connect,
        "the connecting process is the better owner"
    );
}

#[test]
fn one_segment_with_ack_and_fin_makes_three_for_the_end_that_closes_first() {
    let mut world = World::new();
    let mut end = Socket::remote_server(&mut world, 5);
    end.sends(174);
    end.receives(211, 211);
    end.closes(&mut world, TcpState::FinWait1);
    world.pass_ms(2);
    end.is_acknowledged();
    end.to(&mut world, TcpState::FinWait2);
    end.receives_fin();
    end.evidence.tcp.segs_in -= 1; // it was the same segment
    end.acknowledges();
    end.to(&mut world, TcpState::Close);

    let close = world.close();
    assert_eq!(close.path, ClosePath::ThreeWay);
    assert_eq!(close.initiator, Initiator::Local);
    assert_eq!(
        steps(&close),
        [
            "local FIN,ACK 175 212",
            "peer FIN,ACK 212 176",
            "local ACK 176 213"
        ]
    );
    assert_eq!(close.half_close, None);
}

#[test]
fn two_segments_that_waited_together_in_the_backlog_are_not_called_one() {
    let mut world = World::new();
    let mut end = Socket::server(&mut world, 5);
    end.closes(&mut world, TcpState::FinWait1);
    end.is_acknowledged();
    end.receives_fin();
    end.evidence.flags.lock_owned = true;
    end.evidence.tcp.rcv_nxt -= 1;
    end.evidence.flags.done = false;
    end.to(&mut world, TcpState::FinWait2);
    end.evidence.tcp.rcv_nxt += 1;
    end.evidence.flags.done = true;
    end.to(&mut world, TcpState::Close);

    let close = world.close();
    assert_eq!(close.path, ClosePath::Unknown);
    assert_eq!(close.segments, None);
    assert_eq!(close.initiator, Initiator::Local);
}

#[test]
fn a_close_is_reported_only_when_the_peers_fin_has_reached_the_minisocket() {
    let mut world = World::new();
    let mut end = Socket::client(&mut world, 5);
    end.sends(5);
    end.evidence.flags.dead = true;
    end.closes(&mut world, TcpState::FinWait1);
    world.pass_ms(40);
    end.is_acknowledged();
    end.to(&mut world, TcpState::FinWait2);
    end.to(&mut world, TcpState::Close);
    assert!(
        world.findings().is_empty(),
        "FIN_WAIT2 in a minisocket is no close"
    );
    assert_eq!(world.tracker.waiting_for_fin(), 1);

    world.pass_ms(100);
    world.answer(MinisocketState::FinWait2(Nanos::from_millis(59_900)));
    assert!(world.findings().is_empty());
    world.pass_ms(200);
    // The FIN came 50 ms ago.
    world.answer(MinisocketState::TimeWait(Nanos::from_millis(59_950)));

    let close = world.close();
    assert_eq!(close.path, ClosePath::FourWay);
    assert_eq!(
        steps(&close),
        [
            "local FIN,ACK 6 1",
            "peer ACK 1 7",
            "~peer FIN,ACK 1 7",
            "~local ACK 7 2"
        ]
    );
    assert_eq!(
        states(&close),
        [
            ("ESTABLISHED", Some(0)),
            ("FIN_WAIT1", Some(40)),
            ("FIN_WAIT2", Some(250))
        ]
    );
    assert_eq!(close.endpoint.lifetime, Some(Nanos::from_millis(290)));
    assert_eq!(world.tracker.waiting_for_fin(), 0);
}

#[test]
fn fins_that_cross_make_a_simultaneous_close() {
    let mut world = World::new();
    let mut end = Socket::client(&mut world, 5);
    end.closes(&mut world, TcpState::FinWait1);
    world.pass_ms(1);
    end.receives_fin();
    end.acknowledges();
    end.to(&mut world, TcpState::Closing);
    world.pass_ms(1);
    end.is_acknowledged();
    end.to(&mut world, TcpState::Close);

    let close = world.close();
    assert_eq!(close.path, ClosePath::Simultaneous);
    assert_eq!(close.initiator, Initiator::Both);
    assert_eq!(close.segments, Some(4));
    assert_eq!(
        steps(&close),
        [
            "local FIN,ACK 1 1",
            "peer FIN,ACK 1 1",
            "local ACK 2 2",
            "peer ACK 2 2"
        ]
    );
}

#[test]
fn a_half_close_in_use_reports_its_duration_and_bytes() {
    let mut world = World::new();
    let (mut closer, mut other) = (Socket::client(&mut world, 5), Socket::server(&mut world, 6));
    closer.closes_first(&mut world);
    other.receives_fin();
    other.to(&mut world, TcpState::CloseWait);
    other.acknowledges();
    world.pass_ms(50);
    other.sends(1500);
    closer.receives(1500, 1500);
    world.pass_ms(50);
    other.closes(&mut world, TcpState::LastAck);
    closer.enters_time_wait(&mut world);
    let close = world.close();
    let lasted = Nanos::from_millis(100);
    assert_eq!(
        close.half_close,
        Some(HalfClose {
            by: Side::Local,
            lasted,
            bytes_sent: 0,
            bytes_received: 1500
        })
    );
    assert_eq!(
        steps(&close),
        [
            "local FIN,ACK 1 1",
            "peer ACK 1 2",
            "peer FIN,ACK 1501 2",
            "local ACK 2 1502"
        ],
        "tcp_ack kept the number of the segment, whatever followed"
    );
    other.is_acknowledged();
    other.to(&mut world, TcpState::Close);
    let close = world.close();
    assert_eq!(
        close.half_close,
        Some(HalfClose {
            by: Side::Peer,
            lasted,
            bytes_sent: 1500,
            bytes_received: 0
        })
    );
    assert_eq!(close.bytes.sent, Some(1500));
}

#[test]
fn a_repeated_state_changes_nothing() {
    let mut world = World::new();
    let mut end = Socket::server(&mut world, 5);
    end.receives_fin();
    end.to(&mut world, TcpState::CloseWait);
    end.closes(&mut world, TcpState::LastAck);
    world.pass_ms(5);
    end.to(&mut world, TcpState::LastAck);
    world.pass_ms(5);
    end.is_acknowledged();
    end.to(&mut world, TcpState::Close);
    let close = world.close();
    assert_eq!(close.path, ClosePath::ThreeWay);
    assert_eq!(
        states(&close),
        [
            ("ESTABLISHED", Some(0)),
            ("CLOSE_WAIT", Some(0)),
            ("LAST_ACK", Some(10))
        ]
    );
}

#[test]
fn fins_sent_again_count_as_segments() {
    let mut world = World::new();
    let mut end = Socket::client(&mut world, 5);
    end.receives_fin();
    end.to(&mut world, TcpState::CloseWait);
    end.acknowledges();
    end.closes(&mut world, TcpState::LastAck);
    world.signal(5, SignalKind::FinRetransmitted);
    world.signal(5, SignalKind::FinRetransmitted);
    end.is_acknowledged();
    end.evidence.tcp.retransmits = 2;
    end.to(&mut world, TcpState::Close);
    let close = world.close();
    assert_eq!((close.segments, close.retransmits), (Some(6), Some(2)));
}

#[test]
fn an_incoming_connection_belongs_to_who_listens_until_somebody_closes_it() {
    let mut world = World::new();
    let mut listener = Socket::server(&mut World::new(), 4);
    listener.state = TcpState::Close;
    listener.task = Some(task(99, "daemon"));
    listener.tuple = tuple(3306, 0);
    listener.to(&mut world, TcpState::Listen);
    let mut end = Socket::server(&mut world, 5);
    end.evidence.tcp.error = 104;
    world.signal(5, SignalKind::ResetReceived);
    end.to(&mut world, TcpState::Close);
    let owner = world.close().owner.unwrap();
    assert_eq!((owner.pid, owner.source), (99, OwnerSource::Listen));
    listener.task = None;
    listener.to(&mut world, TcpState::Close);
    let mut end = Socket::server(&mut world, 6);
    end.evidence.tcp.error = 104;
    end.to(&mut world, TcpState::Close);
    assert_eq!(world.close().owner, None, "the listener is gone");
}

#[test]
fn a_socket_that_connects_again_keeps_nothing_of_its_earlier_port() {
    let mut world = World::new();
    let mut end = Socket::client(&mut world, 5);
    end.closes(&mut world, TcpState::Close);
    world.signal(5, reset_sent(None));
    assert_eq!(world.close().endpoint.tuple.local().port(), 40_000);
    end.tuple = tuple(40_000, 3306); // stale: connect() has not chosen yet
    end.to(&mut world, TcpState::SynSent);
    end.tuple = tuple(40_001, 3306);
    end.to(&mut world, TcpState::Established);
    end.evidence.tcp.error = 104;
    end.to(&mut world, TcpState::Close);
    assert_eq!(world.close().endpoint.tuple.local().port(), 40_001);
}
