//! The printed report of a comparison.

use std::collections::HashMap;
use std::fmt::Write as _;

use tcpclose_parity::closing::Closing;
use tcpclose_parity::record::Record;
use tcpclose_parity::segment::Endpoint;
use tcpclose_parity::tshark::Stream;
use tcpclose_parity::verdict::{Judgement, SequenceNumbers, Severity, Verdict};

/// One endpoint of one connection, compared.
pub struct ComparedEndpoint {
    /// What the workload did.
    pub kind: &'static str,
    /// The number of its plan.
    pub plan: usize,
    /// Which endpoint.
    pub endpoint: Endpoint,
    /// The connection, captured at that endpoint.
    pub stream: Stream,
    /// What tcpclose reported.
    pub record: Option<Record>,
    /// The result; `None` without a record.
    pub judgement: Option<Judgement>,
}

/// Counts of ends.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    endpoints: usize,
    matched: usize,
    unknown: usize,
    misjudged: usize,
    wrong: usize,
    missing: usize,
    initiator_and_path: usize,
    complete: usize,
    numbers: SequenceNumbers,
}

impl Tally {
    fn add(&mut self, compared: &ComparedEndpoint) {
        self.endpoints += 1;
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
            endpoints,
            matched,
            unknown,
            misjudged,
            wrong,
            missing,
            ..
        } = self;
        format!("{endpoints:>9} {matched:>8} {unknown:>8} {misjudged:>10} {wrong:>6} {missing:>8}")
    }
}

/// All that is compared, and what was reported without having been captured.
#[derive(Default)]
pub struct Report {
    /// The kinds of closes, in the order of the table.
    kinds: Vec<&'static str>,
    /// Every endpoint that had a socket and whose close is over.
    pub endpoints: Vec<ComparedEndpoint>,
    /// Records without a connection.
    pub strays: Vec<Record>,
    /// Ends that cannot be judged: the next connection with the same ports began before they were
    /// closed.
    pub cut_short: usize,
    /// Records of connections that failed before anything was sent.
    pub unsent: usize,
}

impl Report {
    /// Begins with nothing compared.
    pub fn new(kinds: Vec<&'static str>) -> Self {
        Self {
            kinds,
            ..Self::default()
        }
    }

    /// Returns whether anything that tcpclose claimed is wrong.
    pub fn is_wrong(&self) -> bool {
        let wrong = |endpoint: &ComparedEndpoint| {
            let judgement = endpoint.judgement.as_ref();
            judgement.is_some_and(|judgement| judgement.verdict() == Verdict::Wrong)
        };
        !self.strays.is_empty() || self.endpoints.iter().any(wrong)
    }

    /// Everything from `from` on in full, then the tables.
    pub fn text(&self, from: Verdict) -> String {
        let mut text = String::new();
        for endpoint in &self.endpoints {
            let shown = match &endpoint.judgement {
                Some(judgement) => judgement.verdict() >= from.max(Verdict::Unknown),
                None => true,
            };
            if shown {
                text += &in_full(endpoint);
            }
        }
        for stray in &self.strays {
            let _ = writeln!(text, "reported, but not captured: {}\n", stray.line);
        }
        text + &self.by_kind() + &self.differences() + &self.totals()
    }

    fn by_kind(&self) -> String {
        let mut text = format!(
            "{:20} {:>9} {:>8} {:>8} {:>10} {:>6} {:>8}\n",
            "", "endpoints", "matched", "unknown", "misjudged", "wrong", "missing"
        );
        let mut all = Tally::default();
        for &kind in &self.kinds {
            let mut tally = Tally::default();
            for endpoint in self
                .endpoints
                .iter()
                .filter(|endpoint| endpoint.kind == kind)
            {
                tally.add(endpoint);
                all.add(endpoint);
            }
            let _ = writeln!(text, "{kind:20} {}", tally.line());
        }
        let _ = writeln!(text, "{:20} {}", "all", all.line());
        text
    }

    /// What differs, the most frequent first.
    fn differences(&self) -> String {
        let mut counts: HashMap<String, usize> = HashMap::new();
        for judgement in self
            .endpoints
            .iter()
            .filter_map(|endpoint| endpoint.judgement.as_ref())
        {
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
                        ": {} reported as {}",
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
        for endpoint in &self.endpoints {
            all.add(endpoint);
        }
        let share = |part: usize, whole: usize| 100.0 * part as f64 / whole.max(1) as f64;
        let SequenceNumbers { reported, null } = all.numbers;
        format!(
            "matched in everything: {:.2}% of {} endpoints ({:.2}% with no number left out)\n\
             initiator and path known and right: {:.2}%\n\
             unknown: {:.2}%; seq and ack of steps: {reported} reported, {null} null ({:.2}%)\n\
             wrong: {}; reported without a capture: {}; missing: {}\n\
             not judged: {} cut short by the next connection with the same ports, {} failed before anything was sent\n",
            share(all.matched, all.endpoints),
            all.endpoints,
            share(all.complete, all.endpoints),
            share(all.initiator_and_path, all.endpoints),
            share(all.unknown, all.endpoints),
            share(null, reported + null),
            all.wrong,
            self.strays.len(),
            all.missing,
            self.cut_short,
            self.unsent,
        )
    }
}

/// Both sides of one endpoint.
fn in_full(endpoint: &ComparedEndpoint) -> String {
    let ComparedEndpoint {
        kind,
        plan,
        endpoint,
        stream,
        record,
        judgement,
    } = endpoint;
    let verdict = match judgement.as_ref().map(Judgement::verdict) {
        None => "missing",
        Some(Verdict::Matched) => "matched",
        Some(Verdict::Unknown) => "unknown",
        Some(Verdict::Misjudged) => "misjudged",
        Some(Verdict::Wrong) => "WRONG",
    };
    let mut text = format!("{verdict}: {endpoint} of plan {plan} ({kind})\n");
    for difference in judgement
        .iter()
        .flat_map(|judgement| &judgement.differences)
    {
        let _ = writeln!(text, "  {difference}");
    }
    let (client, server) = (stream.client, stream.server);
    let _ = writeln!(
        text,
        "  captured at the {endpoint}: client {client}, server {server}"
    );
    for frame in &stream.frames {
        let _ = writeln!(text, "  {frame}");
    }
    let closing = Closing::at(&stream.segments(), *endpoint);
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
