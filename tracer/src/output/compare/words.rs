//! What two recordings show, in words that the screen and the JSON share.

use std::fmt::Write as _;

use tcpclose_core::compare::{
    Alignment, Clocks, Host, Interval, MAX_WAITING, Report, Translation, Unaligned,
};
use tcpclose_core::types::Nanos;

use super::verdict_text::ComparedVerdict;
use crate::output::clock::WallClock;
use crate::output::close_tally::grouped;
use crate::output::duration::push_with_unit;
use crate::plural::plural;
use crate::recording::{Head, RecordedTier};

/// What is known of one recording.
#[derive(Clone, Debug)]
pub(crate) struct Recorded {
    /// The file's name, escaped for the terminal.
    pub file: String,
    /// The wall clock of the host.
    pub clock: WallClock,
    /// What it adds to the host's times.
    pub wall: i64,
    pub head: Head,
    /// Sentences about the parts that could not be read.
    pub damage: Vec<String>,
}

/// A comparison in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Compared {
    /// What each recording has.
    pub sources: [String; 2],
    /// How many connections were joined.
    pub joined: String,
    /// What is known of the clocks.
    pub clocks: String,
    pub verdicts: Vec<ComparedVerdict>,
    /// Addresses that are others at the other end.
    pub translations: Vec<String>,
    /// What is worth knowing.
    pub notes: Vec<String>,
    /// What could not be compared.
    pub unseen: Vec<String>,
    pub is_filtered: bool,
}

impl Compared {
    pub fn new(report: &Report, recorded: &[Recorded; 2], is_filtered: bool) -> Self {
        // An endpoint that both have may be compared with itself.
        let is_one_host = report.same_endpoints > 0;
        let verdicts = report.groups.iter().filter(|_| !is_one_host);
        Self {
            sources: Host::BOTH.map(|host| source(report, recorded, host)),
            joined: joined(report),
            clocks: clocks(report, recorded),
            verdicts: verdicts.map(ComparedVerdict::from).collect(),
            translations: report.translations.iter().map(translation).collect(),
            notes: notes(report, recorded),
            unseen: unseen(report, recorded),
            is_filtered,
        }
    }

    pub const fn has_found(&self) -> bool {
        !self.verdicts.is_empty()
    }

    pub const fn is_complete(&self) -> bool {
        self.unseen.is_empty()
    }
}

fn source(report: &Report, recorded: &[Recorded; 2], host: Host) -> String {
    let Recorded { file, clock, .. } = &recorded[host.index()];
    let counts = &report.ends[host.index()];
    let mut text = file.clone();
    if let Some((from, to)) = report.spans[host.index()] {
        let (from, to) = (clock.time_of_day(from), clock.time_of_day(to));
        let _ = write!(text, ", {from} to {to}");
    }
    let (closed, open) = (counts.closed, counts.open);
    let endpoints = plural(closed, "endpoint", "endpoints");
    let _ = write!(
        text,
        ", {} {endpoints} closed, {} open at its end",
        grouped(closed),
        grouped(open)
    );
    text
}

fn joined(report: &Report) -> String {
    let joined = report.joined;
    let are = plural(joined, "connection is", "connections are");
    format!("{} {are} in both recordings", grouped(joined))
}

/// Returns B's wall clock minus A's where that is known best, and the drift.
pub(crate) fn clock_offset(
    report: &Report,
    recorded: &[Recorded; 2],
) -> Option<(Interval, Option<Interval>)> {
    let Alignment::Known(clocks) = &report.alignment else {
        return None;
    };
    let (_, offset) = clocks.offset();
    let walls = (recorded[1].wall as f64) - (recorded[0].wall as f64);
    let wall_offset = Interval {
        low: offset.low + walls,
        high: offset.high + walls,
    };
    Some((wall_offset, clocks.drift_ppm()))
}

fn clocks(report: &Report, recorded: &[Recorded; 2]) -> String {
    let why = match &report.alignment {
        Alignment::Known(clocks) => return known_clocks(report, recorded, clocks),
        Alignment::Unknown(Unaligned::NothingShown) => {
            "no connection shows when a segment was sent at one end and received at the other"
        }
        Alignment::Unknown(Unaligned::OneDirection) => {
            "connections show the times of segments in one direction only"
        }
        Alignment::Unknown(Unaligned::Contradiction) => {
            "no two clocks that run at the same speed show such times: a host was suspended, or a \
             recording was put together from two"
        }
    };
    format!("how B's clock stands to A's is unknown: {why}")
}

fn known_clocks(report: &Report, recorded: &[Recorded; 2], clocks: &Clocks) -> String {
    let Some((Interval { low, high }, drift)) = clock_offset(report, recorded) else {
        return String::new();
    };
    let mut text = "B's clock ".to_owned();
    if low <= 0.0 && high >= 0.0 {
        text.push_str("and A's agree to within ");
        push_with_unit(&mut text, nanos(high.max(-low)));
    } else {
        let (middle, error) = (f64::midpoint(low, high), (high - low) / 2.0);
        text.push_str("is ");
        push_with_unit(&mut text, nanos(middle.abs()));
        text.push_str(if middle < 0.0 { " behind" } else { " ahead of" });
        text.push_str(" A's, to within ");
        push_with_unit(&mut text, nanos(error));
    }
    let shown_by = clocks.connections();
    let _ = write!(
        text,
        " ({} {})",
        grouped(shown_by),
        plural(shown_by, "connection", "connections")
    );
    match drift {
        Some(Interval { low, high }) => {
            let _ = write!(text, "; it gains {low:.1} to {high:.1} ppm");
        }
        None => text.push_str("; how fast it drifts is not known"),
    }
    text
}

fn nanos(ns: f64) -> Nanos {
    Nanos(ns.max(0.0) as u64)
}

/// `NAT: A's 10.0.0.5:40112 is 198.51.100.7:2231 at B`
fn translation(translation: &Translation) -> String {
    let Translation {
        host,
        own,
        seen,
        count,
    } = translation;
    let connections = plural(*count, "connection", "connections");
    format!(
        "NAT: {own} at {host} is {seen} at {} ({} {connections})",
        host.other(),
        grouped(*count)
    )
}

fn notes(report: &Report, recorded: &[Recorded; 2]) -> Vec<String> {
    let mut notes = Vec::new();
    let [a, b] = recorded;
    if a.head.program != b.head.program {
        notes.push(format!(
            "A was recorded by tcpclose {}, B by {}",
            a.head.program, b.head.program
        ));
    }
    let by_address = report.by_address;
    if by_address > 0 {
        notes.push(format!(
            "{} {} joined by addresses and the hosts' own clocks alone, as nothing else fits: one \
             endpoint has no pair id (a kernel before 5.12, Fast Open, or opened before the recording)",
            grouped(by_address),
            plural(by_address, "connection was", "connections were")
        ));
    }
    for host in Host::BOTH {
        let missing = report.ends[host.index()].missing;
        if missing > 0 {
            let other = host.other();
            notes.push(format!(
                "{} of {host}'s ends {} to an address of {other} and {} no end in {other}: \
                 something between answers for it, or {other} did not record it",
                grouped(missing),
                plural(missing, "leads", "lead"),
                plural(missing, "has", "have")
            ));
        }
    }
    if report.other_verdicts > 0 {
        notes.push(format!(
            "{} more verdicts are about other programs",
            grouped(report.other_verdicts)
        ));
    }
    notes
}

fn unseen(report: &Report, recorded: &[Recorded; 2]) -> Vec<String> {
    let mut unseen = Vec::new();
    let same = report.same_endpoints;
    if same > 0 {
        unseen.push(format!(
            "{} {} in both recordings: they recorded the same network namespaces, so nothing is \
             claimed. Record each host alone, or each namespace with --netns; `tcpclose explain \
             --replay FILE` joins both endpoints within one recording",
            grouped(same),
            plural(same, "end is", "ends are")
        ));
    }
    for host in Host::BOTH {
        let counts = &report.ends[host.index()];
        if counts.closed + counts.open == 0 {
            unseen.push(format!("{host} has no connection at all"));
        }
        if recorded[host.index()].head.seen == RecordedTier::Classic {
            unseen.push(format!(
                "{host} was recorded with the classic tracepoint, which shows no sequence numbers: \
                 its ends have no pair ids, and most closes no path"
            ));
        }
    }
    if report.joined == 0 && report.ends.iter().all(|ends| ends.closed + ends.open > 0) {
        unseen.push(format!(
            "no connection is in both recordings{}",
            apart(report, recorded)
        ));
    }
    for host in Host::BOTH {
        let counts = &report.ends[host.index()];
        if counts.lost > 0 {
            unseen.push(format!("{host} lost records ({})", grouped(counts.lost)));
        }
        if counts.dropped > 0 {
            unseen.push(format!(
                "{} of {host}'s ends were given up before their other end came: at most {} wait \
                 that closed orderly, and as many others",
                grouped(counts.dropped),
                grouped(MAX_WAITING as u64)
            ));
        }
        let damage = recorded[host.index()].damage.iter();
        unseen.extend(damage.map(|sentence| format!("{host}: {sentence}")));
    }
    for (count, why) in [
        (report.unproven_by_clocks, "the clocks cannot be compared"),
        (
            report.unproven_by_losses,
            "records of that time may be among those that were lost",
        ),
    ] {
        if count > 0 {
            unseen.push(format!(
                "of {} {} nothing is claimed, as {why}",
                grouped(count),
                plural(count, "connection", "connections")
            ));
        }
    }
    unseen
}

/// Returns how the times of the two recordings differ, where they do not overlap.
fn apart(report: &Report, recorded: &[Recorded; 2]) -> String {
    let [Some(a), Some(b)] = report.spans else {
        return String::new();
    };
    let wall = |at: Nanos, host: usize| i128::from(at.0) + i128::from(recorded[host].wall);
    let gap = (wall(b.0, 1) - wall(a.1, 0)).max(wall(a.0, 0) - wall(b.1, 1));
    let Some(gap) = u64::try_from(gap).ok().filter(|gap| *gap > 0) else {
        return String::new();
    };
    let mut text = ", and by the hosts' own clocks ".to_owned();
    push_with_unit(&mut text, Nanos(gap));
    text.push_str(" lie between the end of one and the beginning of the other");
    text
}
