//! Connections that open and close.

use super::points::{CONNECTIONS, count, counts};
use crate::metrics::label::Label;
use crate::metrics::metric::{Instrument, Metric};

pub(super) const METRICS: &[Metric] = &[
    Metric::new(
        "tcpclose.opened",
        CONNECTIONS,
        "Endpoints that became established.",
        &[],
        Instrument::Counter(|snapshot| count(snapshot.opened)),
    ),
    Metric::new(
        "tcpclose.closes",
        CONNECTIONS,
        "Endpoints that closed, by the path they took and who sent the first FIN or RST.",
        &["path", "initiator"],
        Instrument::Counter(|snapshot| {
            counts(&snapshot.totals.closes, |(path, initiator)| {
                vec![Label::Path(path), Label::Initiator(initiator)]
            })
        }),
    ),
    Metric::new(
        "tcpclose.abnormal_closes",
        CONNECTIONS,
        "Endpoints that closed abnormally (reset, timeout, destroyed, connect failed), by cause.",
        &["cause"],
        Instrument::Counter(|snapshot| {
            counts(&snapshot.totals.causes, |cause| vec![Label::Cause(cause)])
        }),
    ),
    Metric::new(
        "tcpclose.resets",
        CONNECTIONS,
        "Endpoints that were reset, by who sent the RST and why.",
        &["sender", "reason"],
        Instrument::Counter(|snapshot| {
            counts(&snapshot.totals.resets, |(sender, reason)| {
                vec![Label::ResetSender(sender), Label::ResetReason(reason)]
            })
        }),
    ),
    Metric::new(
        "tcpclose.time_wait.ends",
        CONNECTIONS,
        "TIME_WAITs that are over, by how they ended.",
        &["reason"],
        Instrument::Counter(|snapshot| {
            counts(&snapshot.totals.time_wait_ends, |end| {
                vec![Label::TimeWaitEnd(end)]
            })
        }),
    ),
];
