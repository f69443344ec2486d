//! Counts closes for the summary at the end of `tcpclose watch` and `tcpclose resets`, and groups
//! the abnormal ones by process, peer and cause.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt::Write as _;

use unicode_width::UnicodeWidthStr as _;

use super::cause_text::cause_text;
use super::close_text::{CloseSummary, MIN_SILENCE, push_owner, shown_comm};
use super::duration::push_with_unit;
use super::idle_timeout_text::idle_timeout_text;
use super::leaks::is_one_silence;
use super::paragraph::push_paragraph;
use super::symbols::Symbols;
use crate::plural::plural;
use tcpclose_core::finding::{Cause, Close, ClosePath, Endpoint};
use tcpclose_core::summary::{FoundTimeouts, HeavyHitters, IdleTimeouts};
use tcpclose_core::types::{Nanos, Role, SharedOwner};

/// The most groups that are shown.
const MAX_GROUPS: usize = 20;
/// The most idle timeouts that are shown.
const MAX_TIMEOUTS: usize = 10;
/// The columns to which processes and peers are padded; what is longer is not aligned.
const MAX_WHO_WIDTH: usize = 42;
/// The columns of text.
const TEXT_WIDTH: usize = 78;
/// The columns of the narrowest usual terminal.
const MAX_LINE_WIDTH: usize = 80;
/// The indent of further lines about a cause.
const OTHER_LINES: &str = "             ";

/// What closes have in common.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Group {
    /// The process and its peer.
    pub who: String,
    /// How they closed.
    pub how: CloseSummary,
    /// The cause at this endpoint, or else what the peer's shows.
    pub cause: Option<Cause>,
}

/// How many connections closed in which way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    normal: u64,
    reset: u64,
    refused: u64,
    failed: u64,
    timed_out: u64,
    destroyed: u64,
    unknown: u64,
}

impl Counts {
    fn add(&mut self, close: &Close) {
        let count = match close.path {
            ClosePath::FourWay | ClosePath::ThreeWay | ClosePath::Simultaneous => &mut self.normal,
            ClosePath::Reset => &mut self.reset,
            ClosePath::ConnectFailed if close.cause == Some(Cause::Refused) => &mut self.refused,
            ClosePath::ConnectFailed => &mut self.failed,
            ClosePath::Timeout => &mut self.timed_out,
            ClosePath::Destroyed => &mut self.destroyed,
            ClosePath::Unknown => &mut self.unknown,
        };
        *count += 1;
    }

    const fn named(&self) -> [(u64, &'static str); 7] {
        [
            (self.normal, "normal"),
            (self.reset, "reset"),
            (self.refused, "refused"),
            (self.failed, "failed to connect"),
            (self.timed_out, "timed out"),
            (self.destroyed, "destroyed"),
            (self.unknown, "not fully seen"),
        ]
    }
}

/// A group of abnormal closes in words.
#[derive(Clone, Debug)]
pub(super) struct AbnormalGroup {
    /// What they have in common.
    pub group: Group,
    /// How many there are.
    pub count: u64,
    /// `idle 5.0s each time`, where that is so.
    pub silence: Option<String>,
}

/// Counts closes. Bounded: groups that are rare are forgotten first, and counted as the rest.
#[derive(Debug, Default)]
pub struct CloseTally {
    counts: Counts,
    groups: HeavyHitters<Group, GroupSilence>,
    idle_timeouts: IdleTimeouts,
    /// Whether not all closes of a service are counted, so that their silences show nothing.
    is_selection: bool,
    symbols: Symbols,
}

/// The silences before the closes of a group.
#[derive(Clone, Copy, Debug, Default)]
struct GroupSilence {
    /// How many are known.
    known: u64,
    /// The shortest and the longest of them.
    range: Option<(Nanos, Nanos)>,
}

impl GroupSilence {
    fn add(&mut self, idle: Option<Nanos>) {
        let Some(idle) = idle else { return };
        let (least, most) = self.range.unwrap_or((idle, idle));
        self.range = Some((least.min(idle), most.max(idle)));
        self.known += 1;
    }

    /// Returns `idle 5.0s each time`, where that holds for all of several closes.
    fn text(self, closes: u64) -> Option<String> {
        let (least, most) = self.range?;
        let is_each_time = closes > 1
            && self.known == closes
            && least >= MIN_SILENCE
            && is_one_silence(least, most);
        is_each_time.then(|| {
            let mut text = "idle ".to_owned();
            push_with_unit(&mut text, least);
            text.push_str(" each time");
            text
        })
    }
}

/// What a summary is about.
#[derive(Clone, Copy, Debug)]
pub struct TallyPeriod {
    /// How long connections were watched.
    pub lasted: Nanos,
    /// How many records, connections and lines were lost.
    pub lost: u64,
    /// Whether only abnormal closes were counted.
    pub abnormal_only: bool,
}

impl CloseTally {
    /// Returns a tally of nothing.
    #[must_use]
    pub fn new(symbols: Symbols) -> Self {
        Self {
            symbols,
            ..Self::default()
        }
    }

    /// Looks for no idle timeouts: not all closes of a service are counted.
    #[must_use]
    pub fn of_selection(self) -> Self {
        Self {
            is_selection: true,
            ..self
        }
    }

    /// Returns the characters that its texts are written with.
    pub(super) const fn symbols(&self) -> Symbols {
        self.symbols
    }

    /// Counts a close.
    pub fn add(&mut self, close: &Close) {
        self.counts.add(close);
        self.add_silence(close);
        if close.path.is_abnormal() == Some(true) {
            let group = self.group(close);
            self.groups.add(group).add(close.idle);
        }
    }

    /// Returns the group of an abnormal close.
    pub(super) fn group(&self, close: &Close) -> Group {
        Group {
            who: self.who(&close.endpoint, close.owner.as_ref()),
            how: CloseSummary::from_close(close),
            cause: close.cause.or(close.peer_cause),
        }
    }

    /// Counts the silence before a close alone, for idle timeouts.
    pub fn add_silence(&mut self, close: &Close) {
        if !self.is_selection {
            self.idle_timeouts.record(close);
        }
    }

    /// Returns the idle timeouts that the closes show.
    pub(super) fn idle_timeouts(&self) -> FoundTimeouts {
        self.idle_timeouts.found(MAX_TIMEOUTS)
    }

    /// Returns whether an abnormal close was counted.
    #[must_use]
    pub fn has_abnormal(&self) -> bool {
        let Counts {
            normal: _,
            unknown: _,
            reset,
            refused,
            failed,
            timed_out,
            destroyed,
        } = self.counts;
        reset + refused + failed + timed_out + destroyed > 0
    }

    /// Returns the largest groups of abnormal closes, at most `len`, and the number of closes in
    /// all others.
    pub(super) fn largest(&self, len: usize) -> (Vec<AbnormalGroup>, u64) {
        let ranking = self.groups.ranking(len);
        let groups = ranking.top.into_iter().map(|(group, count)| AbnormalGroup {
            silence: self.silence_text(&group, count),
            group,
            count,
        });
        (groups.collect(), ranking.rest)
    }

    /// Returns the summary: the number of closes of each kind, the groups of abnormal ones, the
    /// largest first, and what each cause means.
    #[must_use]
    pub fn to_text(&self, watched: &TallyPeriod) -> String {
        let mut text = self.first_line(watched);
        text.extend(self.groups_text());
        text.extend(self.idle_timeouts_text());
        text
    }

    fn silence_text(&self, group: &Group, closes: u64) -> Option<String> {
        self.groups.note(group)?.text(closes)
    }

    /// Returns the part of the summary about idle timeouts; `None` where none shows.
    fn idle_timeouts_text(&self) -> Option<String> {
        let FoundTimeouts {
            most,
            others,
            exact: _,
        } = self.idle_timeouts();
        if most.is_empty() {
            return None;
        }
        let mut text = "\nidle timeouts\n".to_owned();
        for timeout in &most {
            let words = idle_timeout_text(timeout, self.symbols);
            push_paragraph(&mut text, "  ", "    ", &words, TEXT_WIDTH);
        }
        if others > 0 {
            let _ = writeln!(text, "  and {others} more");
        }
        Some(text)
    }

    /// Returns the part of the summary about abnormal closes; `None` without any.
    #[must_use]
    pub fn groups_text(&self) -> Option<String> {
        if !self.has_abnormal() {
            return None;
        }
        let mut text = String::new();
        let ranking = self.groups.ranking(MAX_GROUPS);
        let groups = ranking.top.iter();
        let width = groups.map(|(group, _)| group.who.width()).max();
        let width = width.unwrap_or(0).min(MAX_WHO_WIDTH);
        let times = self.symbols.times();
        for (group, count) in &ranking.top {
            let Group { who, how, .. } = group;
            let mut padding = " ".repeat(width.saturating_sub(who.width()) + 2);
            let silence = self.silence_text(group, *count);
            let silence = silence.map_or(String::new(), |silence| format!(" ({silence})"));
            let (count, how) = (grouped(*count), format!("{how}{silence}"));
            let begin = format!("{count:>6} {times} ");
            // What does not fit stands below, as nothing is cut.
            if [&begin, who, &padding, &how]
                .map(|part| part.width())
                .iter()
                .sum::<usize>()
                > MAX_LINE_WIDTH
            {
                padding = format!("\n{}", " ".repeat(begin.width()));
            }
            let _ = writeln!(text, "{begin}{who}{padding}{how}");
        }
        if ranking.rest > 0 {
            let rest = grouped(ranking.rest);
            let _ = writeln!(text, "{rest:>6} {times} in smaller groups");
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

    /// `in 3m12s: 1,204 closes: 1,180 normal, 21 reset, 3 refused; nothing lost`
    fn first_line(&self, watched: &TallyPeriod) -> String {
        let counts = self.counts.named();
        let total: u64 = counts.iter().map(|(count, _)| count).sum();
        let kind = if watched.abnormal_only {
            "abnormal "
        } else {
            ""
        };
        let mut words = "in ".to_owned();
        push_with_unit(&mut words, watched.lasted);
        let closes = plural(total, "close", "closes");
        let _ = write!(words, ": {} {kind}{closes}", grouped(total));
        let mut separator = ": ";
        for (count, name) in counts.into_iter().filter(|(count, _)| *count > 0) {
            let _ = write!(words, "{separator}{} {name}", grouped(count));
            separator = ", ";
        }
        match watched.lost {
            0 => words.push_str("; nothing lost"),
            lost => {
                let _ = write!(words, "; {} lost (see above)", grouped(lost));
            }
        }
        let mut text = String::new();
        push_paragraph(&mut text, "", "  ", &words, TEXT_WIDTH);
        text
    }

    /// `python3 7524 → 127.0.0.1:8088 (nginx 24311)`, `nginx 24311 :443 ← 10.0.0.7 (curl)`
    fn who(&self, endpoint: &Endpoint, owner: Option<&SharedOwner>) -> String {
        let symbols = self.symbols;
        let mut text = String::new();
        match owner {
            Some(owner) => push_owner(&mut text, owner, symbols),
            None => text.push_str("unknown process"),
        }
        let (local, peer) = (endpoint.tuple.local(), endpoint.tuple.peer());
        let _ = match endpoint.role {
            Role::Client => write!(text, " {} {peer}", symbols.connected()),
            Role::Server => {
                let arrow = symbols.accepted();
                write!(text, " :{} {arrow} {}", local.port(), peer.ip())
            }
            Role::Unknown => write!(text, " {local} {} {peer}", symbols.unknown_role()),
        };
        if let Some(peer_owner) = &endpoint.peer_owner {
            text.push_str(" (");
            match endpoint.role {
                // Clients come and go: their numbers would make a group of each.
                Role::Server => text.push_str(&shown_comm(peer_owner, symbols)),
                Role::Client | Role::Unknown => push_owner(&mut text, peer_owner, symbols),
            }
            text.push(')');
        }
        text
    }
}

/// Returns a number with commas between groups of three digits: `1,204`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
