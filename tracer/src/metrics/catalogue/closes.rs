//! Connections that open and close.

use super::points::{CONNECTIONS, count, counts};
use crate::metrics::label::Label;
use crate::metrics::metric::{Measure, Metric};

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
        Measure::Counter(|snapshot| {
            counts(&snapshot.totals.closes, |(path, initiator)| {
                vec![Label::Path(path), Label::Initiator(initiator)]
            })
        }),
    ),
    Metric::new(
        "tcpclose.resets",
        CONNECTIONS,
        "Connection ends that were reset, by who sent the RST and why.",
        &["by", "reason"],
        Measure::Counter(|snapshot| {
            counts(&snapshot.totals.resets, |(by, reason)| {
                vec![Label::ResetBy(by), Label::ResetReason(reason)]
            })
        }),
    ),
    Metric::new(
        "tcpclose.time_wait.ends",
        CONNECTIONS,
        "TIME_WAITs that are over, by how they ended.",
        &["end"],
        Measure::Counter(|snapshot| {
            counts(&snapshot.totals.time_wait_ends, |end| {
                vec![Label::TimeWaitEnd(end)]
            })
        }),
    ),
];
