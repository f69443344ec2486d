//! The table and the JSON of one report.

use std::net::SocketAddr;
use std::sync::Arc;

use jiff::tz::TimeZone;
use serde_json::{Value, json};
use tcpclose_common::TcpState;

use super::*;
use crate::output::cgroup_names::NoCgroups;
use crate::output::clock::WallClock;
use crate::output::json::write_finding;
use tcpclose_core::finding::Finding;
use tcpclose_core::process::{Container, Process, Unit};
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
        keepalive: false,
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
        open: 924,
        limit: Some(1024),
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
    }
}

/// Process 7 holds two, shared with process 9; nobody holds the third.
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
        let mut stuck = stuck.held_by(holders, owner, OwnerUnknown::NoHolder);
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
        colours: false,
    }
    .write(report, &mut NoCgroups)
}

#[test]
fn the_table_tells_who_what_and_where() {
    let expected = "\
STUCK  OLDEST    PID COMM            DESCRIPTORS   UNIT OR CONTAINER
    2  ~2m05s      7 web\\x1b[2J      924/1024      web.service
       1 eof_unread: 5 bytes and the end of stream behind them were never read, and close() was never called
       1 eof_read: everything was read, up to the end of stream, and close() was never called
       local ports 80 (2); peers 10.0.0.2 (2)
       also held by 9 web\\x1b[2J
       /usr/bin/web --name a\\nb
    1  ~2m05s      - uid 0
       1 eof_unread: the end of stream came and was never read, and close() was never called
       held by no process: one that is exiting, a socket of the kernel's own, or a descriptor on its way between processes
       local ports 80 (1); peers 10.0.0.2:40003 (1)
";
    let mut report = report();
    assert_eq!(table(&report, false), expected);
    let line = "3 sockets stuck in CLOSE_WAIT for 1m00s or longer, 4 younger or still at work";
    assert_eq!(total(&report), line);
    let mut resolved = report.sockets[0].clone();
    resolved.resolve(NOW, Resolution::Closed);
    report.changes = Some(Changes {
        after: Nanos::from_secs(5),
        resolved: vec![resolved],
    });
    for stuck in &mut report.sockets[..2] {
        stuck.event = StuckEvent::Opened;
    }
    let line = "3 sockets stuck, 2 new and 1 resolved in 5.0s, 4 younger or still at work";
    assert_eq!(total(&report), line);
}

#[test]
fn where_ss_would_not_show_them_is_said() {
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
fn each_socket_has_its_line_where_asked_for() {
    let text = table(&report(), true);
    let line = "       7:5,9:5             10.0.0.1:80           10.0.0.2:40001         ~2m05s eof_read      unread 0 unsent 0\n";
    assert!(text.contains(line), "{text}");
    assert!(
        text.contains("       -                   10.0.0.1:80           10.0.0.2:40003 "),
        "{text}"
    );
}

#[test]
fn a_forecast_says_what_it_is_made_of() {
    let mut report = report();
    let mut trends = Trends::default();
    let owner = OwnerKey::Process((7, None));
    for (second, stuck) in [(0, 0), (5, 10), (10, 20)] {
        let sample = Sample {
            stuck,
            descriptors: stuck,
        };
        trends.record(Nanos::from_secs(second), [(owner, sample)]);
    }
    report.owners[0].forecast = trends.forecast(&owner, Some(100));
    let text = table(&report, false);
    let line = "       grows by 2.0 a second, no descriptors left in 50.0s (straight line through 3 looks in 10.0s, R² 1.00)\n";
    assert!(text.contains(line), "{text}");
}

#[test]
fn a_container_is_shown_short_and_its_scope_not_at_all() {
    let id = "9ec39b91f3d70e1beff50a308f77067065ea6be0d91a3378375056cd4422cf3d";
    let report = report_with(|process| {
        process.unit = Some(Unit {
            name: format!("docker-{id}.scope"),
            user: None,
        });
        process.container = Some(Container {
            runtime: "docker",
            id: id.into(),
            pod: None,
        });
    });
    let text = table(&report, false);
    assert!(
        text.contains("924/1024      docker 9ec39b91f3d7\n"),
        "{text}"
    );
}

#[test]
fn an_empty_report_is_one_line() {
    let mut report = Report {
        min_age: Nanos::from_secs(60),
        ..Report::default()
    };
    assert_eq!(table(&report, true), "");
    let line = "0 sockets stuck in CLOSE_WAIT for 1m00s or longer";
    assert_eq!(total(&report), line);
    report.min_age = Nanos(0);
    assert_eq!(total(&report), "0 sockets stuck in CLOSE_WAIT");
}

#[test]
fn a_process_is_shown_with_the_title_that_it_gave_itself() {
    let shown = |line: &[u8], exe: Option<&str>| {
        let report = report_with(|process| {
            process.command_line = line.into();
            process.exe = exe.map(Into::into);
        });
        let text = table(&report, false);
        let line = text.lines().nth(6).map(str::trim_start);
        line.map(str::to_owned).unwrap_or_default()
    };
    let postgres = Some("/usr/lib/postgresql/15/bin/postgres");
    assert_eq!(
        shown(b"postgres: app shop 10.0.0.9(55) idle\0\0\0\0", postgres),
        "/usr/lib/postgresql/15/bin/postgres (postgres: app shop 10.0.0.9(55) idle)"
    );
    assert_eq!(
        shown(b"nginx: worker process", Some("/usr/sbin/nginx")),
        "/usr/sbin/nginx (nginx: worker process)"
    );
    let python = Some("/usr/bin/python3.11");
    assert_eq!(
        shown(b"python3\0serve.py\0", python),
        "/usr/bin/python3.11 (python3 serve.py)"
    );
    assert_eq!(shown(b"./web\0-v\0", Some("/srv/web")), "/srv/web -v");
    assert_eq!(shown(b"web\0-v\0", None), "web -v");
    assert_eq!(shown(b"", Some("/srv/web")), "/srv/web");
    let long = shown("web\0ä".as_bytes(), Some(&format!("/{}", "ä".repeat(200))));
    assert!(
        long.starts_with("/ä") && long.contains("ä… (web ä)"),
        "{long}"
    );
    assert!(!long.contains('\u{fffd}'), "{long}");
}

#[test]
fn where_a_process_runs_is_shown_once_and_as_it_can_be_typed() {
    let shown = |unit: Option<&str>, machine: Option<&str>, cgroup: Option<&str>| {
        let report = report_with(|process| {
            process.unit = unit.map(|name| Unit {
                name: name.into(),
                user: None,
            });
            process.container = machine.map(|id| Container {
                runtime: "systemd-nspawn",
                id: id.into(),
                pod: None,
            });
            process.cgroup = cgroup.map(Into::into);
        });
        let text = table(&report, false);
        let line = text.lines().nth(1).unwrap_or_default().to_owned();
        line.split_once("924/1024")
            .map_or(line.clone(), |(_, place)| place.trim().to_owned())
    };
    for unit in [
        "machine-my\\x2dbox.scope",
        "systemd-nspawn@my\\x2dbox.service",
    ] {
        let shown = shown(Some(unit), Some("my-box"), None);
        assert_eq!(shown, "systemd-nspawn my-box");
    }
    let unit = "srv-my\\x2dapp.service";
    assert_eq!(shown(Some(unit), None, Some("/a/b")), unit);
    assert_eq!(shown(None, None, Some("/a/b")), "cgroup /a/b");
    assert_eq!(shown(None, None, Some("/")), "");
}

#[test]
fn many_holders_do_not_break_the_columns() {
    let report = report_of(|sockets| {
        sockets[0].holders = (7..27).map(|pid| holder(pid, &[5])).collect();
    });
    let text = table(&report, true);
    assert!(
        text.contains("       7:5,8:5,9:5,10:5+16 10.0.0.1:80 "),
        "{text}"
    );
}

#[test]
fn bytes_that_the_peer_does_not_read_are_told_of() {
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
fn what_may_be_older_than_it_looks_has_a_section_with_its_owners() {
    let mut report = report();
    let mut young = report.sockets[0].clone();
    young.age.earliest = Some(NOW - Nanos::from_secs(780));
    report.possibly_stuck = vec![young];
    let text = table(&report, false);
    let section = "\
perhaps stuck: something came from the peer within 1m00s (an answer to keepalive), so they may be older than they look; --watch tells
    1 up to 13m00s      7 web\\x1b[2J  local ports 80 (1); peers 10.0.0.2:40001 (1)
";
    assert!(text.ends_with(section), "{text}");
    report.possibly_stuck[0].age.earliest = None;
    assert!(table(&report, false).contains("    1 of any age      7 web"));
}

#[test]
fn why_there_is_no_owner_is_a_word_and_a_sentence() {
    let shown = |unknown: OwnerUnknown| {
        let report = report_of(|sockets| sockets[2].owner_unknown = Some(unknown));
        let clock = WallClock::fixed(0, TimeZone::UTC);
        let mut line = Vec::new();
        let finding = Finding::Stuck(Box::new(report.sockets[2].clone()));
        write_finding(&mut line, &finding, &clock, &mut NoCgroups)
            .expect("memory takes everything");
        let record: Value = serde_json::from_slice(&line).expect("it is JSON");
        let word = record["leak"]["owner_unknown"].as_str().map(str::to_owned);
        (word.unwrap_or_default(), table(&report, false))
    };
    for (unknown, word, who, why) in [
        (
            OwnerUnknown::NoHolder,
            "no_holder",
            "     - uid 0\n",
            "held by no process: ",
        ),
        (
            OwnerUnknown::NotInspectable,
            "not_inspectable",
            "     - uid 0\n",
            "no holder was found, but not every process could be looked into\n",
        ),
        (
            OwnerUnknown::Unspecified,
            "not_told",
            "     -\n",
            "whoever recorded it found no holder\n",
        ),
    ] {
        let (found, text) = shown(unknown);
        assert_eq!(found, word);
        assert!(text.contains(who) && text.contains(why), "{text}");
    }
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
        "v": 1, "kind": "leak", "event": "ongoing", "ts": "2026-01-31T12:00:00.000000Z", "netns": 4_026_531_840_u32,
        "conn": {
            "id": 1, "family": "ipv4", "local": {"addr": "10.0.0.1", "port": 80},
            "peer": {"addr": "10.0.0.2", "port": 40_001}, "role": "server", "seen_from_start": false, "opened": null,
            "lifetime_ms": null,
        },
        "owner": {"pid": 7, "comm": "web\u{1b}[2J", "uid": 0, "cgroup": null, "container": null, "source": "proc"},
        "process": {
            "exe": "/usr/bin/web", "command_line": ["web", "--name", "a\nb"], "command_line_cut": false,
            "unit": "web.service", "user_unit": null, "descriptors": {"open": 924, "limit": 1024}, "stuck": 2,
            "growth": null,
        },
        "holders": [
            {"pid": 7, "comm": "web\u{1b}[2J", "fds": [5]},
            {"pid": 9, "comm": "web\u{1b}[2J", "fds": [5]},
        ],
        "leak": {
            "since": "2026-01-31T11:57:55.000000Z", "age_ms": 125_000.0, "age_known": "estimated",
            "age_at_most_ms": null, "verdict": "eof_read", "unread_bytes": 0, "unsent_bytes": 0, "fds": [5],
            "owner_unknown": null, "cgroup": null,
            "advice": "everything was read, up to the end of stream, and close() was never called on fd 5",
            "resolved_by": null,
        },
    });
    assert_eq!(record, expected);
    Ok(())
}
