//! Scans of sockets with known histories, with exact times.

mod by_owner;
mod states;

use std::net::SocketAddr;
use std::sync::Arc;

use super::*;
use crate::process::Process;
use crate::types::{EndpointId, Inode, Nanos, NetNs, OwnerSource, Port, Role, Tuple};
use tcpclose_common::TcpState;

const NOW: Nanos = Nanos::from_secs(100_000);
const MINUTE: Nanos = Nanos::from_secs(60);

/// An accepted socket that read everything; its FIN came `age` seconds ago with the last ACK, its
/// last data 5 s earlier.
fn socket(id: u64, age: u64) -> ObservedSocket {
    let ends: [SocketAddr; 2] = [
        SocketAddr::from(([10, 0, 0, 1], 80)),
        SocketAddr::from(([10, 0, 0, 2], 40_000)),
    ];
    ObservedSocket {
        id: EndpointId(id),
        state: TcpState::CloseWait,
        netns: NetNs::new(1),
        tuple: Tuple::from((ends[0], ends[1])),
        interface: None,
        inode: Inode::new(1_000),
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
            since_data: Some(Nanos::from_secs(age + 5)),
            since_ack: Nanos::from_secs(age),
            bytes_acked: 100,
            since_sent: None,
        }),
    }
}

/// One that has bytes on their way, sent so many seconds ago; the last ACK came `age` seconds ago.
fn sending(age: u64, sent: u64) -> ObservedSocket {
    let socket = socket(1, age);
    ObservedSocket {
        unsent: 9,
        activity: socket.activity.map(|activity| Activity {
            since_sent: Some(Nanos::from_secs(sent)),
            ..activity
        }),
        ..socket
    }
}

fn busy(id: u64) -> ObservedSocket {
    ObservedSocket {
        id: EndpointId(id),
        ..sending(61, 1)
    }
}

fn after(seconds: u64) -> Nanos {
    NOW + Nanos::from_secs(seconds)
}

fn once(socket: ObservedSocket) -> ScanOutcome {
    ScanHistory::default().add(vec![socket], NOW, MINUTE)
}

fn verdict(socket: ObservedSocket) -> Verdict {
    once(socket).old[0].verdict
}

#[test]
fn each_verdict_has_its_evidence() {
    let read = socket(1, 61);
    assert_eq!(verdict(read), Verdict::EofRead);
    assert_eq!(
        verdict(ObservedSocket { queued: 1, ..read }),
        Verdict::EofUnread
    );
    assert_eq!(
        verdict(ObservedSocket { queued: 6, ..read }),
        Verdict::EofUnread
    );
    assert_eq!(ObservedSocket { queued: 6, ..read }.unread(), Some(5));
    assert_eq!(verdict(sending(61, 30)), Verdict::StillSending);
    assert_eq!(verdict(sending(61, 61)), Verdict::EofRead);
    let waiting = ObservedSocket {
        inode: None,
        queued: 6,
        ..read
    };
    assert_eq!(verdict(waiting), Verdict::NotAccepted);
}

#[test]
fn the_age_is_that_of_the_last_ack_and_bounded_by_the_last_data() {
    let stuck = once(socket(1, 61)).old.remove(0);
    let expected = Age {
        since: NOW - Nanos::from_secs(61),
        known: AgeCertainty::Estimated,
        earliest: Some(NOW - Nanos::from_secs(66)),
    };
    assert_eq!((stuck.age, stuck.event), (expected, StuckEvent::Ongoing));
}

#[test]
fn an_age_has_no_earliest_bound_when_no_data_ever_came() {
    let mut silent = socket(1, 61);
    silent.activity = silent.activity.map(|activity| Activity {
        since_data: None,
        ..activity
    });
    assert_eq!(once(silent).old[0].age.earliest, None);
}

#[test]
fn the_bound_never_contradicts_the_estimate() {
    // Data and FIN in one segment; the kernel's ticks put them the other way round.
    let mut merged = socket(1, 61);
    merged.activity = merged.activity.map(|activity| Activity {
        since_data: Some(activity.since_ack - Nanos::from_millis(4)),
        ..activity
    });
    let age = once(merged).old[0].age;
    assert_eq!(age.earliest, Some(age.since));
}

#[test]
fn the_threshold_counts_from_exactly_that_age() {
    assert_eq!(once(socket(1, 60)).old.len(), 1);
    let young = once(socket(1, 59));
    assert_eq!(
        (young.old.len(), young.younger, young.possibly_stuck.len()),
        (0, 1, 0)
    );
}

#[test]
fn a_socket_whose_age_keepalive_may_hide_is_counted() {
    let mut probed = ObservedSocket {
        keepalive: true,
        entered: None,
        ..socket(1, 10)
    };
    // The last data came 15 s ago: it is no older than that.
    assert_eq!(once(probed).possibly_stuck.len(), 0);
    probed.activity = probed.activity.map(|activity| Activity {
        since_data: Some(Nanos::from_secs(3_600)),
        ..activity
    });
    assert_eq!(
        (once(probed).younger, once(probed).possibly_stuck.len()),
        (1, 1)
    );
}

#[test]
fn a_second_scan_proves_an_age_that_keepalive_hides() {
    let probed = ObservedSocket {
        keepalive: true,
        entered: None,
        ..socket(1, 10)
    };
    let mut history = ScanHistory::default();
    assert_eq!(history.add(vec![probed], NOW, MINUTE).old, []);
    // A probe was answered meanwhile: the last ACK is again 10 s old.
    let old = history.add(vec![probed], after(50), MINUTE).old;
    assert_eq!(old.len(), 1);
    assert_eq!(old[0].age.since, NOW - Nanos::from_secs(10));
    assert_eq!(old[0].event, StuckEvent::Opened);
}

/// The same socket, of which the peer has acknowledged 100 bytes more, just now.
fn acknowledged(socket: ObservedSocket) -> ObservedSocket {
    let activity = socket.activity.map(|activity| Activity {
        since_ack: Nanos(0),
        bytes_acked: activity.bytes_acked + 100,
        ..activity
    });
    ObservedSocket { activity, ..socket }
}

#[test]
fn a_socket_that_moved_between_scans_is_not_stuck_until_it_has_rested_for_as_long() {
    let mut history = ScanHistory::default();
    let mut sending = socket(1, 61);
    let judged = |outcome: ScanOutcome| outcome.old[0].verdict;
    assert_eq!(
        judged(history.add(vec![sending], NOW, MINUTE)),
        Verdict::EofRead
    );
    sending = acknowledged(sending);
    assert_eq!(
        judged(history.add(vec![sending], after(5), MINUTE)),
        Verdict::StillSending
    );
    let just_before = after(65) - Nanos(1);
    assert_eq!(
        judged(history.add(vec![sending], just_before, MINUTE)),
        Verdict::StillSending
    );
    assert_eq!(
        judged(history.add(vec![sending], after(65), MINUTE)),
        Verdict::EofRead
    );
    assert_eq!(
        judged(history.add(vec![sending], after(66), MINUTE)),
        Verdict::EofRead
    );
}

/// Age and rest count alike: a bound that is met exactly is met.
#[test]
fn a_socket_is_stuck_from_exactly_the_time_on_that_is_asked_for() {
    let mut socket = socket(1, 0);
    socket.entered = Some(NOW);
    let polls = |socket: &ObservedSocket, at, before: Option<&PollHistory>| {
        PollHistory::new(socket, at, before, None)
    };
    let first = polls(&socket, NOW, None);
    for (at, is_old) in [(after(60) - Nanos(1), false), (after(60), true)] {
        assert_eq!(first.has_age(at, MINUTE), is_old, "{at:?}");
        assert!(!first.has_moved_within(at, MINUTE));
    }
    let moved = polls(&acknowledged(socket), after(30), Some(&first));
    for (at, moves) in [(after(90) - Nanos(1), true), (after(90), false)] {
        assert_eq!(moved.has_moved_within(at, MINUTE), moves, "{at:?}");
        assert!(moved.has_age(at, MINUTE));
    }
    assert_eq!(moved.stuck_at(MINUTE), after(90));
}

#[test]
fn bytes_move_when_the_last_ack_came_not_when_a_poll_shows_it() {
    let first = PollHistory::new(&socket(1, 100), NOW, None, None);
    let mut later = acknowledged(socket(1, 100));
    let activity = later.activity.as_mut().expect("the socket has one");
    activity.since_ack = Nanos::from_secs(20);
    let second = PollHistory::new(&later, after(30), Some(&first), None);
    assert!(second.has_moved_within(after(69), MINUTE));
    assert!(!second.has_moved_within(after(70), MINUTE));
    // The tracer knows what was acknowledged when the FIN came: its first poll shows as much.
    let first = PollHistory::new(&later, after(30), None, Some(100));
    assert!(
        first.has_moved_within(after(69), MINUTE) && !first.has_moved_within(after(70), MINUTE)
    );
    let quiet = PollHistory::new(&later, after(30), None, Some(200));
    assert!(!quiet.has_moved_within(after(30), MINUTE));
}

#[test]
fn bytes_that_a_closed_window_holds_back_have_moved_at_the_poll_that_shows_them() {
    let first = PollHistory::new(&socket(1, 100), NOW, None, None);
    // Written since, and not sent: the last data went, and the last ACK came, before the first
    // poll.
    let mut blocked = sending(105, 110);
    blocked.unsent = 9;
    let second = PollHistory::new(&blocked, after(5), Some(&first), None);
    assert!(second.has_moved_within(after(65) - Nanos(1), MINUTE));
    assert!(!second.has_moved_within(after(65), MINUTE));
    // Nothing more is written.
    let third = PollHistory::new(&blocked, after(65), Some(&second), None);
    assert!(!third.has_moved_within(after(65), MINUTE));
}

#[test]
fn a_peer_that_reads_nothing_does_not_make_its_socket_young() {
    // It answers a probe of its closed window every now and then.
    let mut socket = sending(10, 337);
    socket.activity = socket.activity.map(|activity| Activity {
        since_data: Some(Nanos::from_secs(400)),
        ..activity
    });
    let outcome = once(socket);
    let stuck = &outcome.old[0];
    assert_eq!(stuck.verdict, Verdict::EofRead);
    assert_eq!(stuck.age.since, NOW - Nanos::from_secs(337));
    assert_eq!(stuck.age.earliest, Some(NOW - Nanos::from_secs(400)));
    let rested = Some(Nanos::from_secs(337));
    assert_eq!(stuck.socket.peer_window_closed_for(), rested);
    // No data comes after a FIN: it came no earlier than that.
    socket.activity = socket.activity.map(|activity| Activity {
        since_data: Some(Nanos::from_secs(300)),
        ..activity
    });
    assert_eq!(once(socket).old[0].age.since, NOW - Nanos::from_secs(300));
}

#[test]
fn bytes_that_were_sent_after_the_fin_have_moved() {
    let mut socket = sending(1, 30);
    socket.entered = Some(NOW - Nanos::from_secs(100));
    socket.unsent = 0;
    assert_eq!(verdict(socket), Verdict::StillSending);
    socket.entered = Some(NOW - Nanos::from_secs(61));
    socket.activity = socket.activity.map(|activity| Activity {
        since_sent: Some(Nanos::from_secs(62)),
        ..activity
    });
    assert_eq!(verdict(socket), Verdict::EofRead);
}

#[test]
fn a_socket_that_is_found_gone_between_scans_is_not_gone_again() {
    let mut history = ScanHistory::default();
    let _ = history.add(vec![socket(1, 70), socket(2, 10)], NOW, MINUTE);
    history.forget(EndpointId(1));
    history.forget(EndpointId(2));
    assert_eq!(history.add(vec![], after(5), MINUTE).gone, []);
}

#[test]
fn a_stuck_socket_opens_goes_on_and_is_gone_once() {
    let mut history = ScanHistory::default();
    let events = |outcome: &ScanOutcome| {
        let old = outcome.old.iter();
        old.map(|stuck| stuck.event).collect::<Vec<_>>()
    };
    let outcome = history.add(vec![socket(1, 70)], NOW, MINUTE);
    assert_eq!(
        events(&outcome),
        [StuckEvent::Ongoing],
        "it was there before"
    );
    let outcome = history.add(vec![socket(1, 75), socket(2, 61)], after(5), MINUTE);
    assert_eq!(events(&outcome), [StuckEvent::Ongoing, StuckEvent::Opened]);
    let outcome = history.add(vec![socket(2, 66)], after(10), MINUTE);
    assert_eq!(events(&outcome), [StuckEvent::Ongoing]);
    assert_eq!(outcome.gone, [EndpointId(1)]);
    let outcome = history.add(vec![socket(2, 71)], after(15), MINUTE);
    assert_eq!(outcome.gone, []);
    let outcome = history.add(vec![], after(20), MINUTE);
    assert_eq!(outcome.gone, [EndpointId(2)]);
}

#[test]
fn a_resolved_socket_reports_when_and_how() {
    let mut stuck = once(socket(1, 70)).old.remove(0);
    assert_eq!(stuck.resolution(), None);
    stuck.resolve(after(9), Resolution::Reset);
    assert_eq!(stuck.event, StuckEvent::Resolved(Resolution::Reset));
    assert_eq!(
        (stuck.at, stuck.resolution()),
        (after(9), Some(Resolution::Reset))
    );
}

#[test]
fn sockets_that_were_never_stuck_are_not_gone() {
    let mut history = ScanHistory::default();
    let _ = history.add(vec![socket(1, 59), busy(2)], NOW, MINUTE);
    assert_eq!(history.add(vec![], after(5), MINUTE).gone, []);
}

#[test]
fn verdicts_name_what_to_check() {
    let sentence = |verdict: Verdict, unread, fds: &[u32]| {
        verdict.explain(TcpState::CloseWait, Some(unread), fds, None)
    };
    assert_eq!(
        sentence(Verdict::EofRead, 0, &[7]),
        "everything was read, up to the end of stream, and close() was never called on fd 7"
    );
    assert_eq!(
        sentence(Verdict::EofUnread, 0, &[7, 9]),
        "the end of stream came and was never read, and close() was never called on fds 7, 9"
    );
    assert_eq!(
        sentence(Verdict::EofUnread, 5, &[1, 2, 3, 4, 5]),
        "5 bytes and the end of stream behind them were never read, and close() was never called on fds 1, 2, 3, 4, …"
    );
    assert_eq!(
        sentence(Verdict::NotAccepted, 0, &[]),
        "the peer has closed, and accept() was never called for it"
    );
}

#[test]
fn a_socket_without_a_descriptor_may_have_been_closed() {
    for unknown in [OwnerUnknown::NoHolder, OwnerUnknown::NotInspectable] {
        for verdict in [Verdict::EofRead, Verdict::EofUnread, Verdict::NotClosed] {
            for unread in [None, Some(0), Some(1), Some(5)] {
                let sentence = verdict.explain(TcpState::CloseWait, unread, &[], Some(unknown));
                assert!(!sentence.contains("close()"), "{sentence}");
            }
        }
    }
}

#[test]
fn only_what_is_certainly_stuck_may_be_destroyed() {
    use strum::VariantArray as _;

    let may_be: Vec<Verdict> = Verdict::VARIANTS
        .iter()
        .copied()
        .filter(|verdict| verdict.may_be_destroyed())
        .collect();
    let expected = [
        Verdict::EofUnread,
        Verdict::EofRead,
        Verdict::NotClosed,
        Verdict::HalfClosed,
        Verdict::Unanswered,
        Verdict::PeerNotReading,
    ];
    assert_eq!(may_be, expected);
}
