use smallvec::smallvec;
use tcpclose_common::TcpState;
use unicode_width::UnicodeWidthStr;

use super::*;
use crate::output::samples::{self, clock, tuple};
use crate::output::stuck_digest::StuckGroup;
use tcpclose_core::finding::{
    Bytes, Cause, EndSource, HalfClose, Initiator, Reset, ResetReason, Side,
};
use tcpclose_core::stuck::{AgeCertainty, StuckSocket};
use tcpclose_core::types::{Owner, OwnerSource, Thread};

const LONGEST_V6: &str = "[2001:db8:1111:2222:3333:4444:5555:6666]:50000";

fn options() -> TableOptions {
    TableOptions::default()
}

fn verbose() -> TableOptions {
    TableOptions {
        verbose: true,
        ..options()
    }
}

fn text(table: &mut CloseTable, close: &Close) -> String {
    let mut out = Vec::new();
    table.write_close(&mut out, close, &clock());
    String::from_utf8(out).expect("lines are UTF-8")
}

fn lines_at(width: Option<u16>, close: &Close) -> String {
    text(&mut CloseTable::new(width, options()), close)
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

/// A client that wrote into a connection which its server had closed.
fn reset_after_fin() -> Close {
    Close {
        path: ClosePath::Reset,
        states: smallvec![
            (TcpState::Established, Some(Nanos::from_secs(5))),
            (TcpState::CloseWait, Some(Nanos::from_millis(460))),
        ],
        bytes: Bytes {
            sent: Some(211),
            received: Some(1_520),
        },
        retransmits: Some(2),
        reset: Some(Reset {
            by: Side::Peer,
            reason: None,
            kernel_reason: None,
        }),
        half_close: Some(HalfClose {
            by: Side::Peer,
            lasted: Nanos::from_millis(460),
            bytes_sent: 27,
            bytes_received: 0,
        }),
        ..samples::three_way()
    }
}

fn unread_data() -> Close {
    Close {
        cause: Some(Cause::UnreadData),
        ..samples::reset()
    }
}

fn refused() -> Close {
    Close {
        path: ClosePath::ConnectFailed,
        cause: Some(Cause::Refused),
        states: smallvec![(TcpState::SynSent, Some(samples::us(50)))],
        ..between("127.0.0.1:48350", "127.0.0.1:8099")
    }
}

/// A server whose connection is known through its listening socket only.
fn not_accepted() -> Close {
    let owner = samples::owner(4_194_304, b"gunicorn-worker");
    let owner = Owner {
        source: OwnerSource::Listen,
        ..owner.as_deref().cloned().expect("it has one")
    };
    Close {
        cause: Some(Cause::NotAccepted),
        owner: Some(owner.into()),
        reset: Some(Reset {
            by: Side::Local,
            reason: Some(ResetReason::NotAccepted),
            kernel_reason: None,
        }),
        ..samples::reset()
    }
}

fn peer_never_closed() -> Close {
    Close {
        path: ClosePath::Timeout,
        cause: Some(Cause::PeerNeverClosed),
        reset: None,
        ..samples::half_closed()
    }
}

fn expired() -> TimeWait {
    let close = samples::half_closed();
    TimeWait {
        at: close.at + Nanos::from_secs(60),
        endpoint: close.endpoint,
        owner: close.owner,
        entered: close.at,
        dwell: Nanos::from_millis(60_100),
        end: TimeWaitEnd::Expired,
        measured: EndSource::Hook,
        error: samples::us(50),
        restarts: 0,
    }
}

fn group(stuck: u64, resolved: u64, latest: StuckSocket) -> StuckGroup {
    StuckGroup {
        at: latest.at + Nanos::from_secs(324),
        oldest: (stuck > 0).then_some(latest.age),
        latest: Box::new(latest),
        stuck,
        resolved,
    }
}

/// Every kind of line.
fn every_kind(width: Option<u16>, options: TableOptions) -> String {
    let mut out = Vec::new();
    let mut table = CloseTable::new(width, options);
    table.write_header(&mut out);
    for close in [
        samples::three_way(),
        samples::half_closed(),
        reset_after_fin(),
        unread_data(),
        refused(),
        not_accepted(),
        peer_never_closed(),
        samples::unknown(),
        between("192.168.178.100:48350", "255.255.255.255:65535"),
        between("[2001:db8::10]:48350", "[2001:db8:0:1::25]:3306"),
        between(LONGEST_V6, LONGEST_V6),
        Close {
            endpoint: between(LONGEST_V6, LONGEST_V6).endpoint,
            ..unread_data()
        },
        named("数据库服务".as_bytes()),
        named("\x1b[2J\nq\"\u{202e}\\".as_bytes()),
    ] {
        table.write_close(&mut out, &close, &clock());
    }
    table.write_time_wait(&mut out, &expired(), &clock());
    let mut unheld = samples::stuck();
    unheld.owner = None;
    unheld.process = None;
    unheld.holders.clear();
    unheld.age.known = AgeCertainty::Estimated;
    for group in [
        group(40, 0, samples::stuck()),
        group(1, 3, unheld),
        group(0, 1, samples::resolved()),
        group(0, 40, samples::resolved()),
    ] {
        table.write_stuck(&mut out, &group, &clock());
    }
    String::from_utf8(out).expect("lines are UTF-8")
}

/// `SNAPSHOTS=overwrite` rewrites the snapshot.
#[test]
fn every_kind_of_line_is_as_it_is_kept() {
    let ascii = TableOptions {
        symbols: Symbols::Ascii,
        ..options()
    };
    let whole_lines = TableOptions {
        whole_lines: true,
        ..options()
    };
    let mut all = String::new();
    for (name, width, options) in [
        ("40 columns", Some(40), options()),
        ("80 columns", Some(80), options()),
        ("100 columns", Some(100), options()),
        ("160 columns", Some(160), options()),
        ("240 columns", Some(240), options()),
        ("80 columns, -v", Some(80), verbose()),
        ("80 columns, -w", Some(80), whole_lines),
        ("80 columns, ASCII", Some(80), ascii),
        ("a pipe", None, options()),
        ("a pipe, -v", None, verbose()),
    ] {
        let _ = writeln!(all, "# {name}\n{}", every_kind(width, options));
    }
    snapbox::assert_data_eq!(
        all,
        snapbox::file!["../../../tests/snapshots/tables/watch.txt"].raw()
    );
}

#[test]
fn on_a_terminal_no_line_is_longer_than_it() {
    for options in [options(), verbose()] {
        for width in 80..260 {
            let text = every_kind(Some(width), options);
            let longest = text.lines().map(UnicodeWidthStr::width).max();
            assert!(longest <= Some(usize::from(width)), "{width}:\n{text}");
        }
    }
}

#[test]
fn verbose_lines_name_the_thread_that_connected() {
    let mut close = samples::three_way();
    let owner = close.owner.as_deref().expect("it has one").clone();
    let connected_by = |id| {
        let comm = *b"pool-\x1b2\0\0\0\0\0\0\0\0\0";
        let thread = Some(Thread { id, comm });
        let owner = owner.clone();
        Some(Owner { thread, ..owner }.into())
    };
    let text = |close: &Close, options| {
        let mut out = Vec::new();
        CloseTable::new(Some(100), options).write_close(&mut out, close, &samples::clock());
        String::from_utf8(out).expect("a table is UTF-8")
    };
    close.owner = connected_by(28_092);
    let verbose_text = text(&close, verbose());
    let words = r"connected by thread pool-\x1b2 28092";
    assert!(verbose_text.contains(words), "{verbose_text}");
    assert!(!text(&close, options()).contains("thread"));
    close.owner = connected_by(owner.pid);
    assert!(!text(&close, verbose()).contains("thread"));
}

#[test]
fn columns_never_move() {
    for (width, column) in [(80, "HOW"), (120, "HOW"), (160, "STATES"), (240, "BYTES")] {
        let text = every_kind(Some(width), options());
        let header = text.lines().next().unwrap_or_default();
        let start = header.find(column).expect("the column has a title");
        let before = header.get(..start).unwrap_or_default().width();
        for close in [samples::three_way(), between(LONGEST_V6, LONGEST_V6)] {
            let text = lines_at(Some(width), &close);
            let word = match column {
                "HOW" => "closed by peer",
                "BYTES" => "211/174",
                _ => "ES 8.36",
            };
            let line = text.lines().find(|line| line.contains(word));
            let line = line.unwrap_or_else(|| panic!("{width}: {text}"));
            let at = line.find(word).and_then(|at| line.get(..at));
            assert_eq!(
                at.map(UnicodeWidthStr::width),
                Some(before),
                "{width}:\n{text}"
            );
        }
    }
}

#[test]
fn an_address_is_never_cut() {
    for width in (20..260).map(Some).chain([None]) {
        let close = between(LONGEST_V6, LONGEST_V6);
        let text = lines_at(width, &close);
        assert!(text.contains(LONGEST_V6), "{width:?}: {text}");
    }
}

#[test]
fn into_a_pipe_nothing_is_cut_and_no_line_is_broken() {
    let close = Close {
        owner: samples::owner(4_194_304, &[0x1b; 15]),
        endpoint: between(LONGEST_V6, LONGEST_V6).endpoint,
        ..unread_data()
    };
    assert_eq!(
        lines_at(None, &close),
        format!(
            "12:00:00 {} 4194304 → {LONGEST_V6}  8.4ms reset by us: unread data\n         └ 211 B sent, 174 B \
             received\n",
            r"\x1b".repeat(15)
        )
    );
}

#[test]
fn a_cut_name_keeps_its_pid() {
    let line = lines_at(Some(80), &named(&[0x1b; 15]));
    assert!(
        line.contains(r" \x1b\x1b\… 28089 → 127.0.0.1:3306 "),
        "{line}"
    );
    let line = lines_at(Some(80), &not_accepted());
    assert!(line.contains(" (gunic… 4194304) ← "), "{line}");
}

#[test]
fn a_hostile_name_stays_in_its_line() {
    for width in [Some(40), Some(80), None] {
        let text = lines_at(width, &named("\x1b[2J\nq\"\u{202e}".as_bytes()));
        let controls = |one: char| one != '\n' && crate::escape::is_hostile(one);
        assert!(!text.chars().any(controls), "{text:?}");
    }
}

#[test]
fn without_unicode_only_ascii_is_written() {
    let ascii = TableOptions {
        symbols: Symbols::Ascii,
        verbose: true,
        ..options()
    };
    for width in [Some(40), Some(80), Some(160), None] {
        let text = every_kind(width, ascii);
        assert!(text.is_ascii(), "{text}");
        assert!(text.contains("-> 127.0.0.1:3306"), "{text}");
        assert!(text.contains("<- [2001:db8::2]:50000"), "{text}");
    }
}

#[test]
fn a_cause_that_has_no_room_stands_below() {
    let close = Close {
        endpoint: samples::three_way().endpoint,
        ..unread_data()
    };
    let narrow = lines_at(Some(80), &close);
    assert!(
        narrow.contains(" reset by us\n         └ unread data; "),
        "{narrow}"
    );
    let wider = lines_at(Some(100), &close);
    assert!(
        wider.contains(" reset by us: unread data\n         └ 211 B sent"),
        "{wider}"
    );
}

#[test]
fn a_reset_without_a_cause_has_the_kernels_word() {
    let with = |reason, kernel_reason| {
        let reset = Some(Reset {
            by: Side::Local,
            reason,
            kernel_reason,
        });
        CloseSummary::from_close(&Close {
            reset,
            ..samples::reset()
        })
        .to_string()
    };
    assert_eq!(
        with(Some(ResetReason::Disconnect), None),
        "reset by us: disconnect"
    );
    assert_eq!(with(None, Some("TCP_STATE")), "reset by us: TCP_STATE");
    assert_eq!(with(None, None), "reset by us");
}

#[test]
fn every_what_fits_its_column() {
    use strum::VariantArray as _;
    let causes = Cause::VARIANTS.iter().copied().map(Some).chain([None]);
    for cause in causes {
        for path in ClosePath::VARIANTS {
            for initiator in Initiator::VARIANTS {
                let how = CloseSummary::from_close(&Close {
                    path: *path,
                    initiator: *initiator,
                    cause,
                    ..samples::three_way()
                });
                assert!(how.what.len() <= CloseSummary::WIDTH, "{how}");
                assert!(how.to_string().len() <= CloseSummary::MAX_WIDTH, "{how}");
            }
        }
    }
}

#[test]
fn nothing_known_is_a_dash() {
    let mut close = samples::unknown();
    close.states.clear();
    let text = text(&mut CloseTable::new(Some(160), options()), &close);
    let cells: Vec<&str> = text.split_whitespace().collect();
    let expected = "12:00:00 - 10.0.0.1:22 – 10.0.0.2:60000 - not fully seen - - - -";
    assert_eq!(cells.join(" "), expected);
}

#[test]
fn colours_mark_what_is_not_a_clean_close_and_change_no_width() {
    let coloured = TableOptions {
        colours: true,
        ..options()
    };
    let strip = |text: &str| {
        let codes = ["\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[2m", "\x1b[0m"];
        codes
            .iter()
            .fold(text.to_owned(), |text, code| text.replace(code, ""))
    };
    for width in [Some(40), Some(80), Some(160), None] {
        let text = every_kind(width, coloured);
        assert_eq!(strip(&text), every_kind(width, options()));
        let colour_of = |word: &str| {
            let before = text.split(word).next().unwrap_or_default();
            before.rsplit('\x1b').next().and_then(|code| code.get(..4))
        };
        assert_eq!(colour_of("reset by peer"), Some("[31m"), "{text}");
        assert_eq!(colour_of("refused"), Some("[33m"), "{text}");
    }
    let plain = lines_at(Some(80), &samples::three_way());
    let mut table = CloseTable::new(Some(80), coloured);
    assert_eq!(text(&mut table, &samples::three_way()), plain);
}

#[test]
fn another_width_is_another_layout() {
    let mut table = CloseTable::new(Some(80), options());
    assert!(!table.set_width(Some(80)));
    assert!(table.set_width(Some(200)));
    let close = samples::three_way();
    assert_eq!(text(&mut table, &close), lines_at(Some(200), &close));
}
