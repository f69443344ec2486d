//! Looks at sockets of known histories, with exact times.

use std::net::SocketAddr;

use super::*;
use crate::types::Port;

const NOW: Nanos = Nanos::from_secs(100_000);
const MINUTE: Nanos = Nanos::from_secs(60);

/// An accepted socket that read everything; its FIN came `age` seconds ago with the last ACK, its last data 5 s earlier.
fn socket(id: u64, age: u64) -> ObservedSocket {
    let ends: [SocketAddr; 2] = [
        SocketAddr::from(([10, 0, 0, 1], 80)),
        SocketAddr::from(([10, 0, 0, 2], 40_000)),
    ];
    ObservedSocket {
        id: EndpointId(id),
        netns: NetNs::new(1),
        tuple: Tuple::from((ends[0], ends[1])),
        interface: None,
        inode: Inode::new(1_000),
        uid: 0,
        cgroup: None,
        queued: 0,
        unsent: 0,
        keepalive: false,
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
    ScanHistory::default().look(vec![socket], NOW, MINUTE)
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
    assert_eq!(ObservedSocket { queued: 6, ..read }.unread(), 5);
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
    let leak = once(socket(1, 61)).old[0];
    let expected = Age {
        since: NOW - Nanos::from_secs(61),
        known: AgeKnown::Estimated,
        earliest: Some(NOW - Nanos::from_secs(66)),
    };
    assert_eq!((leak.age, leak.event), (expected, StuckEvent::Ongoing));
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
        (young.old.len(), young.younger, young.hidden.len()),
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
    assert_eq!(once(probed).hidden.len(), 0);
    probed.activity = probed.activity.map(|activity| Activity {
        since_data: Some(Nanos::from_secs(3_600)),
        ..activity
    });
    assert_eq!((once(probed).younger, once(probed).hidden.len()), (1, 1));
}

#[test]
fn a_second_look_proves_an_age_that_keepalive_hides() {
    let probed = ObservedSocket {
        keepalive: true,
        entered: None,
        ..socket(1, 10)
    };
    let mut ledger = ScanHistory::default();
    assert_eq!(ledger.look(vec![probed], NOW, MINUTE).old, []);
    // A probe was answered meanwhile: the last ACK is again 10 s old.
    let old = ledger.look(vec![probed], after(50), MINUTE).old;
    assert_eq!(old.len(), 1);
    assert_eq!(old[0].age.since, NOW - Nanos::from_secs(10));
    assert_eq!(old[0].event, StuckEvent::Opened);
}

#[test]
fn what_moved_between_looks_is_no_leak_until_it_rests_for_as_long() {
    let mut ledger = ScanHistory::default();
    let mut sending = socket(1, 61);
    let judged = |look: ScanOutcome| look.old[0].verdict;
    assert_eq!(
        judged(ledger.look(vec![sending], NOW, MINUTE)),
        Verdict::EofRead
    );
    sending.activity = sending.activity.map(|activity| Activity {
        bytes_acked: 200,
        ..activity
    });
    assert_eq!(
        judged(ledger.look(vec![sending], after(5), MINUTE)),
        Verdict::StillSending
    );
    assert_eq!(
        judged(ledger.look(vec![sending], after(65), MINUTE)),
        Verdict::StillSending
    );
    assert_eq!(
        judged(ledger.look(vec![sending], after(66), MINUTE)),
        Verdict::EofRead
    );
}

#[test]
fn a_peer_that_reads_nothing_does_not_make_its_socket_young() {
    // It answers a probe of its closed window every now and then.
    let mut socket = sending(10, 337);
    socket.activity = socket.activity.map(|activity| Activity {
        since_data: Some(Nanos::from_secs(400)),
        ..activity
    });
    let look = once(socket);
    let leak = look.old[0];
    assert_eq!(leak.verdict, Verdict::EofRead);
    assert_eq!(leak.age.since, NOW - Nanos::from_secs(337));
    assert_eq!(leak.age.earliest, Some(NOW - Nanos::from_secs(400)));
    let rested = Some(Nanos::from_secs(337));
    assert_eq!(leak.socket.peer_reads_nothing_for(), rested);
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
fn what_is_found_gone_between_looks_is_resolved_once() {
    let mut ledger = ScanHistory::default();
    let _ = ledger.look(vec![socket(1, 70), socket(2, 10)], NOW, MINUTE);
    let gone = ledger.forget(EndpointId(1));
    assert_eq!(gone.map(|leak| leak.event), Some(StuckEvent::Resolved));
    assert_eq!(ledger.forget(EndpointId(2)), None, "it was never told of");
    assert_eq!(ledger.look(vec![], after(5), MINUTE).resolved, []);
}

#[test]
fn a_leak_opens_goes_on_and_is_resolved_once() {
    let mut ledger = ScanHistory::default();
    let events = |look: &ScanOutcome| look.old.iter().map(|leak| leak.event).collect::<Vec<_>>();
    let look = ledger.look(vec![socket(1, 70)], NOW, MINUTE);
    assert_eq!(events(&look), [StuckEvent::Ongoing], "it was there before");
    let look = ledger.look(vec![socket(1, 75), socket(2, 61)], after(5), MINUTE);
    assert_eq!(events(&look), [StuckEvent::Ongoing, StuckEvent::Opened]);
    assert_eq!(ledger.told().count(), 2);
    let look = ledger.look(vec![socket(2, 66)], after(10), MINUTE);
    assert_eq!(events(&look), [StuckEvent::Ongoing]);
    let resolved: Vec<_> = look
        .resolved
        .iter()
        .map(|leak| (leak.socket.id, leak.event))
        .collect();
    assert_eq!(resolved, [(EndpointId(1), StuckEvent::Resolved)]);
    assert!(
        ledger
            .look(vec![socket(2, 71)], after(15), MINUTE)
            .resolved
            .is_empty()
    );
}

#[test]
fn what_was_never_told_of_is_not_resolved() {
    let mut ledger = ScanHistory::default();
    let _ = ledger.look(vec![socket(1, 59), busy(2)], NOW, MINUTE);
    assert!(ledger.look(vec![], after(5), MINUTE).resolved.is_empty());
}

#[test]
fn sentences_name_what_to_look_for() {
    let say = |verdict: Verdict, unread, fds: &[u32]| verdict.explain(unread, fds);
    assert_eq!(
        say(Verdict::EofRead, 0, &[7]),
        "everything was read, up to the end of stream, and close() was never called on fd 7"
    );
    assert_eq!(
        say(Verdict::EofUnread, 0, &[7, 9]),
        "the end of stream came and was never read, and close() was never called on fds 7, 9"
    );
    assert_eq!(
        say(Verdict::EofUnread, 5, &[1, 2, 3, 4, 5]),
        "5 bytes and the end of stream behind them were never read, and close() was never called on fds 1, 2, 3, 4, …"
    );
    assert_eq!(
        say(Verdict::NotAccepted, 0, &[]),
        "the peer has closed, and accept() was never called for it"
    );
}

#[test]
fn owners_come_worst_first() {
    let mut sockets = vec![
        socket(1, 100),
        socket(2, 300),
        socket(3, 61),
        ObservedSocket {
            queued: 11,
            ..socket(4, 62)
        },
        socket(5, 200),
    ];
    for (socket, inode) in sockets.iter_mut().zip([1, 2, 3, 3, 5]) {
        socket.inode = Inode::new(inode);
    }
    sockets[3].tuple.local_port = Port::new(443);
    let look = ScanHistory::default().look(sockets, NOW, MINUTE);
    let groups = group(&look.old, |leak| leak.socket.inode.map_or(0, Inode::get));
    let order: Vec<_> = groups
        .iter()
        .map(|group| (group.owner, group.stuck()))
        .collect();
    assert_eq!(order, [(3, 2), (2, 1), (5, 1), (1, 1)]);
    let worst = &groups[0];
    assert_eq!(worst.leaks, [3, 2], "the oldest first");
    assert_eq!(worst.oldest.since, NOW - Nanos::from_secs(62));
    assert_eq!((worst.verdicts, worst.unread), ([0, 1, 1, 0], 10));
    assert_eq!(worst.local_ports.most, [(80, 1), (443, 1)]);
    assert_eq!(worst.peers.most, [(peer([10, 0, 0, 2], Some(40_000)), 2)]);
}

fn peer(ip: [u8; 4], port: Option<u16>) -> Peer {
    Peer {
        ip: ip.into(),
        port,
    }
}

#[test]
fn a_client_s_peers_have_the_port_that_it_connects_to() {
    let mut sockets = [1, 2, 3, 4].map(|id| socket(id, 61)).to_vec();
    for (socket, (local, remote)) in
        sockets
            .iter_mut()
            .zip([(40_001, 3306), (40_002, 3306), (80, 50_001), (80, 50_002)])
    {
        (socket.tuple.local_port, socket.tuple.peer_port) = (Port::new(local), Port::new(remote));
    }
    let look = ScanHistory::default().look(sockets, NOW, MINUTE);
    let groups = group(&look.old, |_| ());
    let (server, client) = (peer([10, 0, 0, 2], None), peer([10, 0, 0, 2], Some(3306)));
    assert_eq!(groups[0].peers.most, [(server, 2), (client, 2)]);

    let only = group(&look.old[..1], |_| ());
    assert_eq!(only[0].peers.most, [(client, 1)], "a single one");
    assert_eq!(client.to_string(), "10.0.0.2:3306");
    assert_eq!(server.to_string(), "10.0.0.2");
}

#[test]
fn still_sending_is_in_its_group_and_not_counted() {
    let look = ScanHistory::default().look(vec![socket(1, 61), busy(2)], NOW, MINUTE);
    let groups = group(&look.old, |_| ());
    assert_eq!((groups[0].leaks.len(), groups[0].stuck()), (2, 1));
}

#[test]
fn a_tally_names_the_most_frequent_and_counts_the_rest() {
    let counts = HashMap::from([(80u16, 5), (81, 7), (82, 5), (83, 1), (84, 1)]);
    let expected = TopValues {
        most: vec![(81, 7), (80, 5), (82, 5)],
        others: 2,
    };
    assert_eq!(TopValues::from(counts), expected);
}
