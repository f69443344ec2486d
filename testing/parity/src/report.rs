//! What is printed of a comparison.

use std::collections::HashMap;
use std::fmt::Write as _;

use tcpclose_parity::closing::Closing;
use tcpclose_parity::record::Record;
use tcpclose_parity::segment::Endpoint;
use tcpclose_parity::tshark::Stream;
use tcpclose_parity::verdict::{Judgement, Numbers, Severity, Verdict};

use crate::moves::Kind;

/// One end of one connection, compared.
pub struct Compared {
    /// What the workload did.
    pub kind: Kind,
    /// The number of its plan.
    pub plan: usize,
    /// Which end.
    pub end: Endpoint,
    /// The connection, captured at that end.
    pub stream: Stream,
    /// What tcpclose told.
    pub record: Option<Record>,
    /// What came of it. Without a record there is none.
    pub judgement: Option<Judgement>,
}

/// Counts of ends.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    ends: usize,
    matched: usize,
    unknown: usize,
    misjudged: usize,
    wrong: usize,
    missing: usize,
    initiator_and_path: usize,
    complete: usize,
    numbers: Numbers,
}

impl Tally {
    fn add(&mut self, compared: &Compared) {
        self.ends += 1;
        let Some(judgement) = &compared.judgement else {
            self.missing += 1;
            return;
        };
        match judgement.verdict() {
            Verdict::Matched => self.matched += 1,
            Verdict::Unknown => self.unknown += 1,
            Verdict::Misjudged => self.misjudged += 1,
            Verdict::Wrong => self.wrong += 1,
        }
        self.initiator_and_path += usize::from(judgement.knows_initiator_and_path());
        let complete = judgement.verdict() == Verdict::Matched && judgement.numbers.null == 0;
        self.complete += usize::from(complete);
        self.numbers.reported += judgement.numbers.reported;
        self.numbers.null += judgement.numbers.null;
    }

    fn line(&self) -> String {
        let Self {
            ends,
            matched,
            unknown,
            misjudged,
            wrong,
            missing,
            ..
        } = self;
        format!("{ends:>7} {matched:>8} {unknown:>8} {misjudged:>10} {wrong:>6} {missing:>8}")
    }
}

/// All that is compared, and what was reported without having been captured.
#[derive(Default)]
pub struct Report {
    /// Every end that had a socket and whose close is over.
    pub ends: Vec<Compared>,
    /// Records without a connection.
    pub strays: Vec<Record>,
    /// Ends that cannot be judged: the next connection with the same ports began before they were closed.
    pub cut_short: usize,
    /// Records of connections that failed before anything was sent.
    pub unsent: usize,
}

impl Report {
    /// Whether anything that tcpclose claimed is wrong.
    pub fn is_wrong(&self) -> bool {
        let wrong = |end: &Compared| {
            let judgement = end.judgement.as_ref();
            judgement.is_some_and(|judgement| judgement.verdict() == Verdict::Wrong)
        };
        !self.strays.is_empty() || self.ends.iter().any(wrong)
    }

    /// Everything from `from` on in full, then the tables.
    pub fn text(&self, from: Verdict) -> String {
        let mut text = String::new();
        for end in &self.ends {
            let shown = match &end.judgement {
                Some(judgement) => judgement.verdict() >= from.max(Verdict::Unknown),
                None => true,
            };
            if shown {
                text += &in_full(end);
            }
        }
        for stray in &self.strays {
            let _ = writeln!(text, "told, but not captured: {}\n", stray.line);
        }
        text + &self.kinds() + &self.differences() + &self.totals()
    }

    fn kinds(&self) -> String {
        let mut text = format!(
            "{:20} {:>7} {:>8} {:>8} {:>10} {:>6} {:>8}\n",
            "", "ends", "matched", "unknown", "misjudged", "wrong", "missing"
        );
        let mut all = Tally::default();
        for kind in Kind::ALL {
            let mut tally = Tally::default();
            for end in self.ends.iter().filter(|end| end.kind == kind) {
                tally.add(end);
                all.add(end);
            }
            let _ = writeln!(text, "{kind:20} {}", tally.line());
        }
        let _ = writeln!(text, "{:20} {}", "all", all.line());
        text
    }

    /// What differs, the most frequent first.
    fn differences(&self) -> String {
        let mut counts: HashMap<String, usize> = HashMap::new();
        for judgement in self.ends.iter().filter_map(|end| end.judgement.as_ref()) {
            for difference in &judgement.differences {
                let severity = match difference.severity {
                    Severity::NotReported => "unknown",
                    Severity::Misjudged => "misjudged",
                    Severity::Wrong => "wrong",
                };
                let mut what = format!("{severity}: {}", difference.about);
                if let Some(step) = difference.step {
                    let _ = write!(what, " of {step}");
                }
                // Words are few; numbers are all different.
                let is_word = |text: &str| text.chars().all(|letter| !letter.is_ascii_digit());
                if is_word(&difference.captured) && is_word(&difference.recorded) {
                    let _ = write!(
                        what,
                        ": {} told as {}",
                        difference.captured, difference.recorded
                    );
                }
                *counts.entry(what).or_default() += 1;
            }
        }
        let mut counts: Vec<_> = counts.into_iter().collect();
        counts.sort_by(|(a, many), (b, more)| more.cmp(many).then(a.cmp(b)));
        let mut text = String::new();
        for (what, count) in counts {
            let _ = writeln!(text, "{count:>7} {what}");
        }
        text
    }

    fn totals(&self) -> String {
        let mut all = Tally::default();
        for end in &self.ends {
            all.add(end);
        }
        let share = |part: usize, whole: usize| 100.0 * part as f64 / whole.max(1) as f64;
        let Numbers { reported, null } = all.numbers;
        format!(
            "matched in everything: {:.2}% of {} ends ({:.2}% with no number left out)\n\
             initiator and path known and right: {:.2}%\n\
             unknown: {:.2}%; seq and ack of steps: {reported} told, {null} null ({:.2}%)\n\
             wrong: {}; told without a capture: {}; missing: {}\n\
             not judged: {} cut short by the next connection with the same ports, {} failed before anything was sent\n",
            share(all.matched, all.ends),
            all.ends,
            share(all.complete, all.ends),
            share(all.initiator_and_path, all.ends),
            share(all.unknown, all.ends),
            share(null, reported + null),
            all.wrong,
            self.strays.len(),
            all.missing,
            self.cut_short,
            self.unsent,
        )
    }
}

/// Both sides of one end.
fn in_full(end: &Compared) -> String {
    let Compared {
        kind,
        plan,
        end,
        stream,
        record,
        judgement,
    } = end;
    let verdict = match judgement.as_ref().map(Judgement::verdict) {
        None => "missing",
        Some(Verdict::Matched) => "matched",
        Some(Verdict::Unknown) => "unknown",
        Some(Verdict::Misjudged) => "misjudged",
        Some(Verdict::Wrong) => "WRONG",
    };
    let mut text = format!("{verdict}: {end} of plan {plan} ({kind})\n");
    for difference in judgement
        .iter()
        .flat_map(|judgement| &judgement.differences)
    {
        let _ = writeln!(text, "  {difference}");
    }
    let (client, server) = (stream.client, stream.server);
    let _ = writeln!(
        text,
        "  captured at the {end}: client {client}, server {server}"
    );
    for frame in &stream.frames {
        let _ = writeln!(text, "  {frame}");
    }
    let closing = Closing::at(&stream.segments(), *end);
    let path = closing.path().unwrap_or("not closed");
    let _ = writeln!(text, "  that is: {path}: {closing}");
    match record {
        Some(record) => {
            let _ = writeln!(text, "  recorded: {}\n", record.line);
        }
        None => text += "  recorded: nothing\n\n",
    }
    text
}
