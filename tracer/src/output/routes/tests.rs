use std::sync::Arc;

use super::*;
use crate::output::json::write_route;
use crate::output::samples;
use tcpclose_core::process::{Process, Unit};
use tcpclose_core::routes::{
    PortHolder, PortSettings, RouteHistory, RouteReport, RouteUsage, RoutesReport, ScannedPort,
};
use tcpclose_core::summary::{ReuseRules, ReuseScope, Route};
use tcpclose_core::types::{Nanos, NetNs, Owner, OwnerSource, Port};

const NOW: Nanos = Nanos::from_secs(600);
const OWN: Option<NetNs> = NetNs::new(4_026_531_840);

fn settings() -> PortSettings {
    PortSettings {
        first: 40_000,
        last: 40_199,
        reserved: 0,
        bound: 0,
        reuse: ReuseRules {
            scope: ReuseScope::Loopback,
            delay: Nanos::from_secs(1),
            timestamps: None,
        },
    }
}

fn process(pid: u32, comm: &[u8]) -> Arc<Process> {
    Arc::new(Process {
        pid,
        comm: comm.into(),
        ..Process::default()
    })
}

/// A route from an address to a destination, with as many ports of each kind.
struct Sample {
    local: &'static str,
    peer: &'static str,
    netns: Option<NetNs>,
    live: u16,
    time_wait: u16,
    fin_wait2: u16,
    settings: Option<PortSettings>,
    owners: Vec<Arc<Process>>,
}

impl Sample {
    fn new(local: &'static str, peer: &'static str) -> Self {
        Self {
            local,
            peer,
            netns: OWN,
            live: 0,
            time_wait: 0,
            fin_wait2: 0,
            settings: Some(settings()),
            owners: Vec::new(),
        }
    }

    fn route(self) -> RouteReport {
        let since = NOW - Nanos::from_secs(37);
        let holders = [
            (self.live, PortHolder::Socket),
            (self.time_wait, PortHolder::TimeWait(since)),
            (self.fin_wait2, PortHolder::FinWait2),
        ];
        let holders = holders
            .into_iter()
            .flat_map(|(count, holder)| vec![holder; count.into()]);
        let ports = holders.zip(40_000..).map(|(holder, number)| ScannedPort {
            port: Port::new(number).expect("it is not 0"),
            holder,
        });
        let route = Route {
            netns: self.netns,
            local: self.local.parse().expect("an address"),
            peer: self.peer.parse().expect("an address"),
        };
        let usage = RouteUsage::new(route, ports.collect(), self.settings, None, NOW);
        let owners = self.owners.iter().map(Some);
        let unknown = usize::from(self.live).saturating_sub(self.owners.len());
        RouteReport::new(
            usage,
            owners.chain(std::iter::repeat_n(None, unknown)),
            std::iter::empty(),
        )
    }
}

fn report(routes: Vec<RouteReport>) -> RoutesReport {
    RoutesReport::new(NOW, OWN, routes)
}

fn no_pool() -> RouteReport {
    Sample {
        time_wait: 200,
        ..Sample::new("10.77.0.2", "10.77.0.2:9300")
    }
    .route()
}

fn at_work() -> RouteReport {
    Sample {
        live: 7,
        owners: vec![process(28_089, b"mariadb"); 7],
        ..Sample::new("127.0.0.1", "127.0.0.1:3306")
    }
    .route()
}

/// The table of the report, which fits 80 columns.
fn table(report: &RoutesReport) -> String {
    let text = RouteTable::default().write(report);
    let widest = text.lines().map(|line| line.chars().count()).max();
    assert!(widest <= Some(80), "{text}");
    text
}

#[test]
fn a_program_without_a_pool_learns_why_and_what_to_do() {
    let report = report(vec![at_work(), no_pool()]);
    assert_eq!(
        table(&report),
        "\
ROUTE                             USED SHARE   LIVE TIME_WAIT WHO
10.77.0.2 → 10.77.0.2:9300     200/200  FULL      0       200
    NOW  connect() fails with \"Cannot assign requested address\"; the next port
         is free in about 23.0s
    WHY  200 of 200 ports are in TIME_WAIT: the client closed these
         connections first, and each keeps its port for 60 s.
    DO   Now: net.ipv4.tcp_tw_reuse=1 (is 2: loopback only), if the peer has
         TCP timestamps; or widen net.ipv4.ip_local_port_range (is \"40000
         40199\"), up to \"1024 65535\" with the ports of servers in
         ip_local_reserved_ports. Then: keep connections open instead of one
         for each request: keep-alive, or a pool.
127.0.0.1 → 127.0.0.1:3306       7/200    3%      7         0 mariadb 28089
Not known from a scan: the processes of ports in TIME_WAIT, which end closes
first, how long connections live, and failed connects. A running agent
(`tcpclose agent`) knows them.
"
    );
    assert_eq!(headline(&report), "2 routes: 1 full");
}

#[test]
fn connections_that_are_open_at_once_need_a_limit() {
    let mut pool = process(77, b"pool");
    let known = Arc::make_mut(&mut pool);
    known.command_line = b"/usr/bin/pool\0--size\0unlimited\0".as_slice().into();
    known.unit = Some(Unit {
        name: "pool.service".to_owned(),
        user: None,
    });
    let mut owners = vec![pool; 90];
    owners.push(process(12, b"evil\x1b[31m"));
    let route = Sample {
        live: 95,
        fin_wait2: 2,
        time_wait: 3,
        owners,
        netns: NetNs::new(4_026_532_281),
        settings: Some(PortSettings {
            reserved: 60,
            bound: 20,
            ..settings()
        }),
        ..Sample::new(
            "2001:db8::10",
            "[2001:db8:1234:5678:9abc:def0:1234:5678]:5432",
        )
    };
    let report = report(vec![route.route()]);
    assert_eq!(
        table(&report),
        "\
ROUTE                                           USED SHARE   LIVE TIME_WAIT WHO
2001:db8::10 → [2001:db8:1234:5678:9abc:def0:1234:5678]:5432 100/120 83% 95 3
    WHO  pool 77 (/usr/bin/pool --size unlimited), pool.service: 90
         connections
    WHO  evil\\x1b[31m 12: 1 connection
    WHO  not known of 4 connections
    WHY  95 of 120 ports have connections that are open at the same time to
         this one destination; the range has 200 (reserved: 60, bound by other
         sockets: 20).
    DO   Now: widen net.ipv4.ip_local_port_range (is \"40000 40199\"), up to
         \"1024 65535\" with the ports of servers in ip_local_reserved_ports.
         Then: limit how many connections the program opens, or spread them
         over more addresses or ports of the server.
    in another network namespace: --netns 4026532281
Not known from a scan: the processes of ports in TIME_WAIT, which end closes
first, how long connections live, and failed connects. A running agent
(`tcpclose agent`) knows them.
"
    );
}

#[test]
fn what_is_not_known_is_a_question_mark() {
    let unread = Sample {
        time_wait: 9,
        settings: None,
        ..Sample::new("192.0.2.1", "192.0.2.2:443")
    };
    let unsure = Sample {
        time_wait: 190,
        settings: Some(PortSettings {
            reuse: ReuseRules {
                scope: ReuseScope::Everywhere,
                ..settings().reuse
            },
            ..settings()
        }),
        ..Sample::new("192.0.2.1", "192.0.2.3:443")
    };
    let report = report(vec![unread.route(), unsure.route()]);
    assert_eq!(
        table(&report),
        "\
ROUTE                            USED SHARE   LIVE TIME_WAIT WHO
192.0.2.1 → 192.0.2.3:443       ?/200     ?      0       190
    WHY  how many ports connect() can take over is not known: no open
         connection of this route shows whether the peer has TCP timestamps.
192.0.2.1 → 192.0.2.2:443           ?     ?      0         9
Not known from a scan: the processes of ports in TIME_WAIT, which end closes
first, how long connections live, and failed connects. A running agent
(`tcpclose agent`) knows them.
"
    );
    assert_eq!(
        headline(&report),
        "\
2 routes: none uses 80% of its ports or more, 2 of which it is not known"
    );
}

#[test]
fn a_range_without_ports_and_a_peer_that_does_not_close_are_named() {
    let none = Sample {
        settings: Some(PortSettings {
            last: 40_000,
            reserved: 1,
            ..settings()
        }),
        ..Sample::new("192.0.2.1", "192.0.2.2:1")
    };
    let orphans = Sample {
        fin_wait2: 170,
        ..Sample::new("192.0.2.1", "192.0.2.2:2")
    };
    assert_eq!(
        table(&report(vec![none.route(), orphans.route()])),
        "\
ROUTE                          USED SHARE   LIVE TIME_WAIT WHO
192.0.2.1 → 192.0.2.2:1         0/0  FULL      0         0
    NOW  connect() fails with \"Cannot assign requested address\"
    WHY  connect() has no port to choose from; the range has 1 (reserved: 1).
    DO   Now: widen net.ipv4.ip_local_port_range (is \"40000 40000\"), up to
         \"1024 65535\" with the ports of servers in ip_local_reserved_ports.
         Then: see which ports are reserved (net.ipv4.ip_local_reserved_ports)
         or bound (`ss -ltn`).
192.0.2.1 → 192.0.2.2:2     170/200   85%      0         0
    WHY  170 of 200 ports have connections that were closed here and wait for
         the peer's FIN (FIN_WAIT2).
    DO   Now: widen net.ipv4.ip_local_port_range (is \"40000 40199\"), up to
         \"1024 65535\" with the ports of servers in ip_local_reserved_ports.
         Then: have the peer close its sockets (`tcpclose leaks` there);
         net.ipv4.tcp_fin_timeout is how long this host waits.
"
    );
}

#[test]
fn of_ten_thousand_routes_the_fullest_are_shown_and_the_others_counted() {
    let routes = (1..=10_000_u32).map(|number| {
        let route = Sample {
            live: (number % 199) as u16,
            ..Sample::new("10.0.0.1", "10.0.0.2:80")
        };
        route.route()
    });
    let report = report(routes.collect());
    let short = RouteTable::default().write(&report);
    assert!(short.lines().count() < 200, "{short}");
    assert!(short.contains("and 9980 routes more, "), "{short}");
    let all = RouteTable {
        every_route: true,
        ..RouteTable::default()
    };
    let lines = all.write(&report);
    let routes = lines.lines().filter(|line| line.starts_with("10.0.0.1"));
    assert_eq!(routes.count(), 10_000);
}

#[test]
fn a_route_is_the_documented_record() {
    let mut line = Vec::new();
    write_route(&mut line, &no_pool(), &samples::clock()).expect("memory takes everything");
    write_route(&mut line, &at_work(), &samples::clock()).expect("memory takes everything");
    assert_eq!(
        String::from_utf8(line).expect("JSON is UTF-8"),
        concat!(
            r#"{"v":1,"kind":"route","ts":"2026-01-31T12:10:00.000000Z","netns":4026531840,"#,
            r#""local":"10.77.0.2","peer":{"addr":"10.77.0.2","port":9300},"#,
            r#""used":200,"reusable":0,"ports":200,"share":1.0,"#,
            r#""live":0,"time_wait":200,"fin_wait2":0,"next_free_ms":23000.0,"#,
            r#""settings":{"port_range":{"first":40000,"last":40199},"reserved":0,"bound":0,"#,
            r#""tw_reuse":2,"tw_reuse_delay_ms":1000.0,"timestamps":null},"#,
            r#""owners":[],"other_owners":0,"unowned":0,"#,
            r#""unowned_minisockets":null,"counted_since":null,"closes_first":null,"#,
            r#""lifetime_ms":null,"failed":null,"failing_since":null}"#,
            "\n",
            r#"{"v":1,"kind":"route","ts":"2026-01-31T12:10:00.000000Z","netns":4026531840,"#,
            r#""local":"127.0.0.1","peer":{"addr":"127.0.0.1","port":3306},"#,
            r#""used":7,"reusable":0,"ports":200,"share":0.035,"#,
            r#""live":7,"time_wait":0,"fin_wait2":0,"next_free_ms":null,"#,
            r#""settings":{"port_range":{"first":40000,"last":40199},"reserved":0,"bound":0,"#,
            r#""tw_reuse":2,"tw_reuse_delay_ms":1000.0,"timestamps":true},"#,
            r#""owners":[{"pid":28089,"comm":"mariadb","uid":0,"cgroup":null,"container":null,"#,
            r#""source":"proc","thread":null,"connections":7,"minisockets":null}],"other_owners":0,"unowned":0,"#,
            r#""unowned_minisockets":null,"counted_since":null,"closes_first":null,"#,
            r#""lifetime_ms":null,"failed":null,"failing_since":null}"#,
            "\n",
        )
    );
}

/// As [`no_pool`], with what an agent knows of it.
fn known_to_an_agent() -> RouteReport {
    let usage = no_pool().usage;
    let python = process(12_915, b"python3");
    let owner = Owner {
        pid: 12_915,
        uid: 0,
        cgroup: None,
        comm: b"python3"[..].into(),
        source: OwnerSource::Connect,
        thread: None,
    };
    let minisockets = vec![Some((&python, OwnerSource::Connect)); 198];
    let unknown = vec![None; 2];
    let history = RouteHistory {
        since: NOW - Nanos::from_secs(100),
        closed_here: 1_204,
        closed_by_peer: 0,
        lifetime: Some(Nanos::from_millis(2)),
        failed: 100,
        failing_since: Some(NOW - Nanos::from_secs(5)),
        failed_at: Some(NOW),
        failed_of: vec![(Arc::new(owner), 100)],
    };
    RouteReport {
        history: Some(history),
        ..RouteReport::new(
            usage,
            std::iter::empty(),
            minisockets.into_iter().chain(unknown),
        )
    }
}

#[test]
fn an_agent_knows_whose_ports_in_time_wait_were_and_since_when_connects_fail() {
    let text = table(&report(vec![known_to_an_agent()]));
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    for expected in [
        "NOW 100 connects have failed (python3 12915), the first 5.0s ago",
        "WHO python3 12915: has closed 198 connections",
        "WHO not known of 2 closed connections",
        "Of the last 1204 connections that closed, this host closed 1204 first; they lived 2.0ms",
    ] {
        assert!(words.contains(expected), "{expected}: {text}");
    }
    assert!(!words.contains("Not known from a scan"), "{text}");
    let mut line = Vec::new();
    let written = write_route(&mut line, &known_to_an_agent(), &samples::clock());
    written.expect("memory takes everything");
    let line = String::from_utf8(line).expect("JSON is UTF-8");
    for expected in [
        r#""source":"connect","thread":null,"connections":0,"minisockets":198}]"#,
        r#""unowned_minisockets":2,"counted_since":"2026-01-31T12:08:20.000000Z","closes_first":"local""#,
        r#""lifetime_ms":2.0,"failed":100,"failing_since":"2026-01-31T12:09:55.000000Z"}"#,
    ] {
        assert!(line.contains(expected), "{expected}: {line}");
    }
}
