//! The screen, from reports made by hand.

use jiff::tz::TimeZone;
use smallvec::smallvec;
use tcpclose_common::TcpState;
use tcpclose_core::compare::{
    AffectedHosts, Alignment, EndpointCounts, Group, Host, Pair, RecordedEndpoint, Report, Service,
    SharedPair, Translation, Unaligned, Verdict, VerdictKind,
};
use tcpclose_core::finding::{Close, ClosePath, Endpoint, Reset, Side};
use tcpclose_core::open_endpoint::OpenEndpoint;
use tcpclose_core::types::{Nanos, Role};
use tcpclose_sys::kernel::loader::{Tier, TraceOptions};

use super::{Compared, Recorded, compared_ladders, compared_text};
use crate::output::clock::WallClock;
use crate::output::samples;
use crate::output::symbols::Symbols;
use crate::recording::Head;

/// Nanoseconds since 1970 at 2026-01-31T12:00:00Z.
const NOON: i64 = 1_769_860_800_000_000_000;

fn recorded(file: &str, wall: i64) -> Recorded {
    Recorded {
        file: file.to_owned(),
        clock: WallClock::fixed(wall, TimeZone::UTC),
        wall,
        head: Head::new(&TraceOptions::default(), Tier::Btf, 1000),
        damage: Vec::new(),
    }
}

fn both() -> [Recorded; 2] {
    [recorded("web.rec", NOON), recorded("db.rec", NOON)]
}

/// A client on A that was reset, and its server on B that is still open.
fn pair() -> SharedPair {
    let client = Close {
        path: ClosePath::Reset,
        steps: smallvec![],
        states: smallvec![(TcpState::Established, None)],
        reset: Some(Reset {
            by: Side::Peer,
            reason: None,
            kernel_reason: None,
        }),
        ..samples::three_way()
    };
    let server = OpenEndpoint {
        endpoint: Endpoint {
            tuple: samples::tuple("127.0.0.1:3306", "10.92.0.1:2231"),
            role: Role::Server,
            ..samples::three_way().endpoint
        },
        owner: samples::owner(22_599, b"maria\ndbd"),
        state: TcpState::Established,
        since: None,
        steps: smallvec![],
        states: smallvec![],
    };
    SharedPair::new(Pair {
        ends: [
            RecordedEndpoint::Closed(Box::new(client)),
            RecordedEndpoint::Open(Box::new(server)),
        ],
        by_address: false,
    })
}

fn group(kind: VerdictKind) -> Group {
    Group {
        verdict: Verdict {
            kind,
            at: AffectedHosts::A,
        },
        processes: [Some(b"mariadb".as_slice().into()), None],
        service: Some(Service {
            host: Host::B,
            address: "127.0.0.1:3306".parse().unwrap(),
        }),
        count: 1_200,
        examples: vec![pair()],
    }
}

fn report() -> Report {
    let span = Some((Nanos(0), Nanos::from_secs(60)));
    let ends = EndpointCounts {
        closed: 1_300,
        open: 1,
        ..EndpointCounts::default()
    };
    Report {
        ends: [ends, ends],
        spans: [span, span],
        joined: 1_300,
        by_address: 0,
        same_endpoints: 0,
        alignment: Alignment::Unknown(Unaligned::OneDirection),
        groups: Vec::new(),
        other_verdicts: 0,
        translations: Vec::new(),
        unproven_by_clocks: 0,
        unproven_by_losses: 0,
        sound: Vec::new(),
    }
}

fn shown(report: &Report, recorded: &[Recorded; 2]) -> (Compared, String) {
    let compared = Compared::new(report, recorded, false);
    let text = compared_text(&compared, recorded, false);
    let widest = text.lines().map(|line| line.chars().count()).max();
    assert!(widest <= Some(80), "{text}");
    (compared, text)
}

#[test]
fn verdicts_come_first_and_say_how_they_are_proven() {
    let report = Report {
        groups: vec![
            group(VerdictKind::ResetFromPath),
            group(VerdictKind::HalfOpen),
        ],
        translations: vec![Translation {
            host: Host::A,
            own: "127.0.0.1:48350".parse().unwrap(),
            seen: "10.92.0.1:2231".parse().unwrap(),
            count: 1,
        }],
        ..report()
    };
    let (compared, text) = shown(&report, &both());
    let expected = "\
\u{20}1. 1,200 connections: A received a RST that B never sent: from the path
    between them
     WHO  mariadb on A → a process that is not known on B at 127.0.0.1:3306
     WHY  B's socket was still there after the RST had reached A, and a socket
          that sends one is closed in the same moment; B lost no record in
          that time.
     DO   See what lies between A and B: a firewall that rejects or has
          forgotten the connection (conntrack), a proxy, NAT, a moved address.
     MORE tcpclose compare web.rec db.rec -v
 2. 1,200 connections: reset at A and alive at B (half-open)
";
    assert!(text.starts_with(expected), "{text}");
    let end = "\
NAT: 127.0.0.1:48350 at A is 10.92.0.1:2231 at B (1 connection)
A  web.rec, 12:00:00 to 12:01:00, 1,300 endpoints closed, 1 open at its end
B  db.rec, 12:00:00 to 12:01:00, 1,300 endpoints closed, 1 open at its end
1,300 connections are in both recordings; how B's clock stands to A's is
unknown: connections show the times of segments in one direction only
2 things went wrong between A and B.
";
    assert!(text.ends_with(end), "{text}");
    assert!(compared.has_found() && compared.is_complete());
}

#[test]
fn a_connection_with_two_verdicts_is_drawn_once() {
    let shared = pair();
    let groups = [VerdictKind::ResetFromPath, VerdictKind::HalfOpen].map(|kind| Group {
        examples: vec![SharedPair::clone(&shared)],
        ..group(kind)
    });
    let report = Report {
        groups: groups.into(),
        ..report()
    };
    let mut out = Vec::new();
    compared_ladders(&mut out, &report, true, &both()[0].clock, Symbols::Ascii);
    let text = String::from_utf8(out).unwrap();
    assert_eq!(text.matches("(still open)").count(), 1, "{text}");
    assert!(text.contains("maria\\ndbd 22599"), "{text}");
    assert!(text.contains("(half-open): drawn above"), "{text}");
}

#[test]
fn what_could_not_be_compared_has_a_sentence_each() {
    let nothing = || Report {
        joined: 0,
        ..report()
    };
    let mut lossy = report();
    lossy.ends[1].lost = 7;
    lossy.unproven_by_losses = 1;
    lossy.ends[0].dropped = 5;
    let mut empty = nothing();
    empty.ends[1] = EndpointCounts::default();
    let mut apart = nothing();
    apart.spans[1] = Some((Nanos::from_secs(3_660), Nanos::from_secs(3_700)));
    let mut cut = both();
    cut[0].damage = vec!["the recording is broken at byte 7".to_owned()];
    for (report, recorded, sentence) in [
        (lossy, both(), "B lost records (7)"),
        (empty, both(), "B has no connection at all"),
        (nothing(), both(), "no connection is in both recordings"),
        (
            apart,
            both(),
            "by the hosts' own clocks 1h00m lie between the end of one",
        ),
        (report(), cut, "A: the recording is broken at byte 7"),
    ] {
        let (compared, text) = shown(&report, &recorded);
        let words: Vec<&str> = text.split_whitespace().collect();
        assert!(words.join(" ").contains(sentence), "{sentence}: {text}");
        assert!(!compared.is_complete() && !compared.has_found());
    }
}

#[test]
fn recordings_of_one_host_are_not_compared() {
    let report = Report {
        same_endpoints: 3,
        groups: vec![group(VerdictKind::HalfOpen)],
        ..report()
    };
    let (compared, text) = shown(&report, &both());
    assert!(!compared.has_found(), "{text}");
    assert!(text.contains("3 ends are in both recordings"), "{text}");
}

#[test]
fn other_versions_and_missing_ends_are_worth_knowing() {
    let mut recorded = both();
    recorded[0].head.program = "0.0.9".to_owned();
    let mut report = report();
    report.by_address = 2;
    report.ends[0].missing = 1;
    let (compared, text) = shown(&report, &recorded);
    assert_eq!(compared.notes.len(), 3, "{text}");
    assert!(
        text.contains("A was recorded by tcpclose 0.0.9, B by"),
        "{text}"
    );
    assert!(compared.is_complete());
    assert!(
        text.ends_with("Nothing went wrong between A and B.\n"),
        "{text}"
    );
}
