//! Groups abnormal closes by process, peer and cause, for the end of `tcpclose resets`.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::cause_text::cause_text;
use super::duration::push_with_unit;
use super::owner_text::push_owner;
use super::paragraph::push_paragraph;
use crate::escape::push_for_terminal;
use crate::plural::plural;
use tcpclose_core::finding::{Cause, Close, ClosePath, Endpoint, Reset, Side};
use tcpclose_core::summary::HeavyHitters;
use tcpclose_core::types::{Nanos, Role, SharedOwner};

/// The most groups that are shown.
const MAX_GROUPS: usize = 20;
/// The columns to which processes and peers are padded; what is longer is not aligned.
const MAX_WHO_WIDTH: usize = 42;
/// The columns of text.
const TEXT_WIDTH: usize = 78;
/// The indent of further lines about a cause.
const OTHER_LINES: &str = "             ";

/// What closes have in common.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Group {
    /// The process and its peer.
    who: String,
    how: String,
    /// The cause at this endpoint, or else what the peer's shows.
    cause: Option<Cause>,
}

/// Counts abnormal closes by group. Bounded: groups that are rare are forgotten first, and counted
/// as the rest.
#[derive(Debug, Default)]
pub struct AbnormalTally {
    groups: HeavyHitters<Group>,
    first: Option<Nanos>,
    last: Nanos,
}

impl AbnormalTally {
    /// Counts a close, if it is an abnormal one.
    pub fn add(&mut self, close: &Close) {
        if close.path.is_abnormal() != Some(true) {
            return;
        }
        self.first.get_or_insert(close.at);
        self.last = self.last.max(close.at);
        self.groups.add(Group {
            who: who(&close.endpoint, close.owner.as_ref()),
            how: how(close),
            cause: close.cause.or(close.peer_cause),
        });
    }

    /// Returns the groups as text, the largest first, with what each cause means; `None` if there
    /// was no abnormal close.
    #[must_use]
    pub fn to_text(&self) -> Option<String> {
        let ranking = self.groups.ranking(MAX_GROUPS);
        let total = ranking.total();
        let first = self.first?;
        let mut text = format!("{total} abnormal {}", plural(total, "close", "closes"));
        if self.last > first {
            text.push_str(" in ");
            push_with_unit(&mut text, self.last - first);
        }
        text.push('\n');
        let width = ranking
            .top
            .iter()
            .map(|(group, _)| group.who.chars().count());
        let width = width.max().unwrap_or(0).min(MAX_WHO_WIDTH);
        for (Group { who, how, .. }, count) in &ranking.top {
            let _ = writeln!(text, "{count:6}  {who:width$}  {how}");
        }
        if ranking.rest > 0 {
            let _ = writeln!(text, "{:6}  in smaller groups", ranking.rest);
        }
        let mut explained = BTreeSet::new();
        let causes = ranking.top.iter().filter_map(|(group, _)| group.cause);
        for cause in causes.filter(|cause| explained.insert(*cause)) {
            let words = cause_text(cause);
            let _ = writeln!(text, "\n{}", words.short);
            let mut explain = |mark: &str, words: &str| {
                push_paragraph(&mut text, mark, OTHER_LINES, words, TEXT_WIDTH);
            };
            explain("        WHY  ", &format!("{}.", words.what));
            explain("        DO   ", words.advice);
        }
        Some(text)
    }
}

/// `python3[7524] → 127.0.0.1:8088 (nginx[24311])`, `nginx[24311] 192.0.2.1:443 ← 10.0.0.7 (curl)`
fn who(endpoint: &Endpoint, owner: Option<&SharedOwner>) -> String {
    let mut text = String::new();
    match owner {
        Some(owner) => push_owner(&mut text, owner),
        None => text.push_str("unknown process"),
    }
    let (local, peer) = (endpoint.tuple.local(), endpoint.tuple.peer());
    let _ = match endpoint.role {
        Role::Client => write!(text, " → {peer}"),
        Role::Server => write!(text, " {local} ← {}", peer.ip()),
        Role::Unknown => write!(text, " {local} – {peer}"),
    };
    if let Some(peer_owner) = &endpoint.peer_owner {
        text.push_str(" (");
        match endpoint.role {
            // Clients come and go: their numbers would make a group of each.
            Role::Server => push_for_terminal(&mut text, &peer_owner.comm),
            Role::Client | Role::Unknown => push_owner(&mut text, peer_owner),
        }
        text.push(')');
    }
    text
}

fn how(close: &Close) -> String {
    let by = match &close.reset {
        Some(Reset {
            by: Side::Local, ..
        }) => Some("reset by this host"),
        Some(Reset { by: Side::Peer, .. }) => Some("reset by peer"),
        None => None,
    };
    match (close.path, by, close.cause) {
        (ClosePath::Reset, _, Some(Cause::FromPath)) => "reset from the path".to_owned(),
        (ClosePath::ConnectFailed, _, Some(cause)) => cause_text(cause).short.to_owned(),
        (ClosePath::ConnectFailed, _, None) => "connect failed".to_owned(),
        (_, Some(by), Some(cause)) => format!("{by}: {}", cause_text(cause).short),
        (_, None, Some(cause)) => cause_text(cause).short.to_owned(),
        (ClosePath::Timeout, _, None) => "timed out".to_owned(),
        (_, Some(by), None) => match close.peer_cause {
            Some(cause) => format!("{by}, which says: {}", cause_text(cause).short),
            None => by.to_owned(),
        },
        (path, None, None) => path.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::AbnormalTally;
    use crate::output::samples;
    use tcpclose_core::finding::{Cause, Close, ClosePath, Reset, ResetReason, Side};
    use tcpclose_core::types::{Nanos, Role};

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
    fn orderly_closes_are_not_counted() {
        let mut tally = AbnormalTally::default();
        tally.add(&samples::three_way());
        tally.add(&samples::unknown());
        assert_eq!(tally.to_text(), None);
    }

    #[test]
    fn closes_are_grouped_and_each_cause_is_explained_once() {
        let mut tally = AbnormalTally::default();
        let mut last = unread_data();
        last.at = last.at + Nanos::from_secs(90);
        for close in [unread_data(), last] {
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
        let text = tally.to_text().unwrap();
        assert_eq!(
            text,
            "\
3 abnormal closes in 1m30s
     2  mariadb[28089] → 127.0.0.1:3306             reset by this host: unread data
     1  unknown process 127.0.0.1:48350 ← 127.0.0.1  reset by peer

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
        let mut tally = AbnormalTally::default();
        tally.add(&reset_by_peer(None, Some(Cause::UnreadData)));
        let mut at_server = reset_by_peer(None, Some(Cause::UnreadData));
        at_server.endpoint.role = Role::Server;
        tally.add(&at_server);
        tally.add(&reset_by_peer(Some(Cause::FromPath), None));
        let text = tally.to_text().unwrap();
        for line in [
            "mariadb[28089] → 127.0.0.1:3306 (nginx\\x1b[24311])  reset by peer, which says: unread data\n",
            "mariadb[28089] 127.0.0.1:48350 ← 127.0.0.1 (nginx\\x1b)  reset by peer, which says: unread data\n",
            "mariadb[28089] → 127.0.0.1:3306 (nginx\\x1b[24311])  reset from the path\n",
            "\nunread data\n",
            "\nfrom the path\n",
        ] {
            assert!(text.contains(line), "{text}");
        }
    }

    #[test]
    fn many_groups_end_in_a_rest() {
        let mut tally = AbnormalTally::default();
        for port in 1..=30 {
            let mut close = unread_data();
            close.cause = None;
            let peer = format!("192.0.2.1:{port}").parse().unwrap();
            close.endpoint.tuple = (close.endpoint.tuple.local(), peer).into();
            tally.add(&close);
        }
        let text = tally.to_text().unwrap();
        assert_eq!(text.lines().count(), 22, "{text}");
        assert!(text.ends_with("    10  in smaller groups\n"), "{text}");
        assert!(
            text.lines().all(|line| line.chars().count() <= 80),
            "{text}"
        );
    }
}
