//! Stuck sockets by their owners, and reports of them.

use super::*;

/// The sockets that one scan finds, each held by the process of that id.
fn held(sockets: Vec<ObservedSocket>, pids: &[u32]) -> Vec<StuckSocket> {
    let old = ScanHistory::default().add(sockets, NOW, MINUTE).old;
    let held = old.into_iter().zip(pids).map(|(stuck, &pid)| {
        let process = Arc::new(Process {
            pid,
            ..Process::default()
        });
        let holder = Holder {
            pid,
            comm: (*b"web").into(),
            fds: vec![7],
            thread: None,
        };
        stuck.with_holders(vec![holder], Some(&process), OwnerUnknown::NoHolder)
    });
    held.collect()
}

/// The sockets that one scan finds, without holders.
fn unheld(sockets: Vec<ObservedSocket>) -> Vec<StuckSocket> {
    ScanHistory::default().add(sockets, NOW, MINUTE).old
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
    sockets[3].tuple.local_port = Port::new(443);
    let groups = by_owner(&held(sockets, &[1, 2, 3, 3, 5]));
    let order: Vec<_> = groups
        .iter()
        .map(|group| (group.count.owner, group.count.sample.stuck))
        .collect();
    let process = |pid| OwnerKey::Process((pid, None));
    assert_eq!(
        order,
        [
            (process(3), 2),
            (process(2), 1),
            (process(5), 1),
            (process(1), 1)
        ]
    );
    let worst = &groups[0];
    assert_eq!(worst.sockets, [3, 2], "the oldest first");
    assert_eq!(worst.count.oldest.since, NOW - Nanos::from_secs(62));
    let verdicts: Vec<_> = worst
        .verdicts
        .iter()
        .map(|alike| (alike.state, alike.verdict, alike.count, alike.unread))
        .collect();
    assert_eq!(
        verdicts,
        [
            (TcpState::CloseWait, Verdict::EofUnread, 1, Some(10)),
            (TcpState::CloseWait, Verdict::EofRead, 1, Some(0))
        ]
    );
    assert_eq!(worst.local_ports.top, [(80, 1), (443, 1)]);
    assert_eq!(worst.peers.top, [(peer([10, 0, 0, 2], Some(40_000)), 2)]);
    let owner = worst.count.process.as_ref().map(|owner| owner.process.pid);
    assert_eq!(owner, Some(3));
}

#[test]
fn sockets_without_a_process_are_counted_by_their_origin() {
    let mut sockets = vec![socket(1, 100), socket(2, 90), socket(3, 80)];
    sockets[1].uid = 33;
    sockets[2].inode = None;
    let owners: Vec<OwnerKey> = by_owner(&unheld(sockets))
        .iter()
        .map(|group| group.count.owner)
        .collect();
    let nobody = |uid| OwnerKey::Unowned {
        cgroup: None,
        netns: NetNs::new(1),
        uid,
    };
    assert_eq!(owners, [nobody(Some(0)), nobody(Some(33)), nobody(None)]);
}

#[test]
fn a_report_counts_the_sockets_of_each_owner_and_how_they_grow() {
    let mut trends = Trends::default();
    let report = |count: u64, trends: &mut Trends| {
        let sockets = (0..count).map(|id| socket(id, 100)).collect();
        let held = held(sockets, &vec![9; count as usize]);
        Report::new(after(count), MINUTE, held, trends)
    };
    for count in 1..=2 {
        assert_eq!(report(count, &mut trends).owners[0].forecast, None);
    }
    let third = report(3, &mut trends);
    let forecast = third.owners[0].forecast.expect("three reports");
    assert_eq!((forecast.fit.per_second, forecast.fit.samples), (1.0, 3));
    for stuck in third.stuck() {
        let owner = stuck.process.as_ref().expect("a process holds it");
        assert_eq!((owner.stuck, owner.forecast), (3, Some(forecast)));
        assert_eq!(stuck.owner.as_ref().map(|owner| owner.pid), Some(9));
        assert_eq!(stuck.fds(), [7]);
    }
}

#[test]
fn the_owner_of_a_connection_that_was_not_accepted_listens() {
    let mut waiting = socket(1, 100);
    waiting.inode = None;
    let stuck = held(vec![waiting], &[9]).remove(0);
    let source = stuck.owner.as_ref().map(|owner| owner.source);
    assert_eq!(source, Some(OwnerSource::Listen));
    let nobody = unheld(vec![waiting]).remove(0);
    let nobody = nobody.with_holders(vec![], None, OwnerUnknown::NotInspectable);
    assert_eq!(nobody.owner_unknown, Some(OwnerUnknown::NotInspectable));
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
    let sockets = unheld(sockets);
    let groups = by_owner(&sockets);
    let (server, client) = (peer([10, 0, 0, 2], None), peer([10, 0, 0, 2], Some(3306)));
    assert_eq!(groups[0].peers.top, [(server, 2), (client, 2)]);

    let only = by_owner(&sockets[..1]);
    assert_eq!(only[0].peers.top, [(client, 1)], "a single one");
    assert_eq!(client.to_string(), "10.0.0.2:3306");
    assert_eq!(server.to_string(), "10.0.0.2");
}

#[test]
fn still_sending_is_in_its_group_and_not_counted() {
    let sockets = unheld(vec![socket(1, 61), busy(2)]);
    let groups = by_owner(&sockets);
    assert_eq!(
        (groups[0].sockets.len(), groups[0].count.sample.stuck),
        (2, 1)
    );
    let counts: Vec<OwnerCount> = count_by_owner(&sockets).into_values().collect();
    let sample = Sample {
        stuck: 1,
        descriptors: 1,
        open: None,
    };
    assert_eq!(counts.len(), 1);
    assert_eq!(
        (counts[0].owner, counts[0].sample),
        (groups[0].count.owner, sample)
    );
}

#[test]
fn a_first_scan_takes_the_growth_of_a_process_from_an_agent() {
    let report = || {
        let sockets = vec![socket(1, 100), socket(2, 90), socket(3, 80)];
        Report::new(
            NOW,
            MINUTE,
            held(sockets, &[7, 7, 8]),
            &mut Trends::default(),
        )
    };
    let mut trends = Trends::default();
    let owner = OwnerKey::Process((7, None));
    for count in 1..=4 {
        let sample = Sample {
            stuck: count,
            descriptors: count,
            open: None,
        };
        trends.record(after(count), [(owner, sample)]);
    }
    let lines = trends.lines(&owner).expect("four samples");
    let forecasts = |report: &Report| -> Vec<_> {
        let owners = report
            .sockets
            .iter()
            .filter_map(|stuck| stuck.process.as_ref());
        owners
            .map(|owner| (owner.process.pid, owner.stuck, owner.forecast.is_some()))
            .collect()
    };
    let alone = report();
    assert!(alone.owners.iter().all(|group| group.forecast.is_none()));
    // It is known of one of the sockets, and by another process's name of none.
    let mut known = report();
    known.add_growth(|socket| (socket.id == EndpointId(2)).then_some(((7, None), lines)));
    assert_eq!(
        forecasts(&known),
        [(7, 2, true), (7, 2, true), (8, 1, false)]
    );
    let mut other = report();
    other.add_growth(|_| Some(((9, None), lines)));
    assert!(
        forecasts(&other)
            .iter()
            .all(|(_, _, has_growth)| !has_growth)
    );
}
