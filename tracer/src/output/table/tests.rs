use std::io::Write as _;

use smallvec::smallvec;
use unicode_width::UnicodeWidthStr as _;

use strum::VariantArray as _;

use super::*;
use crate::output::samples::{self, clock, tuple};
use tcpclose_core::finding::ResetReason;
use tcpclose_core::stuck::{AgeCertainty, Resolution, StuckEvent, StuckSocket};
use tcpclose_core::types::{Nanos, Owner};

const LONGEST_V6: &str = "[2001:db8:1111:2222:3333:4444:5555:6666]:50000";

fn text(table: &mut CloseTable, close: &Close) -> String {
    let mut out = Vec::new();
    table.write_close(&mut out, close, &clock());
    let text = String::from_utf8(out).expect("a line is UTF-8");
    text.strip_suffix('\n').expect("one line").to_owned()
}

fn line_at(width: Option<u16>, close: &Close) -> String {
    text(&mut CloseTable::new(width, false), close)
}

fn line(close: &Close) -> String {
    line_at(None, close)
}

fn between(local: &str, peer: &str) -> Close {
    let mut close = samples::three_way();
    close.endpoint.tuple = tuple(local, peer);
    close
}

fn named(comm: &[u8]) -> Close {
    Close {
        owner: samples::owner(28_089, comm),
        ..samples::three_way()
    }
}

#[test]
fn closes_stand_under_their_titles() {
    let mut out = Vec::new();
    let mut table = CloseTable::new(Some(120), false);
    table.write_header(&mut out);
    for close in [
        samples::three_way(),
        samples::half_closed(),
        samples::reset(),
        samples::unknown(),
        between("192.168.178.100:48350", "10.1.2.3:443"),
    ] {
        table.write_close(&mut out, &close, &clock());
    }
    assert_eq!(
        format!("\n{}", String::from_utf8_lossy(&out)),
        "
TIME     PID     COMM       LOCAL             PEER              ROLE   PATH      BY    SEG LIFE   STATES
12:00:00 28089   mariadb    127.0.0.1:48350   127.0.0.1:3306    client three_way peer  3   8.4ms  ES 8.36 CW .09 LA .05
12:00:00 28089   mariadb    127.0.0.1:48350   127.0.0.1:3306    client four_way  local 4   8.4ms  ES 2.00 F1 .04 F2 1.5s
12:00:00 28089   mariadb    [2001:db8::1]:443 [2001:db8::2]:50000 server reset   local 1   8.4ms  ES 8.36 unread_data
12:00:00 -       -          10.0.0.1:22       10.0.0.2:60000    -      -         -     -   -      ES - LA .05
12:00:00 28089   mariadb    192.168.178.100:48350 10.1.2.3:443  client three_way peer  3   8.4ms  ES 8.36 CW .09 LA .05
"
    );
}

/// Every kind of line on terminals of several widths and in a pipe. `SNAPSHOTS=overwrite` rewrites
/// the snapshot.
#[test]
fn every_kind_of_line_is_as_it_is_kept() {
    let mut out = Vec::new();
    let widths = [80, 120, 200].map(|width| (format!("{width} columns"), Some(width)));
    for (name, width) in widths.into_iter().chain([("a pipe".to_owned(), None)]) {
        let _ = writeln!(out, "{name}");
        let mut table = CloseTable::new(width, false);
        table.write_header(&mut out);
        for close in [
            samples::three_way(),
            samples::half_closed(),
            samples::reset(),
            samples::unknown(),
            between(LONGEST_V6, LONGEST_V6),
        ] {
            table.write_close(&mut out, &close, &clock());
        }
        for stuck in [samples::stuck(), samples::resolved()] {
            table.write_stuck(&mut out, &stuck, &clock());
        }
    }
    let text = String::from_utf8(out).expect("lines are UTF-8");
    snapbox::assert_data_eq!(
        text,
        snapbox::file!["../../../tests/snapshots/tables/watch.txt"]
    );
}

#[test]
fn a_usual_close_takes_no_more_than_120_columns() {
    assert_eq!(line(&samples::three_way()).width(), 119);
    assert_eq!(line(&samples::half_closed()).width(), 120);
}

#[test]
fn into_a_pipe_nothing_is_cut() {
    assert_eq!(
        line(&between(LONGEST_V6, LONGEST_V6)),
        format!(
            "12:00:00 28089   mariadb    {LONGEST_V6} {LONGEST_V6} client three_way peer 3 8.4ms ES 8.36 CW .09 LA .05"
        )
    );
}

#[test]
fn long_addresses_lose_their_middles_and_keep_their_ports() {
    let close = between(LONGEST_V6, LONGEST_V6);
    let line = line_at(Some(120), &close);
    assert_eq!(
        line,
        "12:00:00 28089 mariadb [2001:db…5:6666]:50000 [2001:db…5:6666]:50000 client three_way peer 3 8.4ms ES 8.36 CW .09 \
         LA .05"
    );
    assert_eq!(line.width(), 120);
    assert_eq!(line_at(Some(200), &close), self::line(&close));
}

#[test]
fn the_longer_address_is_shortened_first() {
    let line = line_at(Some(120), &between("[::1]:80", LONGEST_V6));
    assert!(line.contains(" [::1]:80 "), "{line}");
    assert!(line.contains("6666]:50000 "), "{line}");
    assert_eq!(line.width(), 120);
}

#[test]
fn spaces_go_before_letters_do() {
    let line = line_at(
        Some(120),
        &between("[2001:db8:1::15]:48350", "[2001:db8:2::1]:443"),
    );
    assert!(
        line.contains(" [2001:db8:1::15]:48350 [2001:db8:2::1]:443 "),
        "{line}"
    );
    assert!(line.width() <= 120, "{line}");
}

#[test]
fn the_worst_line_does_not_wrap() {
    let ms = |ms| Some(Nanos::from_millis(ms));
    let mut close = Close {
        path: ClosePath::Reset,
        segments: Some(999),
        states: smallvec![
            (TcpState::SynRecv, ms(59_900)),
            (TcpState::Established, ms(86_399_000)),
            (TcpState::FinWait1, ms(3_599_000)),
            (TcpState::FinWait2, ms(3_599_000)),
        ],
        reset: Some(Reset {
            by: Side::Local,
            reason: Some(ResetReason::DataAfterClose),
            kernel_reason: None,
        }),
        owner: samples::owner(4_194_304, &[0x1b; 15]),
        ..between(LONGEST_V6, LONGEST_V6)
    };
    close.endpoint.lifetime = ms(8_639_000_000);
    for path in [
        ClosePath::Reset,
        ClosePath::ConnectFailed,
        ClosePath::Simultaneous,
    ] {
        close.path = path;
        for width in 120..400 {
            let line = line_at(Some(width), &close);
            assert!(line.width() <= usize::from(width), "{width}: {line}");
            assert_eq!(line.matches("]:50000 ").count(), 2, "{line}");
        }
        assert_eq!(line_at(Some(400), &close), line(&close));
    }
}

#[test]
fn a_narrow_terminal_wraps_lines_that_cannot_fit() {
    let close = between(LONGEST_V6, LONGEST_V6);
    assert_eq!(line_at(Some(80), &close), line(&close));
    assert_eq!(line_at(Some(0), &close), line(&close));
    assert_eq!(line_at(Some(110), &close).width(), 110);
}

#[test]
fn a_hostile_name_stays_in_its_line() {
    let line = line(&named("\x1b[2J\nq\"\u{202e}".as_bytes()));
    assert!(
        line.contains(" \\x1b[2J\\nq\"\\u{202e} 127.0.0.1:48350 "),
        "{line}"
    );
    assert!(!line.chars().any(crate::escape::is_hostile), "{line:?}");
}

#[test]
fn a_wide_name_is_measured_in_columns() {
    assert!(line(&named("数据库".as_bytes())).contains(" 数据库     127.0.0.1:48350 "));
}

#[test]
fn an_escaped_name_is_cut_before_an_address() {
    let line = line_at(Some(120), &named(&[0x1b; 15]));
    assert!(line.contains(r" \x1b\x1b\x1b\x1b\x1b"), "{line}");
    assert!(line.contains(" 127.0.0.1:48350 127.0.0.1:3306 "), "{line}");
    assert!(line.width() <= 120, "{line}");
}

#[test]
fn a_cause_names_the_sender_where_it_is_not_the_initiator() {
    let with = |initiator, by, reason, kernel_reason| {
        let reset = Some(Reset {
            by,
            reason,
            kernel_reason,
        });
        let line = line(&Close {
            initiator,
            reset,
            ..samples::reset()
        });
        let (_, cause) = line.split_once("ES 8.36").expect("the state is there");
        cause.to_owned()
    };
    let linger = Some(ResetReason::Linger);
    assert_eq!(with(Initiator::Local, Side::Local, linger, None), " linger");
    assert_eq!(
        with(Initiator::Peer, Side::Local, linger, None),
        " linger by local"
    );
    assert_eq!(with(Initiator::Local, Side::Peer, None, None), " by peer");
    assert_eq!(with(Initiator::Peer, Side::Peer, None, None), "");
    assert_eq!(
        with(Initiator::Local, Side::Local, None, Some("TCP_STATE")),
        " TCP_STATE"
    );
}

#[test]
fn an_owner_that_was_found_through_a_listening_socket_is_marked() {
    let mut close = samples::reset();
    let owner = close.owner.as_deref().cloned().expect("it has one");
    let unmarked = line(&close);
    assert!(!unmarked.contains("owner listens"), "{unmarked}");
    let listener = Owner {
        source: OwnerSource::Listen,
        ..owner
    };
    close.owner = Some(listener.into());
    let marked = line(&close);
    assert_eq!(marked, format!("{unmarked}, owner listens"));
    close.reset = None;
    assert!(line(&close).ends_with(" owner listens"));
}

#[test]
fn nothing_known_is_a_dash() {
    let mut close = samples::unknown();
    close.states.clear();
    close.endpoint.netns = None;
    let cells: Vec<_> = line(&close).split_whitespace().map(str::to_owned).collect();
    let dash = "-";
    assert_eq!(
        cells,
        [
            "12:00:00",
            dash,
            dash,
            "10.0.0.1:22",
            "10.0.0.2:60000",
            dash,
            dash,
            dash,
            dash,
            dash,
            dash
        ]
    );
}

#[test]
fn every_state_has_an_abbreviation_of_its_own_and_the_help_knows_those_shown() {
    let mut seen = TcpState::VARIANTS
        .iter()
        .copied()
        .map(abbreviation)
        .collect::<Vec<_>>();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), TcpState::VARIANTS.len());
    use TcpState as S;
    for state in [
        S::Established,
        S::FinWait1,
        S::FinWait2,
        S::CloseWait,
        S::LastAck,
        S::Closing,
        S::SynSent,
        S::SynRecv,
    ] {
        let entry = format!("{}={}", abbreviation(state), state);
        assert!(STATES_HELP.contains(&entry), "{entry}");
    }
}

#[test]
fn colours_mark_what_is_not_a_clean_close_and_change_no_width() {
    let mut table = CloseTable::new(Some(120), true);
    let plain = line_at(Some(120), &samples::three_way());
    assert_eq!(text(&mut table, &samples::three_way()), plain);

    let red = text(&mut table, &samples::reset());
    assert!(red.contains(" \x1b[31mreset\x1b[0m "), "{red:?}");
    assert!(red.ends_with(" \x1b[31munread_data\x1b[0m"), "{red:?}");

    let failed = Close {
        path: ClosePath::ConnectFailed,
        ..samples::three_way()
    };
    assert!(text(&mut table, &failed).contains(" \x1b[33mconnect_failed\x1b[0m "));

    let unknown = text(&mut table, &samples::unknown());
    assert!(
        unknown.contains("12:00:00 \x1b[2m-\x1b[0m       \x1b[2m-\x1b[0m  "),
        "{unknown:?}"
    );
    let bare = unknown.replace("\x1b[2m", "").replace("\x1b[0m", "");
    assert_eq!(bare, line(&samples::unknown()));
}

fn stuck_line(table: &mut CloseTable, stuck: &StuckSocket) -> String {
    let mut out = Vec::new();
    table.write_stuck(&mut out, stuck, &clock());
    String::from_utf8(out).expect("a line is UTF-8")
}

#[test]
fn a_stuck_socket_has_a_line_when_found_and_when_resolved() {
    let mut table = CloseTable::new(None, false);
    assert_eq!(
        stuck_line(&mut table, &samples::stuck()),
        "12:01:00 28089   web        10.0.0.1:80       10.0.0.2:40001    server stuck     peer  -   1m00s  CW 1m00s eof_read \
         on fd 7, 31 stuck here, grows by 30.0/min, out of file descriptors in about 3m20s (linear fit of 5 samples in \
         40.0s, R² 1.00)\n"
    );
    assert_eq!(
        stuck_line(&mut table, &samples::resolved()),
        "12:02:05 28089   web        10.0.0.1:80       10.0.0.2:40001    server resolved  peer  -   2m05s  CW 2m05s \
         process_exited\n"
    );
    let mut unseen = samples::resolved();
    unseen.event = StuckEvent::Resolved(Resolution::Unknown);
    assert!(stuck_line(&mut table, &unseen).ends_with(" CW 2m05s unknown\n"));
}

#[test]
fn an_estimated_age_is_marked_and_a_missing_holder_is_shown_as_none() {
    let mut stuck = samples::stuck();
    stuck.age.known = AgeCertainty::Estimated;
    stuck.owner = None;
    stuck.holders.clear();
    stuck.process = None;
    assert_eq!(
        stuck_line(&mut CloseTable::new(None, false), &stuck),
        "12:01:00 -       -          10.0.0.1:80       10.0.0.2:40001    server stuck     peer  -   ~1m00s CW ~1m00s \
         eof_read\n"
    );
}

#[test]
fn a_stuck_socket_is_red_and_a_resolved_one_green() {
    let mut table = CloseTable::new(Some(120), true);
    let red = stuck_line(&mut table, &samples::stuck());
    assert!(red.contains(" \x1b[31mstuck\x1b[0m "), "{red:?}");
    let green = stuck_line(&mut table, &samples::resolved());
    assert!(green.contains(" \x1b[32mresolved\x1b[0m "), "{green:?}");
}
