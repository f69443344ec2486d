//! A close as textbooks draw it, for `tcpclose explain`: this endpoint left, the peer right, its
//! states at the side, and one paragraph in words.

use std::fmt::Write as _;

use tcpclose_common::TcpState;
use tcpclose_core::finding::{
    Cause, Close, ClosePath, HalfClose, Initiator, SegmentFlags, Side, Step,
};
use tcpclose_core::types::{Certainty, Nanos, Role};

use super::cause_text::cause_text;
use super::clock::WallClock;
use super::close_text::MIN_SILENCE;
use super::duration::push_with_unit;
use super::owner_text::push_owner;
use super::paragraph::push_paragraph;
use crate::plural::plural;

/// The columns between the two lines of life.
const WIDTH: usize = 44;
const INDENT: &str = "    ";
/// The columns of the paragraph.
const TEXT_WIDTH: usize = 76;

/// Appends the drawing of one close, with an empty line behind it.
pub(super) fn write_ladder(out: &mut Vec<u8>, close: &Close, clock: &WallClock) {
    let mut text = String::new();
    push_title(&mut text, close, clock);
    push_drawing(&mut text, close);
    push_paragraph(&mut text, INDENT, INDENT, &in_words(close), TEXT_WIDTH);
    text.push('\n');
    out.extend_from_slice(text.as_bytes());
}

/// `17:29:44  mariadb[22626]  127.0.0.1:45368 → 127.0.0.1:3306`
fn push_title(text: &mut String, close: &Close, clock: &WallClock) {
    let _ = write!(text, "{}  ", clock.time_of_day(close.at));
    if let Some(owner) = &close.owner {
        push_owner(text, owner);
        text.push_str("  ");
    }
    let arrow = match close.endpoint.role {
        Role::Client => "→",
        Role::Server => "←",
        Role::Unknown => "–",
    };
    let tuple = &close.endpoint.tuple;
    let (local, peer) = (tuple.local().to_string(), tuple.peer().to_string());
    // Two IPv6 addresses have a line of their own.
    if text.chars().count() + local.len() + peer.len() + 3 > TEXT_WIDTH {
        text.push('\n');
        text.push_str(INDENT);
    }
    let _ = writeln!(text, "{local} {arrow} {peer}");
}

fn push_drawing(text: &mut String, close: &Close) {
    let mut states = close.states.iter().peekable();
    if let Some((state, dwell)) = states.next() {
        push_state(text, *state, *dwell);
    }
    for (number, step) in close.steps.iter().enumerate() {
        let later = close.steps.get(number + 1..).unwrap_or_default();
        let next = states.peek();
        if later.is_empty() && next.is_some_and(|(state, _)| !enters(*state, step, later)) {
            // It ended the last state: what led there is not among the segments.
            for (state, dwell) in states.by_ref() {
                push_state(text, *state, *dwell);
            }
        }
        push_step(text, step);
        while let Some((state, dwell)) = states.next_if(|(state, _)| enters(*state, step, later)) {
            push_state(text, *state, *dwell);
        }
    }
    for (state, dwell) in states {
        push_state(text, *state, *dwell);
    }
    let before = close.states.last().map(|(state, _)| *state);
    let last = match before {
        _ if waits(close) => "TIME_WAIT",
        Some(TcpState::FinWait2 | TcpState::Closing) if close.path == ClosePath::Unknown => {
            "(the end was not seen)"
        }
        _ => "CLOSED",
    };
    let _ = writeln!(text, "{INDENT}{last}");
}

/// Returns whether a segment moves this endpoint into a state. An ACK that is still to come is the
/// one that acknowledges the local FIN.
fn enters(state: TcpState, step: &Step, later: &[Step]) -> bool {
    let is_fin = step.flags == SegmentFlags::FinAck;
    let is_local = step.from == Side::Local;
    match state {
        TcpState::FinWait1 | TcpState::LastAck => is_local && is_fin,
        TcpState::CloseWait | TcpState::Closing => !is_local && is_fin,
        TcpState::FinWait2 => {
            let is_ack = |step: &Step| step.from == Side::Peer && step.flags == SegmentFlags::Ack;
            is_ack(step) || (!is_local && is_fin && !later.iter().any(is_ack))
        }
        _ => false,
    }
}

/// Returns whether the endpoint waits in TIME_WAIT after its close.
fn waits(close: &Close) -> bool {
    let last = close.states.last().map(|(state, _)| *state);
    close.path.is_abnormal() == Some(false)
        && matches!(last, Some(TcpState::FinWait2 | TcpState::Closing))
}

fn push_state(text: &mut String, state: TcpState, dwell: Option<Nanos>) {
    let name: &str = state.into();
    text.push_str(INDENT);
    text.push_str(name);
    if let Some(dwell) = dwell {
        let _ = write!(
            text,
            "{:width$}",
            "",
            width = 14_usize.saturating_sub(name.len())
        );
        push_with_unit(text, dwell);
    }
    text.push('\n');
}

fn push_step(text: &mut String, step: &Step) {
    let line = match step.known {
        Certainty::Observed => '-',
        Certainty::Inferred => '.',
    };
    let flags: &str = step.flags.into();
    let mut label = format!("{flags:<8}");
    for (name, number) in [("seq", step.seq), ("ack", step.ack)] {
        if let Some(number) = number {
            let _ = write!(label, " {name} {number}");
        }
    }
    let label = label.trim_end();
    let rest = WIDTH.saturating_sub(label.len() + 4);
    let run = |length: usize| line.to_string().repeat(length);
    let (left, right) = (run(rest / 2), run(rest - rest / 2));
    let _ = match step.from {
        Side::Local => writeln!(text, "{INDENT}{INDENT}| {left} {label} {right}> |"),
        Side::Peer => writeln!(text, "{INDENT}{INDENT}| <{left} {label} {right} |"),
    };
}

fn in_words(close: &Close) -> String {
    let reset_by = close.reset.as_ref().map(|reset| reset.by);
    let mut words = match close.path {
        ClosePath::FourWay => counted(close, 4, "each side sent its FIN and got its ACK"),
        ClosePath::ThreeWay => counted(close, 3, "the second FIN carried the ACK of the first"),
        ClosePath::Simultaneous => "The FINs of both sides crossed.".to_owned(),
        ClosePath::Reset if close.cause == Some(Cause::FromPath) => {
            "A RST ended the connection.".to_owned()
        }
        ClosePath::Reset => match reset_by {
            Some(Side::Local) => "This host reset the connection.".to_owned(),
            Some(Side::Peer) => "The peer reset the connection.".to_owned(),
            None => "A RST ended the connection.".to_owned(),
        },
        ClosePath::Timeout => "This host gave up waiting for the peer.".to_owned(),
        ClosePath::Destroyed => "This host ended the connection.".to_owned(),
        ClosePath::ConnectFailed => "The connection was never established.".to_owned(),
        ClosePath::Unknown => "Not all of this close was seen: its path is unknown.".to_owned(),
    };
    if let Some(cause) = close.cause {
        words.pop();
        let _ = write!(words, ": {}.", cause_text(cause).what);
    }
    if let Some(idle) = close.idle.filter(|idle| *idle >= MIN_SILENCE) {
        words.push_str(" The connection had been silent for ");
        push_with_unit(&mut words, idle);
        words.push('.');
    }
    let is_said = matches!(
        (close.initiator, reset_by),
        (Initiator::Local, Some(Side::Local)) | (Initiator::Peer, Some(Side::Peer))
    );
    if close.path != ClosePath::ConnectFailed && !is_said {
        words.push_str(match (close.initiator, waits(close)) {
            (Initiator::Local, true) => {
                " This host closed first, so its endpoint goes to TIME_WAIT, normally for 60 s: the \
                 last ACK can be sent again, and old segments die out."
            }
            (Initiator::Local, false) => " This host began to close.",
            (Initiator::Peer, _) => " The peer began to close.",
            (Initiator::Both, _) => " Both began to close.",
            (Initiator::Unknown, _) => "",
        });
    }
    if let Some(owner) = &close.endpoint.peer_owner {
        words.push_str(" The peer is ");
        push_owner(&mut words, owner);
        words.push_str(" on this host.");
    }
    if let Some(cause) = close.peer_cause {
        let _ = write!(words, " It says: {}.", cause_text(cause).what);
    }
    if let Some(half_close) = &close.half_close {
        push_half_close(&mut words, half_close);
    }
    if let Some(again @ 1..) = close.retransmits {
        let were = plural(again.into(), "segment was", "segments were");
        let _ = write!(words, " {again} {were} retransmitted in its whole life.");
    }
    if close
        .steps
        .iter()
        .any(|step| step.known == Certainty::Inferred)
    {
        words.push_str(" Dotted segments are inferred, not observed.");
    }
    words
}

/// Returns the words for an orderly close that has so many segments where none is repeated.
fn counted(close: &Close, usual: u32, words: &str) -> String {
    match close.segments {
        Some(count) if count == usual => format!("{count} segments: {words}."),
        Some(count) => format!("{count} segments, with repeated FINs: {words}."),
        None => format!("In an unknown number of segments, {words}."),
    }
}

fn push_half_close(words: &mut String, half_close: &HalfClose) {
    words.push_str(match half_close.by {
        Side::Local => " For ",
        Side::Peer => " After the peer's FIN, for ",
    });
    push_with_unit(words, half_close.lasted);
    let HalfClose {
        bytes_sent,
        bytes_received,
        ..
    } = half_close;
    let _ = match half_close.by {
        Side::Local => write!(
            words,
            " this host was only receiving: {bytes_received} {} came.",
            plural(*bytes_received, "byte", "bytes")
        ),
        Side::Peer => write!(
            words,
            " this host was only sending: {bytes_sent} {}.",
            plural(*bytes_sent, "byte", "bytes")
        ),
    };
}

#[cfg(test)]
mod tests {
    use super::write_ladder;
    use crate::output::samples;
    use tcpclose_core::finding::{Cause, Close, ClosePath, HalfClose, Initiator, Side};
    use tcpclose_core::types::Nanos;

    fn ladder(close: &Close) -> String {
        let mut out = Vec::new();
        write_ladder(&mut out, close, &samples::clock());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_close_is_drawn_with_its_states() {
        let expected = "\
12:00:00  mariadb[28089]  127.0.0.1:48350 → 127.0.0.1:3306
    ESTABLISHED   8.4ms
        | <-------- FIN,ACK  seq 175 ack 212 -------- |
    CLOSE_WAIT    0.09ms
        | -------- FIN,ACK  seq 212 ack 176 --------> |
    LAST_ACK      0.05ms
        | <........ ACK      seq 176 ack 213 ........ |
    CLOSED
    3 segments: the second FIN carried the ACK of the first. The peer began
    to close. Dotted segments are inferred, not observed.

";
        assert_eq!(ladder(&samples::three_way()), expected);
    }

    #[test]
    fn what_is_unknown_is_not_drawn() {
        let expected = "\
12:00:00  10.0.0.1:22 – 10.0.0.2:60000
    ESTABLISHED
    LAST_ACK      0.05ms
    CLOSED
    Not all of this close was seen: its path is unknown.

";
        assert_eq!(ladder(&samples::unknown()), expected);
    }

    #[test]
    fn the_peers_process_and_what_it_shows_are_written_below() {
        let mut close = samples::reset();
        close.endpoint.peer_owner = samples::owner(24_311, b"nginx\n");
        close.cause = None;
        close.peer_cause = Some(Cause::Linger);
        let flat = |close: &Close| {
            let text = ladder(close);
            let words: Vec<&str> = text.split_whitespace().collect();
            words.join(" ")
        };
        let says = "The peer is nginx\\n[24311] on this host. It says: the socket was closed with \
                    SO_LINGER on and a time of zero.";
        assert!(flat(&close).contains(says), "{}", flat(&close));
        close.peer_cause = None;
        close.cause = Some(Cause::FromPath);
        let words = "A RST ended the connection: a reset came that the peer's socket,";
        assert!(flat(&close).contains(words), "{}", flat(&close));
    }

    #[test]
    fn a_half_close_and_a_cause_are_written_below() {
        let close = Close {
            path: ClosePath::Timeout,
            initiator: Initiator::Local,
            cause: Some(Cause::PeerNeverClosed),
            idle: Some(Nanos::from_secs(5)),
            retransmits: Some(1),
            half_close: Some(HalfClose {
                by: Side::Local,
                lasted: Nanos::from_secs(2),
                bytes_sent: 0,
                bytes_received: 70_000,
            }),
            ..samples::unknown()
        };
        let text = ladder(&close);
        for words in [
            "This host gave up waiting for the peer: no FIN of the peer arrived before",
            "The connection had been silent for 5.0s.",
            "For 2.0s this host was only receiving: 70000 bytes came.",
            "1 segment was retransmitted in its whole life.",
        ] {
            let flat: Vec<&str> = text.split_whitespace().collect();
            assert!(flat.join(" ").contains(words), "{text}");
        }
        assert!(
            text.lines().all(|line| line.chars().count() <= 80),
            "{text}"
        );
    }
}
