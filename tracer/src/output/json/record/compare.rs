//! The `compare` record.

use serde::Serialize;

use super::parts::{Address, VERSION};
use crate::output::clock::{Rfc3339, WallClock};
use crate::output::compare::{self, Recorded, clock_offset};
use crate::pair_id::{PairId, PairKey};
use tcpclose_core::compare::{Group, Host, Interval, Pair, Report, Translation};
use tcpclose_core::types::Nanos;

/// What two recordings show together.
#[derive(Serialize)]
pub(in crate::output::json) struct Compare<'a> {
    v: u8,
    kind: &'static str,
    ts: Rfc3339,
    a: Source<'a>,
    b: Source<'a>,
    joined: u64,
    joined_by_address: u64,
    clocks: Clocks,
    verdicts: Vec<VerdictRecord<'a>>,
    translations: Vec<TranslationRecord>,
    notes: &'a [String],
    unseen: &'a [String],
}

#[derive(Serialize)]
struct Source<'a> {
    file: &'a str,
    from: Option<Rfc3339>,
    to: Option<Rfc3339>,
    closed: u64,
    open: u64,
    unpaired: u64,
    lost: u64,
}

#[derive(Serialize)]
struct Clocks {
    offset_ms: Option<Bounds>,
    drift_ppm: Option<Bounds>,
}

#[derive(Serialize)]
struct Bounds {
    low: f64,
    high: f64,
}

#[derive(Serialize)]
struct VerdictRecord<'a> {
    about: &'static str,
    at: &'static str,
    count: u64,
    what: &'a str,
    who: &'a str,
    why: &'a str,
    advice: &'a str,
    examples: Vec<Example>,
}

#[derive(Serialize)]
struct Example {
    pair: Option<PairId>,
    a: ExampleEnd,
    b: ExampleEnd,
}

#[derive(Serialize)]
struct ExampleEnd {
    id: u64,
    local: Address,
    peer: Address,
    closed: Option<Rfc3339>,
}

#[derive(Serialize)]
struct TranslationRecord {
    at: &'static str,
    own: Address,
    seen: Address,
    count: u64,
}

impl<'a> Compare<'a> {
    pub(in crate::output::json) fn new(
        compared: &'a compare::Compared,
        report: &'a Report,
        recorded: &'a [Recorded; 2],
        (clock, now): (&WallClock, Nanos),
        pair_key: PairKey,
    ) -> Self {
        let offset = clock_offset(report, recorded);
        let [a, b] = Host::BOTH.map(|host| source(report, recorded, host));
        Self {
            v: VERSION,
            kind: "compare",
            ts: clock.rfc3339(now),
            a,
            b,
            joined: report.joined,
            joined_by_address: report.by_address,
            clocks: Clocks {
                offset_ms: offset.map(|(offset, _)| bounds(offset, 1e-6, 1e4)),
                drift_ppm: offset.and_then(|(_, drift)| Some(bounds(drift?, 1.0, 1e3))),
            },
            verdicts: compared
                .verdicts
                .iter()
                .zip(&report.groups)
                .map(|(words, group)| verdict(words, group, recorded, pair_key))
                .collect(),
            translations: report.translations.iter().map(translation).collect(),
            notes: &compared.notes,
            unseen: &compared.unseen,
        }
    }
}

fn source<'a>(report: &Report, recorded: &'a [Recorded; 2], host: Host) -> Source<'a> {
    let Recorded { file, clock, .. } = &recorded[host.index()];
    let ends = &report.ends[host.index()];
    let span = report.spans[host.index()];
    Source {
        file,
        from: span.map(|(from, _)| clock.rfc3339(from)),
        to: span.map(|(_, to)| clock.rfc3339(to)),
        closed: ends.closed,
        open: ends.open,
        unpaired: ends.alone,
        lost: ends.lost,
    }
}

/// Returns an interval in another unit, rounded outwards to so many parts of it.
fn bounds(Interval { low, high }: Interval, unit: f64, parts: f64) -> Bounds {
    Bounds {
        low: (low * unit * parts).floor() / parts,
        high: (high * unit * parts).ceil() / parts,
    }
}

fn verdict<'a>(
    words: &'a compare::ComparedVerdict,
    group: &Group,
    recorded: &[Recorded; 2],
    pair_key: PairKey,
) -> VerdictRecord<'a> {
    let compare::ComparedVerdict {
        verdict,
        count,
        what,
        who,
        why,
        advice,
    } = words;
    VerdictRecord {
        about: verdict.kind.into(),
        at: verdict.at.into(),
        count: *count,
        what,
        who,
        why,
        advice,
        examples: group
            .examples
            .iter()
            .map(|pair| example(pair, recorded, pair_key))
            .collect(),
    }
}

fn example(pair: &Pair, recorded: &[Recorded; 2], pair_key: PairKey) -> Example {
    let numbers = Host::BOTH.map(|host| pair.end(host).endpoint().initial);
    let [a, b] = Host::BOTH.map(|host| {
        let end = pair.end(host);
        let endpoint = end.endpoint();
        let clock = &recorded[host.index()].clock;
        ExampleEnd {
            id: endpoint.id.0,
            local: endpoint.tuple.local().into(),
            peer: endpoint.tuple.peer().into(),
            closed: end.close().map(|close| clock.rfc3339(close.at)),
        }
    });
    Example {
        pair: numbers
            .into_iter()
            .flatten()
            .next()
            .map(|initial| PairId::new(initial, pair_key)),
        a,
        b,
    }
}

fn translation(translation: &Translation) -> TranslationRecord {
    let Translation {
        host,
        own,
        seen,
        count,
    } = *translation;
    TranslationRecord {
        at: match host {
            Host::A => "a",
            Host::B => "b",
        },
        own: own.into(),
        seen: seen.into(),
        count,
    }
}
