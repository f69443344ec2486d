use super::*;
use crate::output::json::write_triage;
use crate::output::samples;
use tcpclose_core::finding::{Cause, Close, ClosePath, Initiator};
use tcpclose_core::routes::RoutesReport;
use tcpclose_core::stuck::{Report, Trends};
use tcpclose_core::types::{Nanos, Role};

/// A report with one stuck socket.
fn stuck() -> Report {
    let socket = samples::stuck();
    let at = socket.at;
    Report::new(at, Nanos(0), vec![socket], &mut Trends::default())
}

fn watched(refused: usize) -> TracedCloses {
    let mut watched = TracedCloses {
        span: Nanos::from_secs(10),
        closes: 412,
        ..TracedCloses::default()
    };
    for _ in 0..refused {
        watched.tally.add(&Close {
            path: ClosePath::ConnectFailed,
            cause: Some(Cause::Refused),
            ..samples::three_way()
        });
    }
    watched
}

fn text(triage: &Triage) -> String {
    let text = triage_text(triage, false, false);
    let widest = text.lines().map(|line| line.chars().count()).max();
    assert!(widest <= Some(80), "{text}");
    text
}

#[test]
fn where_nothing_is_wrong_that_is_all() {
    let (stuck, routes) = (Report::default(), RoutesReport::default());
    let triage = Triage::new(&stuck, &routes, Some(&watched(0)), Vec::new());
    assert_eq!(
        text(&triage),
        "\
Nothing is wrong with TCP closes on this host (watched for 10.0s, 412
connections closed)
"
    );
    assert!(!triage.has_found() && triage.is_complete());
}

#[test]
fn what_was_not_seen_is_not_called_right() {
    let (stuck, routes) = (Report::default(), RoutesReport::default());
    let unseen = (1..=7).map(|number| format!("gap {number}")).collect();
    let triage = Triage::new(&stuck, &routes, None, unseen);
    assert_eq!(
        text(&triage),
        "\
Not seen:
  - gap 1
  - gap 2
  - gap 3
  - gap 4
  - gap 5
  - and 2 more
Nothing wrong with TCP closes on this host was seen, but not everything could
be examined (scans alone: nothing could be traced)
"
    );
    assert!(!triage.has_found() && !triage.is_complete());
}

#[test]
fn the_worst_comes_first_and_losses_last() {
    let watched = TracedCloses {
        lost: 5,
        unknown: 1,
        ..watched(3)
    };
    let triage = Triage::new(
        &stuck(),
        &RoutesReport::default(),
        Some(&watched),
        Vec::new(),
    );
    let about: Vec<VerdictSubject> = triage
        .verdicts
        .iter()
        .map(|verdict| verdict.about)
        .collect();
    assert_eq!(
        about,
        [
            VerdictSubject::Stuck,
            VerdictSubject::Abnormal,
            VerdictSubject::Loss
        ]
    );
    assert!(triage.has_found() && !triage.is_complete());
    assert_eq!(
        text(&triage),
        concat!(
            " 1. 1 socket is stuck in CLOSE_WAIT, the oldest for 1m00s\n",
            "     WHO  web 28089; 924 of 1024 descriptors are open\n",
            "     WHY  everything was read, up to the end of stream, and close() was never\n",
            "          called.\n",
            "     DO   call close() when read() returns 0, on every path, errors too.\n",
            "     MORE tcpclose leaks --all -p 28089\n",
            " 2. 3 connections closed abnormally: refused\n",
            "     WHO  mariadb 28089 → 127.0.0.1:3306\n",
            "     WHY  connect() was answered with a reset; usually nothing listens on that\n",
            "          port, or a firewall answers for it.\n",
            "     DO   On the peer, see whether the server runs and listens on that\n",
            "          address: `ss -ltn`.\n",
            "     MORE tcpclose resets --cause refused\n",
            " 3. 5 events were lost while watching\n",
            "     WHY  closes may be missing among those above.\n",
            "     DO   Watch again, with filters if this host is very busy.\n",
            "     MORE tcpclose doctor\n",
            "Not seen:\n",
            "  - 1 close has an unknown path, and may have been abnormal\n",
            "3 things are wrong with TCP closes on this host (watched for 10.0s, 412\n",
            "connections closed)\n",
        )
    );
}

#[test]
fn requests_that_run_into_an_idle_timeout_are_wrong() {
    let traced = |requests: u64| {
        let mut traced = watched(0);
        for second in 10..20 {
            let mut close = samples::three_way();
            close.idle = Some(Nanos::from_secs(5));
            close.steps[0].at = Some(Nanos::from_secs(second));
            if second < 10 + requests {
                close.path = ClosePath::Reset;
                close.cause = Some(Cause::CrossedKeepalive);
            }
            traced.tally.add(&close);
            // The server's end of them.
            let tuple = samples::tuple("127.0.0.1:3306", "127.0.0.1:48350");
            close.endpoint.tuple = tuple;
            close.endpoint.role = Role::Server;
            close.initiator = Initiator::Local;
            close.path = ClosePath::FourWay;
            close.cause = close.cause.and(Some(Cause::DataAfterClose));
            traced.tally.add(&close);
        }
        Triage::new(
            &Report::default(),
            &RoutesReport::default(),
            Some(&traced),
            Vec::new(),
        )
    };
    let none = traced(0);
    assert!(!none.has_found(), "{none:?}");
    assert_eq!(
        text(&traced(2)),
        concat!(
            " 1. 127.0.0.1:3306 closes after 5.0s of silence (10 of 10); 2 requests ran\n",
            "    into it (0 late, 2 crossed)\n",
            "     WHO  mariadb 28089\n",
            "     WHY  one side gives up idle connections after 5.0s of silence, and the\n",
            "          other keeps them for longer and still uses them.\n",
            "     DO   Let clients give up idle connections some seconds sooner than after\n",
            "          5.0s, or let the server wait for longer than its clients do.\n",
            "     MORE tcpclose resets --cause crossed_keepalive\n",
            " 2. 2 connections closed abnormally: reset: crossed keep-alive (idle 5.0s each\n",
            "    time)\n",
            "     WHO  mariadb 28089 → 127.0.0.1:3306\n",
            "     WHY  the peer closed the idle connection while data of this host was on\n",
            "          the way: the data and the peer's FIN passed each other.\n",
            "     DO   Give up idle connections some seconds sooner than the peer does\n",
            "          (`idle_ms` shows when), and retry what may be sent twice.\n",
            "     MORE tcpclose resets --cause crossed_keepalive\n",
            "2 things are wrong with TCP closes on this host (watched for 10.0s, 412\n",
            "connections closed)\n",
        )
    );
}

#[test]
fn it_is_one_record_for_programs() {
    let (stuck, routes) = (Report::default(), RoutesReport::default());
    let triage = Triage::new(&stuck, &routes, Some(&watched(2)), Vec::new());
    let mut line = Vec::new();
    write_triage(&mut line, &triage, &samples::clock()).expect("memory takes everything");
    assert_eq!(
        String::from_utf8(line).expect("JSON is UTF-8"),
        concat!(
            r#"{"v":1,"kind":"triage","ts":"2026-01-31T12:00:00.000000Z","watched_ms":10000.0,"#,
            r#""closes":412,"verdicts":[{"about":"abnormal","count":2,"#,
            r#""what":"2 connections closed abnormally: refused","#,
            r#""who":["mariadb 28089 → 127.0.0.1:3306"],"#,
            r#""why":"connect() was answered with a reset; usually nothing listens on that port, "#,
            r#"or a firewall answers for it.","#,
            r#""advice":"On the peer, see whether the server runs and listens on that address: "#,
            r#"`ss -ltn`.","command":"tcpclose resets --cause refused"}],"more":[],"unseen":[]}"#,
            "\n",
        )
    );
}
