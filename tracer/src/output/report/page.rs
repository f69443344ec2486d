//! The page: verdicts first, then plots and tables, then examples.

use maud::{DOCTYPE, Markup, PreEscaped, html};
use strum::VariantArray as _;
use tcpclose_common::TcpState;
use tcpclose_core::finding::{Loss, TimeWaitEnd};
use tcpclose_core::summary::{DurationSketch, HeavyHitters};
use tcpclose_core::types::Nanos;

use super::facts::{Facts, Outcome, Waiting};
use super::histogram::Histogram;
use super::plot::{Plot, PlotBar};
use super::time_series::Bucket;
use crate::cgroup_names::CgroupNames;
use crate::output::clock::WallClock;
use crate::output::duration::push_with_unit;
use crate::output::leaks::{LeakTable, headline};
use crate::output::loss_message;
use crate::plural::plural;

/// The rows of a ranking.
const MAX_RANKED: usize = 20;
/// The styles of plots beside that of orderly closes.
const STYLES: usize = 9;
/// The page loads nothing from anywhere, and says so to the browser.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";
const STYLE: &str = include_str!("page.css");

/// Where the facts are from.
pub(crate) struct Source<'a> {
    /// The name of the recording.
    pub file: String,
    /// How it was recorded; `None` of JSON lines, which do not have that.
    pub recorded: Option<Recorded<'a>>,
    /// What a reader has to know: which parts are missing or broken.
    pub notes: Vec<String>,
}

/// The head of a recording.
#[derive(Clone, Copy)]
pub(crate) struct Recorded<'a> {
    /// The release of the kernel that was recorded.
    pub kernel: &'a str,
    /// The version that recorded it.
    pub program: &'a str,
    /// After which time in CLOSE_WAIT sockets counted as stuck, if they were looked for.
    pub stuck_after: Option<Nanos>,
}

/// Returns the whole page.
pub(crate) fn page(
    facts: &Facts,
    source: &Source<'_>,
    clock: &WallClock,
    cgroups: &mut dyn CgroupNames,
) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                title { "tcpclose report: " (source.file) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { "TCP closes in " (source.file) }
                (about(facts, source, clock))
                (verdicts(facts, source, cgroups))
                (closes(facts, clock))
                (durations(facts))
                (waiting(facts, clock))
                (rankings(facts))
                (examples(facts))
            }
        }
    };
    page.into_string()
}

fn about(facts: &Facts, source: &Source<'_>, clock: &WallClock) -> Markup {
    let closes = facts.closes();
    html! {
        p.about {
            @match facts.span {
                Some((first, last)) => {
                    (time(clock, first)) " to " (time(clock, last)) ", " (span(last - first)) ": "
                }
                None => { "Nothing happened: " }
            }
            (closes) " " (plural(closes, "close", "closes"))
            @match source.recorded {
                Some(head) => {
                    ". Recorded on Linux " (head.kernel) " by tcpclose " (head.program) "."
                }
                None => { ". Read from JSON lines." }
            }
        }
    }
}

fn verdicts(facts: &Facts, source: &Source<'_>, cgroups: &mut dyn CgroupNames) -> Markup {
    let abnormal = facts.abnormal.groups_text();
    let stuck_after = source.recorded.and_then(|head| head.stuck_after);
    let stuck = facts.stuck(stuck_after.unwrap_or(Nanos(0)));
    let stuck_lines = facts.stuck_lines();
    let unknown = facts.outcomes.get(&Outcome::Unknown).copied().unwrap_or(0);
    let losses: Vec<&Loss> = facts.losses.iter().flatten().collect();
    let is_whole = unknown == 0 && losses.is_empty() && source.notes.is_empty();
    html! {
        section {
            h2 { "Verdicts" }
            @if let Some(abnormal) = &abnormal {
                h3 { "Connections that closed abnormally" }
                pre { (abnormal) }
            }
            @if !stuck.sockets.is_empty() {
                h3 { "Sockets that were stuck when the recording ended" }
                pre {
                    (headline(&stuck)) "\n\n" (LeakTable::default().write(&stuck, cgroups))
                }
                @if facts.stuck_left_out > 0 {
                    p { (facts.stuck_left_out) " more stuck sockets are not listed." }
                }
            }
            @if !stuck_lines.is_empty() {
                h3 { "Sockets that were stuck when the JSON lines ended" }
                table {
                    thead { tr { th { "process, state and verdict" } th { "sockets" } } }
                    tbody {
                        @for (what, count) in stuck_lines.iter().take(MAX_RANKED) {
                            tr { th scope="row" { (what) } td { (count) } }
                        }
                    }
                }
                @let more: u64 = stuck_lines.iter().skip(MAX_RANKED).map(|it| it.1).sum();
                @if more + facts.stuck_left_out > 0 {
                    p { (more + facts.stuck_left_out) " more stuck sockets are not listed." }
                }
            }
            @if abnormal.is_none() && stuck.sockets.is_empty() && stuck_lines.is_empty() {
                p { "Nothing is wrong with the TCP closes in this file"
                    @if is_whole { "." } @else { ", as far as it was seen." } }
            }
            @if source.recorded.is_some() && stuck_after.is_none() {
                p { "Stuck sockets were not looked for." }
            }
            h3 { "What could not be seen" }
            @if is_whole {
                p { "Nothing was lost, and the path of every close is known." }
            } @else {
                ul {
                    @if unknown > 0 {
                        li { "The path of " (unknown) " " (plural(unknown, "close", "closes"))
                            " is unknown: each may have been abnormal." }
                    }
                    @for loss in losses {
                        li { (loss_message(loss)) @if loss.repaired { " (repaired)" } }
                    }
                    @for note in &source.notes { li { (note) } }
                }
            }
        }
    }
}

fn closes(facts: &Facts, clock: &WallClock) -> Markup {
    let mut ranked: Vec<(Outcome, u64)> = facts
        .outcomes
        .iter()
        .map(|(key, count)| (*key, *count))
        .collect();
    // Orderly closes lie below, the rest from the most frequent.
    ranked.sort_by_key(|&(outcome, count)| (outcome != Outcome::Orderly, u64::MAX - count));
    let kinds: Vec<Outcome> = ranked.iter().map(|(outcome, _)| *outcome).collect();
    let style = |(number, outcome): (usize, &Outcome)| match outcome {
        Outcome::Orderly => 0,
        _ => 1 + number.saturating_sub(usize::from(kinds[0] == Outcome::Orderly)) % STYLES,
    };
    let plot = Plot {
        title: "Closes over time, by how they ended",
        axis: "from",
        kinds: kinds
            .iter()
            .enumerate()
            .map(|kind| (kind.1.words(), style(kind)))
            .collect(),
        bars: time_bars(&facts.over_time.buckets(), &kinds, clock),
    };
    html! {
        section {
            h2 { "Closes" }
            p { "Each bar is " (span(facts.over_time.width())) "." }
            (plot.draw())
        }
    }
}

fn durations(facts: &Facts) -> Markup {
    let states = TcpState::VARIANTS.iter().zip(&facts.states);
    let states = states.map(|(state, sketch)| (<&str>::from(state), sketch));
    let ends = TimeWaitEnd::VARIANTS.iter().zip(&facts.time_waits);
    let ends: Vec<(String, &DurationSketch)> = ends
        .map(|(end, sketch)| (format!("TIME_WAIT, {end}"), sketch))
        .collect();
    let ends = ends.iter().map(|(name, sketch)| (name.as_str(), *sketch));
    let rows: Vec<_> = states
        .chain(ends)
        .filter(|row| row.1.stats().count > 0)
        .collect();
    html! {
        section {
            h2 { "Durations" }
            (spread_plot("How long connections lived", &facts.lifetimes))
            (spread_plot("How long they were silent before they closed: timeouts stand out", &facts.idle))
            @if !rows.is_empty() {
                h3 { "Time in each state" }
                table {
                    thead { tr {
                        @for title in ["state", "times", "half within", "90 % within", "longest"] {
                            th { (title) }
                        }
                    } }
                    tbody {
                        @for (name, sketch) in rows {
                            @let stats = sketch.stats();
                            tr {
                                th scope="row" { (name) }
                                td { (stats.count) }
                                @for value in [stats.p50, stats.p90, stats.max] {
                                    td { (value.map_or(String::new(), span)) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn waiting(facts: &Facts, clock: &WallClock) -> Markup {
    let plot = Plot {
        title: "Sockets that waited: TIME_WAIT (as far as its end was seen), and stuck",
        axis: "from",
        kinds: vec![("TIME_WAIT", 0), ("stuck", 1)],
        bars: time_bars(
            &facts.waiting.sums(),
            &[Waiting::TimeWait, Waiting::Stuck],
            clock,
        ),
    };
    html! { section { h2 { "TIME_WAIT and stuck sockets" } (plot.draw()) } }
}

fn rankings(facts: &Facts) -> Markup {
    html! {
        section {
            h2 { "Who closed most" }
            (ranking("Processes", "process", &facts.processes))
            (ranking("Peers", "→ this host connected, ← it accepted on that port", &facts.peers))
        }
    }
}

fn ranking(title: &str, what: &str, counts: &HeavyHitters<String>) -> Markup {
    let ranking = counts.ranking(MAX_RANKED);
    html! {
        h3 { (title) }
        table {
            thead { tr { th { (what) } th { "closes" } } }
            tbody {
                @for (name, count) in &ranking.top {
                    tr { th scope="row" { (name) } td { (count) } }
                }
                @if ranking.rest > 0 {
                    tr { th scope="row" { "all others" } td { (ranking.rest) } }
                }
            }
        }
    }
}

fn examples(facts: &Facts) -> Markup {
    html! {
        section {
            h2 { "One close of each kind" }
            @for (outcome, drawing) in &facts.examples {
                details open[*outcome != Outcome::Orderly] {
                    summary { (outcome.words()) }
                    pre { (drawing) }
                }
            }
        }
    }
}

fn spread_plot(title: &str, spread: &Histogram) -> Markup {
    let bars = spread.bars().into_iter().map(|bar| PlotBar {
        label: self::span(bar.from),
        counts: vec![bar.count],
    });
    let plot = Plot {
        title,
        axis: "from",
        kinds: vec![("connections", 0)],
        bars: bars.collect(),
    };
    plot.draw()
}

fn time_bars<K: Ord>(buckets: &[Bucket<K>], kinds: &[K], clock: &WallClock) -> Vec<PlotBar> {
    let bars = buckets.iter().map(|bucket| PlotBar {
        label: clock.time_of_day(bucket.start).to_string(),
        counts: kinds
            .iter()
            .map(|kind| {
                bucket
                    .counts
                    .get(kind)
                    .map_or(0, |count| (*count).max(0) as u64)
            })
            .collect(),
    });
    bars.collect()
}

/// Formats a time as `2026-01-31 12:00:00Z`.
fn time(clock: &WallClock, at: Nanos) -> String {
    let time = clock.rfc3339(at).to_string();
    let (date_and_time, _) = time.split_once('.').unwrap_or((&time, ""));
    format!("{}Z", date_and_time.replace('T', " "))
}

fn span(span: Nanos) -> String {
    let mut text = String::new();
    push_with_unit(&mut text, span);
    text
}
