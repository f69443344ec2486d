//! The table and the JSON of one report.

mod owners;

use std::net::SocketAddr;
use std::sync::Arc;

use jiff::tz::TimeZone;
use serde_json::{Value, json};
use tcpclose_common::TcpState;

use super::*;
use crate::cgroup_names::NoCgroups;
use crate::output::clock::WallClock;
use crate::output::json::write_finding;
use tcpclose_core::finding::Finding;
use tcpclose_core::process::{Container, ContainerNames, PodName, Process, Unit};
use tcpclose_core::stuck::{
    Activity, Changes, Holder, ObservedSocket, OwnerKey, OwnerUnknown, Report, Resolution, Sample,
    ScanHistory, StuckEvent, StuckSocket, Trends,
};
use tcpclose_core::types::{EndpointId, Inode, Nanos, NetNs, Role, StartTime, Tuple};

const NOW: Nanos = Nanos::from_secs(100_000);

fn socket(id: u64, inode: u32, queued: u32) -> ObservedSocket {
    let local = SocketAddr::from(([10, 0, 0, 1], 80));
    let peer = SocketAddr::from(([10, 0, 0, 2], 40_000 + id as u16));
    ObservedSocket {
        id: EndpointId(id),
        state: TcpState::CloseWait,
        netns: NetNs::new(4_026_531_840),
        tuple: Tuple::from((local, peer)),
        interface: None,
        inode: Inode::new(inode),
        uid: 0,
        cgroup: None,
        queued,
        unsent: 0,
        unanswered: None,
        keepalive: false,
        mptcp: false,
        opening: None,
        entered: None,
        activity: Some(Activity {
            since_ack: Nanos::from_secs(125),
            ..Activity::default()
        }),
    }
}

fn process(pid: u32, started: u64) -> Process {
    Process {
        pid,
        started: StartTime::new(started),
        comm: (*b"web\x1b[2J").into(),
        exe: Some("/usr/bin/web".into()),
        command_line: (*b"web\0--name\0a\nb\0").into(),
        open_fds: 924,
        fd_limit: Some(1024),
        unit: Some(Unit {
            name: "web.service".into(),
            user: None,
        }),
        ..Process::default()
    }
}

fn holder(pid: u32, fds: &[u32]) -> Holder {
    Holder {
        pid,
        comm: (*b"web\x1b[2J").into(),
        fds: fds.into(),
        thread: None,
    }
}

/// Process 7 holds two, shared with process 9; no process holds the third.
fn stuck_sockets() -> Vec<StuckSocket> {
    let sockets = vec![socket(1, 11, 0), socket(2, 12, 6), socket(3, 13, 1)];
    let found = ScanHistory::default().add(sockets, NOW, Nanos::from_secs(60));
    let owner = Arc::new(process(7, 100));
    let held = [
        (vec![holder(7, &[5]), holder(9, &[5])], Some(&owner)),
        (vec![holder(7, &[6])], Some(&owner)),
        (vec![], None),
    ];
    let held = found.old.into_iter().zip(held);
    let held = held.map(|(stuck, (holders, owner))| {
        let mut stuck = stuck.with_holders(holders, owner, OwnerUnknown::NoHolder);
        stuck.endpoint.role = Role::Server;
        stuck
    });
    held.collect()
}

/// The report of these, after they were changed.
fn report_of(change: impl FnOnce(&mut Vec<StuckSocket>)) -> Report {
    let mut sockets = stuck_sockets();
    change(&mut sockets);
    Report {
        own_netns: NetNs::new(4_026_531_840),
        younger: 4,
        ..Report::new(NOW, Nanos::from_secs(60), sockets, &mut Trends::default())
    }
}

fn report() -> Report {
    report_of(|_| ())
}

/// The report, with its process changed.
fn report_with(change: impl Fn(&mut Process)) -> Report {
    report_of(|sockets| {
        let owners = sockets
            .iter_mut()
            .filter_map(|stuck| stuck.process.as_mut());
        for owner in owners {
            change(Arc::make_mut(&mut owner.process));
        }
    })
}

fn table(report: &Report, every_socket: bool) -> String {
    LeakTable {
        every_socket,
        ..LeakTable::default()
    }
    .write(report, &mut NoCgroups)
}

#[test]
fn the_table_shows_process_verdict_and_addresses() {
    let expected = "\
STUCK  OLDEST    PID COMM            DESCRIPTORS   UNIT OR CONTAINER
    2  ~2m05s      7 web\\x1b[2J      924/1024      web.service
       WHY    1 eof_unread: 5 bytes and the end of stream behind them were never read, and close() was never called
       DO     look at the code that reads from these connections: it has stopped; it should read on until read() \
returns 0, and then close()
       WHY    1 eof_read: everything was read, up to the end of stream, and close() was never called
       DO     call close() when read() returns 0, on every path, errors too
       local ports 80 (2); peers 10.0.0.2 (2)
       also held by 9 web\\x1b[2J
       /usr/bin/web --name a\\nb
    1  ~2m05s      - uid 0
       WHY    1 eof_unread: the end of stream came and was never read
       no process has a descriptor of it: io_uring, a mapping, a message in flight, a system call that close() \
did not end or the kernel itself may keep it, or its process is exiting
       local ports 80 (1); peers 10.0.0.2:40003 (1)
";
    let mut report = report();
    assert_eq!(table(&report, false), expected);
    let line =
        "3 sockets stuck in CLOSE_WAIT for 1m00s or longer, 4 younger or still transferring data";
    assert_eq!(headline(&report), line);
    let mut resolved = report.sockets[0].clone();
    resolved.resolve(NOW, Resolution::Closed);
    report.changes = Some(Changes {
        after: Nanos::from_secs(5),
        resolved: vec![resolved],
    });
    for stuck in &mut report.sockets[..2] {
        stuck.event = StuckEvent::Opened;
    }
    let line =
        "3 sockets stuck, 2 new and 1 resolved in 5.0s, 4 younger or still transferring data";
    assert_eq!(headline(&report), line);
}

#[test]
fn sockets_in_another_namespace_name_the_netns_option() {
    let report = report_of(|sockets| {
        for stuck in &mut sockets[..2] {
            stuck.socket.netns = NetNs::new(4_026_532_177);
        }
    });
    let text = table(&report, false);
    let line = "peers 10.0.0.2 (2)\n       in another network namespace: --netns 4026532177 (2)\n";
    assert!(text.contains(line), "{text}");
    assert_eq!(text.matches("network namespace").count(), 1, "{text}");
}

#[test]
fn each_socket_has_its_line_with_all() {
    let text = table(&report(), true);
    let line = "       7:5,9:5             10.0.0.1:80           10.0.0.2:40001         ~2m05s eof_read      unread 0 unsent 0\n";
    assert!(text.contains(line), "{text}");
    assert!(
        text.contains("       -                   10.0.0.1:80           10.0.0.2:40003 "),
        "{text}"
    );
}

#[test]
fn a_forecast_shows_its_basis() {
    let mut report = report();
    let mut trends = Trends::default();
    let owner = OwnerKey::Process((7, None));
    for (second, stuck) in [(0, 0), (5, 10), (10, 20)] {
        let sample = Sample {
            stuck,
            descriptors: stuck,
            open: None,
        };
        trends.record(Nanos::from_secs(second), [(owner, sample)]);
    }
    report.owners[0].forecast = trends.forecast(&owner, Some(100));
    let text = table(&report, false);
    let line = "       grows by 2.0/s, out of file descriptors in about 50.0s (linear fit of 3 samples in 10.0s, R² 1.00)\n";
    assert!(text.contains(line), "{text}");
}

#[test]
fn an_empty_report_is_one_line() {
    let mut report = Report {
        min_age: Nanos::from_secs(60),
        ..Report::default()
    };
    assert_eq!(table(&report, true), "");
    let line = "0 sockets stuck for 1m00s or longer";
    assert_eq!(headline(&report), line);
    report.min_age = Nanos(0);
    assert_eq!(headline(&report), "0 sockets stuck");
}

#[test]
fn unread_bytes_are_shown() {
    let report = report_of(|sockets| {
        let socket = &mut sockets[0].socket;
        socket.unsent = 2_559_488;
        socket.activity = Some(Activity {
            since_ack: Nanos::from_secs(10),
            since_sent: Some(Nanos::from_secs(337)),
            ..Activity::default()
        });
    });
    let sentence = "the peer has not read for 5m37s; 2559488 bytes wait";
    let text = table(&report, false);
    assert!(text.contains(&format!("       {sentence}\n")), "{text}");
    let clock = WallClock::fixed(0, TimeZone::UTC);
    let mut line = Vec::new();
    let finding = Finding::Stuck(Box::new(report.sockets[0].clone()));
    write_finding(&mut line, &finding, &clock, &mut NoCgroups).expect("memory takes everything");
    let line = String::from_utf8_lossy(&line).into_owned();
    assert!(line.contains(&format!("on fd 5; {sentence}\"")), "{line}");
}

#[test]
fn possibly_stuck_sockets_have_their_own_section() {
    let mut report = report();
    let mut young = report.sockets[0].clone();
    young.age.earliest = Some(NOW - Nanos::from_secs(780));
    report.possibly_stuck = vec![young];
    let text = table(&report, false);
    let section = "\
possibly stuck: the peer sent something within 1m00s (an answer to keepalive?), so they may be older than estimated; --watch shows their age
    1 up to 13m00s      7 web\\x1b[2J  local ports 80 (1); peers 10.0.0.2:40001 (1)
";
    assert!(text.ends_with(section), "{text}");
    report.possibly_stuck[0].age.earliest = None;
    assert!(table(&report, false).contains("    1 of any age      7 web"));
}

#[test]
fn a_missing_owner_has_a_reason() {
    let shown = |unknown: OwnerUnknown| {
        let report = report_of(|sockets| sockets[2].owner_unknown = Some(unknown));
        let clock = WallClock::fixed(0, TimeZone::UTC);
        let mut line = Vec::new();
        let finding = Finding::Stuck(Box::new(report.sockets[2].clone()));
        write_finding(&mut line, &finding, &clock, &mut NoCgroups)
            .expect("memory takes everything");
        let record: Value = serde_json::from_slice(&line).expect("it is JSON");
        let word = record["stuck"]["owner_unknown"].as_str().map(str::to_owned);
        (word.unwrap_or_default(), table(&report, false))
    };
    for (unknown, word, who, why) in [
        (
            OwnerUnknown::NoHolder,
            "no_holder",
            "     - uid 0\n",
            "no process has a descriptor of it: ",
        ),
        (
            OwnerUnknown::NotInspectable,
            "not_inspectable",
            "     - uid 0\n",
            "no holder was found, but not every process could be inspected\n",
        ),
        (
            OwnerUnknown::Unspecified,
            "not_told",
            "     -\n",
            "no holder was found when it was recorded\n",
        ),
    ] {
        let (found, text) = shown(unknown);
        assert_eq!(found, word);
        assert!(text.contains(who) && text.contains(why), "{text}");
    }
}

#[test]
fn on_a_terminal_no_word_is_broken() {
    let table = LeakTable {
        width: Some(60),
        ..LeakTable::default()
    };
    let text = table.write(&report(), &mut NoCgroups);
    assert!(
        text.contains(
            "\n       WHY    1 eof_read: everything was read, up to the\n         end of stream, and \
             close() was never called\n"
        ),
        "{text}"
    );
    let unbroken = LeakTable::default().write(&report(), &mut NoCgroups);
    let words = |text: &str| {
        text.split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(words(&text), words(&unbroken));
}

#[test]
fn a_record_has_all_there_is() -> Result<(), Box<dyn std::error::Error>> {
    let report = report();
    // 2026-01-31T12:00:00Z at the time of the scan.
    let clock = WallClock::fixed(1_769_860_800_000_000_000 - NOW.0 as i64, TimeZone::UTC);
    let mut line = Vec::new();
    let finding = Finding::Stuck(Box::new(report.sockets[0].clone()));
    write_finding(&mut line, &finding, &clock, &mut NoCgroups)?;
    let text = String::from_utf8(line)?;
    assert!(text.ends_with("}\n") && !text.contains('\u{1b}'), "{text}");
    let record: Value = serde_json::from_str(&text)?;
    let expected = json!({
        "v": 1, "kind": "stuck", "event": "ongoing", "ts": "2026-01-31T12:00:00.000000Z", "netns": 4_026_531_840_u32,
        "conn": {
            "id": 1, "pair": null, "family": "ipv4", "local": {"addr": "10.0.0.1", "port": 80},
            "peer": {"addr": "10.0.0.2", "port": 40_001}, "role": "server", "seen_from_start": false, "opened": null,
            "lifetime_ms": null, "peer_owner": null,
        },
        "owner": {"pid": 7, "comm": "web\u{1b}[2J", "uid": 0, "cgroup": null, "container": null, "source": "proc", "thread": null},
        "process": {
            "exe": "/usr/bin/web", "command_line": ["web", "--name", "a\nb"], "command_line_cut": false,
            "unit": "web.service", "user_unit": null, "descriptors": {"open": 924, "limit": 1024}, "stuck": 2,
            "growth": null,
        },
        "holders": [
            {"pid": 7, "comm": "web\u{1b}[2J", "fds": [5]},
            {"pid": 9, "comm": "web\u{1b}[2J", "fds": [5]},
        ],
        "stuck": {
            "state": "CLOSE_WAIT",
            "since": "2026-01-31T11:57:55.000000Z", "age_ms": 125_000.0, "age_known": "estimated",
            "age_at_most_ms": null, "verdict": "eof_read",
            "idle_before_fin_ms": null, "unanswered": null, "unread_bytes": 0, "unsent_bytes": 0, "fds": [5],
            "owner_unknown": null, "cgroup": null,
            "advice": "everything was read, up to the end of stream, and close() was never called on fd 5",
            "resolved_by": null,
        },
    });
    assert_eq!(record, expected);
    Ok(())
}
