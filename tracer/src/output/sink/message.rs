//! A record as one line for people, for logs without columns.

use std::fmt::Write as _;

use crate::escape::push_for_terminal;
use crate::output::cause_text::cause_text;
use crate::output::close_text::MIN_SILENCE;
use crate::output::duration::push_with_unit;
use crate::output::loss_message;
use crate::output::owner_text::push_owner_for_log;
use crate::plural::plural;
use crate::record::Record;
use tcpclose_core::finding::{
    Cause, Close, ClosePath, Endpoint, Finding, Initiator, Reset, Side, TimeWait,
};
use tcpclose_core::stuck::{AgeCertainty, OwnerUnknown, StuckSocket};
use tcpclose_core::summary::{Rollup, ServiceAddress, StuckSummary, Summary};
use tcpclose_core::types::{Nanos, OwnerSource, Role, SharedOwner};

/// Returns one line without control characters.
pub(super) fn one_line(record: &Record) -> String {
    match record {
        Record::Finding(finding) if finding.is_self_test() => {
            format!("self-test: {}", line_of(record))
        }
        _ => line_of(record),
    }
}

fn line_of(record: &Record) -> String {
    match record {
        Record::Finding(Finding::Close(close)) => close_text(close),
        Record::Finding(Finding::TimeWait(time_wait)) => time_wait_text(time_wait),
        Record::Finding(Finding::Stuck(stuck)) => stuck_text(stuck),
        Record::Finding(Finding::Loss(loss)) => loss_message(loss),
        Record::Summary(summary) => summary_text(&summary.connections),
        Record::Rollup(rollup) => rollup_text(rollup),
    }
}

/// `port 443: 812 connections closed, 3 of them abnormally`
fn rollup_text(rollup: &Rollup) -> String {
    let service = match rollup.service.map(|it| it.service) {
        Some(ServiceAddress::Listening(port)) => format!("port {port}"),
        Some(ServiceAddress::Peer(peer)) => format!("to {peer}"),
        None => "other services".to_owned(),
    };
    let (closed, abnormal) = (rollup.counts.closes.total(), rollup.counts.causes.total());
    let connections = plural(closed, "connection", "connections");
    format!("{service}: {closed} {connections} closed, {abnormal} of them abnormally")
}

/// `mariadb[28089] 192.0.2.7:48350 > 192.0.2.9:3306 closed three_way, initiated by peer, 3
/// segments, after 8.4ms, …`
fn close_text(close: &Close) -> String {
    let mut text = owner_and_endpoint(&close.endpoint, close.owner.as_ref());
    if close.path == ClosePath::ConnectFailed {
        text.push_str(" connect failed");
    } else {
        let _ = write!(text, " closed {}", close.path);
        if close.initiator != Initiator::Unknown {
            let _ = write!(text, ", initiated by {}", close.initiator);
        }
    }
    match &close.reset {
        Some(reset) if is_refusal(close, reset) => {
            text.push_str(": connection refused");
        }
        Some(reset) => {
            if close.cause == Some(Cause::FromPath) {
                text.push_str(", reset from the path");
            } else {
                let _ = write!(text, ", reset by {}", reset.by);
            }
            match (close.cause, reset.reason) {
                (Some(cause), _) => {
                    let _ = write!(text, ": {}", cause_text(cause).what);
                }
                (None, Some(reason)) => {
                    let _ = write!(text, " ({reason})");
                }
                (None, None) => {}
            }
            if let Some(cause) = close.peer_cause {
                let _ = write!(text, ", which says: {}", cause_text(cause).short);
            }
        }
        None => {
            if let Some(cause) = close.cause {
                let _ = write!(text, ": {}", cause_text(cause).what);
            }
        }
    }
    push_idle(&mut text, close);
    if close.path.is_abnormal() == Some(true)
        && let Some(peer) = &close.endpoint.peer_owner
    {
        text.push_str(", the peer is ");
        push_owner_for_log(&mut text, peer);
        text.push_str(" on this host");
    }
    match close.segments {
        Some(1) => text.push_str(", 1 segment"),
        Some(segments) => {
            let _ = write!(text, ", {segments} segments");
        }
        None => {}
    }
    if let Some(lifetime) = close.endpoint.lifetime {
        text.push_str(", after ");
        push_with_unit(&mut text, lifetime);
    }
    if let Some(sent) = close.bytes.sent {
        let _ = write!(text, ", {sent} bytes sent");
    }
    if let Some(received) = close.bytes.received {
        let _ = write!(text, ", {received} bytes received");
    }
    text
}

/// Appends the silence before an abnormal close, where that is worth a word.
fn push_idle(text: &mut String, close: &Close) {
    let is_abnormal = close.path.is_abnormal() == Some(true);
    let idle = close
        .idle
        .filter(|idle| is_abnormal && *idle >= MIN_SILENCE);
    if let Some(idle) = idle {
        text.push_str(", idle for ");
        push_with_unit(text, idle);
    }
}

/// Returns whether the RST was the answer to a SYN of this host.
fn is_refusal(close: &Close, reset: &Reset) -> bool {
    close.path == ClosePath::ConnectFailed
        && close.endpoint.role == Role::Client
        && reset.by == Side::Peer
}

fn time_wait_text(time_wait: &TimeWait) -> String {
    let mut text = owner_and_endpoint(&time_wait.endpoint, time_wait.owner.as_ref());
    let _ = write!(text, " left TIME_WAIT: {}, after ", time_wait.end);
    push_with_unit(&mut text, time_wait.dwell);
    if time_wait.error > Nanos(0) {
        text.push_str(", accurate to ");
        push_with_unit(&mut text, time_wait.error);
    }
    text
}

fn stuck_text(stuck: &StuckSocket) -> String {
    let mut text = owner_and_endpoint(&stuck.endpoint, stuck.owner.as_ref());
    let about = match stuck.age.known {
        AgeCertainty::Observed => "",
        AgeCertainty::Estimated => "about ",
    };
    let state = stuck.socket.state;
    match stuck.resolution() {
        None => {
            let _ = write!(text, " has been stuck in {state} for {about}");
            push_with_unit(&mut text, stuck.at - stuck.age.since);
            let _ = write!(text, ": {}", stuck.verdict);
            text.push_str(match stuck.owner_unknown {
                Some(OwnerUnknown::NoHolder) => ", no process holds it",
                Some(OwnerUnknown::NotInspectable) => ", no holder was found",
                Some(OwnerUnknown::Closed | OwnerUnknown::Unspecified) | None => "",
            });
        }
        Some(end) => {
            let _ = write!(text, " is no longer stuck in {state} after {about}");
            push_with_unit(&mut text, stuck.at - stuck.age.since);
            let _ = write!(text, ": {end}");
        }
    }
    text
}

/// Appends the number of stuck sockets, in each state where they are in several.
fn push_stuck(text: &mut String, stuck: &StuckSummary) {
    let states: Vec<_> = stuck.by_state().filter(|(_, count)| *count > 0).collect();
    match *states {
        [] => text.push_str(", 0 stuck"),
        _ => {
            for (state, count) in states {
                let _ = write!(text, ", {count} stuck in {state}");
            }
        }
    }
}

/// Returns the numbers that an operator looks for first; the fields have the others.
fn summary_text(summary: &Summary) -> String {
    let mut text = "summary of ".to_owned();
    push_with_unit(&mut text, summary.to - summary.from);
    let reset = summary.closes.by(|(path, _)| path).get(ClosePath::Reset);
    let _ = write!(
        text,
        ": {} opened, {} closed, {reset} of them by reset; now {} live, {} in TIME_WAIT",
        summary.opened,
        summary.closes.total(),
        summary.now.live,
        summary.now.time_wait,
    );
    if let Some(stuck) = &summary.stuck {
        push_stuck(&mut text, stuck);
    }
    let lost = summary.lost.total();
    if lost > 0 {
        let _ = write!(text, "; {lost} records lost");
    }
    text
}

fn owner_and_endpoint(endpoint: &Endpoint, owner: Option<&SharedOwner>) -> String {
    let mut text = String::new();
    if let Some(owner) = owner {
        // Another process may have accepted.
        if owner.source == OwnerSource::Listen {
            text.push_str("listener ");
        }
        push_for_terminal(&mut text, &owner.comm);
        let _ = write!(text, "[{}] ", owner.pid);
    }
    let _ = write!(
        text,
        "{} > {}",
        endpoint.tuple.local(),
        endpoint.tuple.peer()
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::samples;
    use crate::output::summary_samples;
    use tcpclose_core::types::Owner;

    fn close(close: Close) -> String {
        one_line(&Finding::Close(Box::new(close)).into())
    }

    #[test]
    fn closes_are_described_with_what_is_known() {
        assert_eq!(
            close(samples::three_way()),
            "mariadb[28089] 127.0.0.1:48350 > 127.0.0.1:3306 closed three_way, initiated by peer, 3 segments, after 8.4ms, \
             211 bytes sent, 174 bytes received"
        );
        assert_eq!(
            close(samples::reset()),
            "mariadb[28089] [2001:db8::1]:443 > [2001:db8::2]:50000 closed reset, initiated by local, reset by local \
             (unread_data), 1 segment, after 8.4ms, 211 bytes sent, 174 bytes received"
        );
        assert_eq!(
            close(samples::unknown()),
            "10.0.0.1:22 > 10.0.0.2:60000 closed unknown"
        );
    }

    #[test]
    fn a_reset_is_described_with_what_the_peers_end_shows() {
        let mut reset = samples::reset();
        reset.endpoint.peer_owner = samples::owner(24_311, b"nginx\n");
        reset.reset = Some(Reset {
            by: Side::Peer,
            reason: None,
            kernel_reason: None,
        });
        reset.cause = None;
        reset.peer_cause = Some(Cause::UnreadData);
        let says =
            ", reset by peer, which says: unread data, the peer is nginx\\n[24311] on this host,";
        assert!(close(reset.clone()).contains(says), "{}", close(reset));
        let from_path = Close {
            cause: Some(Cause::FromPath),
            peer_cause: None,
            ..reset.clone()
        };
        let text = close(from_path);
        assert!(
            text.contains(", reset from the path: a reset came that the peer's socket"),
            "{text}"
        );
    }

    #[test]
    fn the_cause_of_a_reset_is_in_words_with_the_silence_before_it() {
        let mut reset = samples::reset();
        reset.initiator = Initiator::Peer;
        reset.reset = Some(Reset {
            by: Side::Peer,
            reason: None,
            kernel_reason: None,
        });
        reset.cause = Some(Cause::StaleKeepalive);
        reset.idle = Some(Nanos::from_millis(5_004));
        let text = close(reset);
        let words = " closed reset, initiated by peer, reset by peer: the peer had closed the \
                     connection, and this host used it again after the peer's FIN had arrived, idle \
                     for 5.0s, 1 segment,";
        assert!(text.contains(words), "{text}");
        let mut own = samples::reset();
        own.cause = Some(Cause::UnreadData);
        let text = close(own);
        let words = "reset by local: the socket was closed with received data that the program had \
                     not read, 1 segment";
        assert!(text.contains(words), "{text}");
    }

    #[test]
    fn connects_that_failed_are_described_as_such() {
        let failed = |role, by: Option<Side>| {
            let sample = samples::unknown();
            close(Close {
                endpoint: Endpoint {
                    role,
                    ..sample.endpoint
                },
                path: ClosePath::ConnectFailed,
                initiator: Initiator::Local,
                reset: by.map(|by| Reset {
                    by,
                    reason: None,
                    kernel_reason: None,
                }),
                ..sample
            })
        };
        let start = "10.0.0.1:22 > 10.0.0.2:60000 connect failed";
        assert_eq!(failed(Role::Client, None), start);
        assert_eq!(
            failed(Role::Client, Some(Side::Peer)),
            format!("{start}: connection refused")
        );
        assert_eq!(
            failed(Role::Server, Some(Side::Peer)),
            format!("{start}, reset by peer")
        );
    }

    #[test]
    fn stuck_sockets_are_described_from_beginning_to_end() {
        let of = |stuck| one_line(&Finding::Stuck(Box::new(stuck)).into());
        assert_eq!(
            of(samples::stuck()),
            "web[28089] 10.0.0.1:80 > 10.0.0.2:40001 has been stuck in CLOSE_WAIT for 1m00s: eof_read"
        );
        assert_eq!(
            of(samples::resolved()),
            "web[28089] 10.0.0.1:80 > 10.0.0.2:40001 is no longer stuck in CLOSE_WAIT after 2m05s: process_exited"
        );
    }

    #[test]
    fn a_stuck_socket_without_a_holder_is_described_as_such() {
        let of = |unknown| {
            let stuck = StuckSocket {
                owner: None,
                owner_unknown: Some(unknown),
                ..samples::stuck()
            };
            one_line(&Finding::Stuck(Box::new(stuck)).into())
        };
        let start = "10.0.0.1:80 > 10.0.0.2:40001 has been stuck in CLOSE_WAIT for 1m00s: eof_read";
        for (unknown, end) in [
            (OwnerUnknown::NoHolder, ", no process holds it"),
            (OwnerUnknown::NotInspectable, ", no holder was found"),
            (OwnerUnknown::Unspecified, ""),
        ] {
            assert_eq!(of(unknown), format!("{start}{end}"));
        }
    }

    #[test]
    fn a_summary_begins_with_the_most_important_numbers() {
        let summary = Record::Summary(Box::new(summary_samples::summary()));
        assert_eq!(
            one_line(&summary),
            "summary of 1m00s: 5 opened, 3 closed, 1 of them by reset; now 1300 live, 7058 in TIME_WAIT, 4 stuck in \
             CLOSE_WAIT"
        );
    }

    #[test]
    fn an_owner_that_was_found_through_a_listening_socket_is_marked() {
        let mut accepted = samples::three_way();
        let owner = accepted.owner.as_deref().cloned();
        accepted.owner = owner.map(|owner| {
            SharedOwner::new(Owner {
                source: OwnerSource::Listen,
                ..owner
            })
        });
        assert!(close(accepted).starts_with("listener mariadb[28089] "));
    }

    #[test]
    fn names_cannot_act_on_a_terminal() {
        let mut hostile = samples::three_way();
        hostile.owner = samples::owner(1, b"\x1b]0;x\x07\n");
        assert!(close(hostile).starts_with("\\x1b]0;x\\x07\\n[1] "));
    }
}
