//! Summaries of closes as text.

use super::{CloseTally, TallyPeriod, grouped};
use crate::output::samples;
use tcpclose_core::finding::{Cause, Close, ClosePath, Reset, ResetReason, Side};
use tcpclose_core::types::{Nanos, Role};

const WATCHED: TallyPeriod = TallyPeriod {
    lasted: Nanos::from_secs(192),
    lost: 0,
    abnormal_only: false,
};

fn unread_data() -> Close {
    Close {
        path: ClosePath::Reset,
        cause: Some(Cause::UnreadData),
        reset: Some(Reset {
            by: Side::Local,
            reason: Some(ResetReason::UnreadData),
            kernel_reason: None,
        }),
        ..samples::three_way()
    }
}

#[test]
fn orderly_closes_are_in_no_group() {
    let mut tally = CloseTally::default();
    for _ in 0..1_204 {
        tally.add(&samples::three_way());
    }
    tally.add(&samples::unknown());
    assert!(!tally.has_abnormal());
    assert_eq!(
        tally.to_text(&WATCHED),
        "in 3m12s: 1,205 closes: 1,204 normal, 1 not fully seen; nothing lost\n"
    );
}

#[test]
fn nothing_is_a_summary_too() {
    let watched = TallyPeriod {
        lost: 12,
        abnormal_only: true,
        ..WATCHED
    };
    assert_eq!(
        CloseTally::default().to_text(&watched),
        "in 3m12s: 0 abnormal closes; 12 lost (see above)\n"
    );
}

#[test]
fn closes_are_grouped_and_each_cause_is_explained_once() {
    let mut tally = CloseTally::default();
    for close in [unread_data(), unread_data(), samples::three_way()] {
        tally.add(&close);
    }
    let mut by_peer = unread_data();
    by_peer.cause = None;
    by_peer.endpoint.role = Role::Server;
    by_peer.reset = Some(Reset {
        by: Side::Peer,
        reason: None,
        kernel_reason: None,
    });
    by_peer.owner = None;
    tally.add(&by_peer);
    assert!(tally.has_abnormal());
    assert_eq!(
        tally.to_text(&WATCHED),
        "\
in 3m12s: 4 closes: 1 normal, 3 reset; nothing lost
     2 × mariadb 28089 → 127.0.0.1:3306      reset by us: unread data
     1 × unknown process :48350 ← 127.0.0.1  reset by peer

unread data
        WHY  the socket was closed with received data that the program had not
             read.
        DO   Read to the end before close(): the reset may also destroy data
             that the peer has not read yet.
"
    );
}

#[test]
fn what_the_peers_endpoint_shows_is_written() {
    let reset_by_peer = |cause, peer_cause| {
        let mut close = unread_data();
        close.cause = cause;
        close.peer_cause = peer_cause;
        close.endpoint.peer_owner = samples::owner(24_311, b"nginx\x1b");
        close.reset = Some(Reset {
            by: Side::Peer,
            reason: None,
            kernel_reason: None,
        });
        close
    };
    let mut tally = CloseTally::default();
    tally.add(&reset_by_peer(None, Some(Cause::UnreadData)));
    let mut at_server = reset_by_peer(None, Some(Cause::UnreadData));
    at_server.endpoint.role = Role::Server;
    tally.add(&at_server);
    tally.add(&reset_by_peer(Some(Cause::FromPath), None));
    let text = tally.groups_text().unwrap();
    for line in [
        "mariadb 28089 → 127.0.0.1:3306 (nginx\\x1b 24311)\n         reset by peer: unread data\n",
        "mariadb 28089 :48350 ← 127.0.0.1 (nginx\\x1b)\n         reset by peer: unread data\n",
        "mariadb 28089 → 127.0.0.1:3306 (nginx\\x1b 24311)  reset from the path\n",
        "\nunread data\n",
        "\nfrom the path\n",
    ] {
        assert!(text.contains(line), "{text}");
    }
}

/// A client whose server closed after 5 s of silence, at a second.
fn closed_when_idle(second: u64) -> Close {
    let mut close = samples::three_way();
    close.idle = Some(Nanos::from_millis(5_000 + second));
    close.steps[0].at = Some(Nanos::from_secs(second));
    close
}

fn stale_keepalive(second: u64) -> Close {
    Close {
        path: ClosePath::Reset,
        cause: Some(Cause::StaleKeepalive),
        reset: Some(Reset {
            by: Side::Peer,
            reason: None,
            kernel_reason: None,
        }),
        ..closed_when_idle(second)
    }
}

#[test]
fn a_silence_that_is_always_the_same_stands_beside_its_group() {
    let idle = |closes: &[Close]| {
        let mut tally = CloseTally::default();
        for close in closes {
            tally.add(close);
        }
        tally.groups_text().unwrap()
    };
    let each_time = [10, 11, 12].map(stale_keepalive);
    let text = idle(&each_time);
    assert!(
        text.starts_with(
            "     3 × mariadb 28089 → 127.0.0.1:3306\n         reset by peer: stale keep-alive \
             (idle 5.0s each time)\n"
        ),
        "{text}"
    );
    let without = |one: Close| {
        let mut closes = each_time.to_vec();
        closes[1] = one;
        let text = idle(&closes);
        assert!(!text.contains("(idle"), "{text}");
    };
    without(Close {
        idle: None,
        ..stale_keepalive(11)
    });
    without(Close {
        idle: Some(Nanos::from_secs(7)),
        ..stale_keepalive(11)
    });
    assert!(!idle(&[stale_keepalive(10)]).contains("(idle"));
}

#[test]
fn idle_timeouts_end_the_summary_unless_closes_were_selected() {
    let closes = || (10..20).map(closed_when_idle).chain([stale_keepalive(20)]);
    let mut tally = CloseTally::default();
    closes().for_each(|close| tally.add(&close));
    let text = tally.to_text(&WATCHED);
    assert!(
        text.ends_with(
            "\nidle timeouts\n  127.0.0.1:3306 closes after 5.0s of silence (11 of 11); 1 request \
             ran into\n    it (1 late, 0 crossed)\n"
        ),
        "{text}"
    );
    let mut selected = CloseTally::default().of_selection();
    closes().for_each(|close| selected.add(&close));
    assert!(!selected.to_text(&WATCHED).contains("timeouts"));
    // Of `resets`, which shows no orderly close.
    let mut abnormal = CloseTally::default();
    closes().for_each(|close| abnormal.add_silence(&close));
    assert!(abnormal.to_text(&WATCHED).contains("(11 of 11)"));
}

#[test]
fn many_groups_end_in_a_rest() {
    let mut tally = CloseTally::default();
    for port in 1..=30 {
        let mut close = unread_data();
        close.cause = None;
        let peer = format!("192.0.2.1:{port}").parse().unwrap();
        close.endpoint.tuple = (close.endpoint.tuple.local(), peer).into();
        tally.add(&close);
    }
    let text = tally.to_text(&WATCHED);
    assert_eq!(text.lines().count(), 22, "{text}");
    assert!(text.ends_with("    10 × in smaller groups\n"), "{text}");
    assert!(
        text.lines().all(|line| line.chars().count() <= 80),
        "{text}"
    );
}

#[test]
fn long_numbers_have_commas() {
    for (number, text) in [
        (0, "0"),
        (999, "999"),
        (1_204, "1,204"),
        (1_234_567, "1,234,567"),
    ] {
        assert_eq!(grouped(number), text);
    }
}
