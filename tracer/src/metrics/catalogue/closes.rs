//! Connections that open and close.

use super::points::{CONNECTIONS, count};
use crate::metrics::label::Label;
use crate::metrics::metric::{Measure, Metric, Points};
use crate::metrics::number::Number;
use crate::metrics::snapshot::Snapshot;

pub(super) const METRICS: &[Metric] = &[
    Metric::new(
        "tcpclose.opened",
        CONNECTIONS,
        "Connection ends that became established.",
        &[],
        Measure::Counter(|snapshot| count(snapshot.opened)),
    ),
    Metric::new(
        "tcpclose.closes",
        CONNECTIONS,
        "Connection ends that closed, by the path they took and who sent the first FIN or RST.",
        &["path", "initiator"],
        Measure::Counter(closes),
    ),
    Metric::new(
        "tcpclose.resets",
        CONNECTIONS,
        "Connection ends that were reset, by who sent the RST and why.",
        &["by", "reason"],
        Measure::Counter(resets),
    ),
    Metric::new(
        "tcpclose.time_wait.ends",
        CONNECTIONS,
        "TIME_WAITs that are over, by how they ended.",
        &["end"],
        Measure::Counter(time_wait_ends),
    ),
];

fn closes(snapshot: &Snapshot) -> Points<Number> {
    let closes = snapshot.totals.closes.iter();
    let points = closes.map(|((path, initiator), count)| {
        let labels = vec![Label::Path(path), Label::Initiator(initiator)];
        (labels, Number::Count(count))
    });
    points.collect()
}

fn resets(snapshot: &Snapshot) -> Points<Number> {
    let resets = snapshot.totals.resets.iter();
    let points = resets.map(|((by, reason), count)| {
        let labels = vec![Label::ResetBy(by), Label::ResetReason(reason)];
        (labels, Number::Count(count))
    });
    points.collect()
}

fn time_wait_ends(snapshot: &Snapshot) -> Points<Number> {
    let ends = snapshot.totals.time_wait_ends.iter();
    ends.map(|(end, count)| (vec![Label::TimeWaitEnd(end)], Number::Count(count)))
        .collect()
}
