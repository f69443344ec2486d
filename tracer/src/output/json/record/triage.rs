//! The `triage` record.

use serde::Serialize;

use super::parts::VERSION;
use crate::output::clock::{Rfc3339, WallClock};
use crate::output::duration::rounded_ms;
use crate::output::triage;

/// Everything that is wrong with TCP closes on this host.
#[derive(Serialize)]
pub(in crate::output::json) struct Triage<'a> {
    v: u8,
    kind: &'static str,
    ts: Rfc3339,
    watched_ms: Option<f64>,
    closes: Option<u64>,
    verdicts: Vec<VerdictRecord<'a>>,
    more: &'a [String],
    unseen: &'a [String],
}

#[derive(Serialize)]
struct VerdictRecord<'a> {
    about: &'static str,
    count: u64,
    what: &'a str,
    who: &'a [String],
    why: Option<&'a str>,
    advice: Option<&'a str>,
    command: &'a str,
}

impl<'a> Triage<'a> {
    pub(in crate::output::json) fn new(triage: &'a triage::Triage, clock: &WallClock) -> Self {
        let triage::Triage {
            at,
            span,
            closes,
            verdicts,
            more,
            unseen,
        } = triage;
        Self {
            v: VERSION,
            kind: "triage",
            ts: clock.rfc3339(*at),
            watched_ms: span.map(rounded_ms),
            closes: *closes,
            verdicts: verdicts.iter().map(VerdictRecord::new).collect(),
            more,
            unseen,
        }
    }
}

impl<'a> VerdictRecord<'a> {
    fn new(verdict: &'a triage::TriageVerdict) -> Self {
        let triage::TriageVerdict {
            about,
            count,
            what,
            who,
            why,
            advice,
            command,
        } = verdict;
        Self {
            about: about.into(),
            count: *count,
            what,
            who,
            why: why.as_deref(),
            advice: advice.as_deref(),
            command,
        }
    }
}
