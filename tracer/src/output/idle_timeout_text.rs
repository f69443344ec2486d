//! Idle timeouts in words.

use std::fmt::Write as _;

use super::close_text::shown_comm;
use super::duration::push_with_unit;
use super::symbols::Symbols;
use crate::plural::plural;
use tcpclose_core::finding::{Cause, Side};
use tcpclose_core::summary::{IdleTimeout, MissedTimeouts, ServiceAddress};

/// Returns a sentence without its end: `127.0.0.1:8088 closes after 5.0s of silence (812 of 830); 3
/// requests ran into it (2 late, 1 crossed)`.
pub(super) fn idle_timeout_text(timeout: &IdleTimeout, symbols: Symbols) -> String {
    let owner = timeout.owner.as_ref();
    let owner = owner.map(|owner| shown_comm(owner, symbols));
    let mut text = match (timeout.of.service, timeout.of.closed_by) {
        (ServiceAddress::Listening(port), side) => {
            let whose = owner.map_or(String::new(), |owner| format!(" ({owner})"));
            match side {
                Side::Local => format!("port {port}{whose} closes"),
                Side::Peer => format!("clients of port {port}{whose} close"),
            }
        }
        (ServiceAddress::Peer(peer), Side::Peer) => format!("{peer} closes"),
        (ServiceAddress::Peer(peer), Side::Local) => {
            let who = owner.as_deref().unwrap_or("this host");
            format!("{who} closes connections to {peer}")
        }
    };
    text.push_str(" after ");
    push_with_unit(&mut text, timeout.silence);
    let _ = write!(
        text,
        " of silence ({} of {})",
        timeout.closes, timeout.silent_closes
    );
    push_missed(&mut text, timeout.missed);
    text
}

/// Appends how often data ran into the timeout, if it did.
fn push_missed(text: &mut String, missed: MissedTimeouts) {
    let MissedTimeouts {
        late,
        crossed,
        after_close,
    } = missed;
    let requests = late + crossed;
    if requests > 0 {
        let _ = write!(
            text,
            "; {requests} {} ran into it ({late} late, {crossed} crossed)",
            plural(requests, "request", "requests"),
        );
    }
    if after_close > 0 {
        let times = plural(after_close, "time", "times");
        let _ = write!(text, "; {after_close} {times} data came after that");
    }
}

/// Returns the cause of most of the closes that ran into the timeout; `None` where none did.
pub(super) fn most_frequent_cause(missed: MissedTimeouts) -> Option<Cause> {
    let MissedTimeouts {
        late,
        crossed,
        after_close,
    } = missed;
    let causes = [
        (crossed, Cause::CrossedKeepalive),
        (after_close, Cause::DataAfterClose),
        (late, Cause::StaleKeepalive),
    ];
    let causes = causes.into_iter().filter(|(count, _)| *count > 0);
    causes
        .max_by_key(|(count, _)| *count)
        .map(|(_, cause)| cause)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::samples;
    use crate::output::summary_samples::idle_timeout;
    use tcpclose_core::summary::ServiceSide;
    use tcpclose_core::types::Port;

    #[test]
    fn who_closes_which_connections_after_what_silence() {
        let port = Port::new(443).expect("it is not 0");
        let peer = ServiceAddress::Peer("127.0.0.1:8088".parse().expect("an address"));
        let text = |service, closed_by, named: bool, missed| {
            let timeout = IdleTimeout {
                of: ServiceSide {
                    netns: None,
                    service,
                    closed_by,
                },
                owner: samples::owner(7524, b"web\n").filter(|_| named),
                missed,
                ..idle_timeout()
            };
            idle_timeout_text(&timeout, Symbols::Unicode)
        };
        let none = MissedTimeouts::default();
        let end = " after 5.0s of silence (812 of 830)";
        for (service, side, named, begin) in [
            (
                ServiceAddress::Listening(port),
                Side::Local,
                true,
                "port 443 (web\\n) closes",
            ),
            (
                ServiceAddress::Listening(port),
                Side::Peer,
                false,
                "clients of port 443 close",
            ),
            (peer, Side::Peer, true, "127.0.0.1:8088 closes"),
            (
                peer,
                Side::Local,
                true,
                "web\\n closes connections to 127.0.0.1:8088",
            ),
            (
                peer,
                Side::Local,
                false,
                "this host closes connections to 127.0.0.1:8088",
            ),
        ] {
            assert_eq!(text(service, side, named, none), format!("{begin}{end}"));
        }
        let missed = MissedTimeouts {
            late: 2,
            crossed: 1,
            after_close: 0,
        };
        let sentence = text(peer, Side::Peer, true, missed);
        assert!(
            sentence.ends_with("(812 of 830); 3 requests ran into it (2 late, 1 crossed)"),
            "{sentence}"
        );
        assert_eq!(most_frequent_cause(missed), Some(Cause::StaleKeepalive));
        let after_close = MissedTimeouts {
            after_close: 1,
            ..none
        };
        let sentence = text(
            ServiceAddress::Listening(port),
            Side::Local,
            true,
            after_close,
        );
        assert!(
            sentence.ends_with("; 1 time data came after that"),
            "{sentence}"
        );
        assert_eq!(most_frequent_cause(none), None);
    }
}
