//! Stuck sockets.

use tcpclose_core::summary::{StuckOwner, StuckSummary};

use super::points::{CONNECTIONS, CONNECTIONS_PER_SECOND, count, measured, peers};
use crate::metrics::label::{Label, PROCESS_LABEL, ProcessName};
use crate::metrics::metric::{ExportFormat, Instrument, Labels, Metric, Points};
use crate::metrics::number::{Merge, Number};
use crate::metrics::snapshot::MetricsSnapshot;

pub(super) const METRICS: &[Metric] = &[
    Metric::new(
        "tcpclose.stuck.sockets",
        CONNECTIONS,
        "Sockets that have been stuck in their state for stuck_after.",
        &[],
        Instrument::Gauge(|snapshot| stuck(snapshot, |stuck| count(stuck.total()))),
    ),
    Metric::new(
        "tcpclose.stuck.states",
        CONNECTIONS,
        "Stuck sockets by state.",
        &["network.connection.state"],
        Instrument::Gauge(|snapshot| stuck(snapshot, states)),
    ),
    Metric::new(
        "tcpclose.stuck.verdicts",
        CONNECTIONS,
        "Stuck sockets, by what their process or their peer failed to do.",
        &["verdict"],
        Instrument::Gauge(|snapshot| stuck(snapshot, verdicts)),
    ),
    Metric::new(
        "tcpclose.stuck.oldest",
        "s",
        "Age of the socket that has been stuck for longest; 0 where none is stuck.",
        &[],
        Instrument::Gauge(oldest),
    ),
    Metric::new(
        "tcpclose.process.stuck.sockets",
        CONNECTIONS,
        "Stuck sockets, of the ten processes with most of them and the five \
         others that run out of file descriptors soonest. All others are `other`.",
        PROCESS_LABELS,
        Instrument::Gauge(|snapshot| stuck(snapshot, stuck_by_process)),
    ),
    Metric::new(
        "tcpclose.process.stuck.growth",
        CONNECTIONS_PER_SECOND,
        "Growth of the number of stuck sockets, by a linear fit of the last intervals.",
        PROCESS_LABELS,
        Instrument::Gauge(|snapshot| {
            points_by_owner(snapshot, |owner| {
                Some(Number::Measured(owner.forecast?.fit.per_second))
            })
        }),
    ),
    Metric::new(
        "tcpclose.process.descriptors_exhausted",
        "s",
        "Time until the last file descriptor of a process is taken, at the growth of its stuck \
         sockets in the last intervals, or of its open descriptors where that explains more.",
        PROCESS_LABELS,
        Instrument::Gauge(|snapshot| {
            points_by_owner(snapshot, |owner| {
                Some(Number::seconds(owner.exhausted_in()?))
            })
        }),
    )
    .merged_by(Merge::Min),
    Metric::new(
        "tcpclose.peer.stuck.sockets",
        CONNECTIONS,
        "Stuck sockets, of the ten peers with most of them.",
        &["network.peer.address"],
        Instrument::Gauge(|snapshot| stuck(snapshot, |stuck| peers(&stuck.peers))),
    )
    .only_for(ExportFormat::Otlp),
];

const PROCESS_LABELS: &[&str] = &["process.pid", PROCESS_LABEL];

/// Returns no points as long as the stuck sockets are not known.
fn stuck(
    snapshot: &MetricsSnapshot,
    points: impl Fn(&StuckSummary) -> Points<Number>,
) -> Points<Number> {
    snapshot.stuck.as_ref().map(points).unwrap_or_default()
}

fn states(stuck: &StuckSummary) -> Points<Number> {
    let states = stuck.by_state();
    states
        .map(|(state, count)| (vec![Label::State(state)], Number::Count(count)))
        .collect()
}

fn verdicts(stuck: &StuckSummary) -> Points<Number> {
    let verdicts = stuck.verdicts.iter();
    // MPTCP connections are not traced.
    let verdicts = verdicts.filter(|(verdict, _)| {
        verdict.is_stuck() && *verdict != tcpclose_core::stuck::Verdict::NotClosed
    });
    verdicts
        .map(|(verdict, count)| (vec![Label::Verdict(verdict)], Number::Count(count)))
        .collect()
}

fn oldest(snapshot: &MetricsSnapshot) -> Points<Number> {
    stuck(snapshot, |stuck| {
        let since = stuck.oldest.unwrap_or(snapshot.at);
        measured(Number::seconds(snapshot.at - since))
    })
}

/// The values add up to the number of all stuck sockets.
fn stuck_by_process(stuck: &StuckSummary) -> Points<Number> {
    let owners = stuck.owners.iter();
    let mut points: Points<Number> = owners
        .map(|owner| (process(owner), Number::Count(owner.stuck)))
        .collect();
    let named: u64 = stuck.owners.iter().map(|owner| owner.stuck).sum();
    let others = Number::Count(stuck.total().saturating_sub(named));
    points.push((vec![Label::Process(ProcessName::Other)], others));
    points
}

fn points_by_owner(
    snapshot: &MetricsSnapshot,
    value: impl Fn(&StuckOwner) -> Option<Number>,
) -> Points<Number> {
    let owners = snapshot.stuck.iter().flat_map(|stuck| &stuck.owners);
    owners
        .filter_map(|owner| Some((process(owner), value(owner)?)))
        .collect()
}

fn process(owner: &StuckOwner) -> Labels {
    let process = &owner.process;
    vec![
        Label::Pid(process.pid),
        Label::Process(
            ProcessName::from_comm(&process.comm)
                .placed(process.unit.as_ref(), process.container.as_ref()),
        ),
    ]
}
