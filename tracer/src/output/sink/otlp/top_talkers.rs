//! Metrics with names: of the processes and peers that a summary names, so that no more of them are sent than it has.

use std::collections::BTreeMap;
use std::net::IpAddr;

use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;

use crate::output::escape::push_for_terminal;
use crate::summary::Summary;
use tcpclose_core::process::Process;
use tcpclose_core::summary::{Ranking, Service, StuckNow};
use tcpclose_core::types::Nanos;

use super::points::{Labels, MetricDesc, Metrics, seconds, whole};

impl Metrics<'_> {
    /// They are gauges of their interval: who is not among those with most counts as well, but without a name.
    pub(super) fn of_most(&mut self, summary: &Summary) {
        for (name, description, ranking) in [
            (
                "tcpclose.process.closes",
                "Ends that closed in the last interval, of the processes with most",
                &summary.connections.closes_of_processes,
            ),
            (
                "tcpclose.process.resets",
                "Ends that were reset in the last interval, of the processes with most",
                &summary.connections.resets_of_processes,
            ),
        ] {
            self.gauge(
                &MetricDesc(name, "{connection}", description),
                processes(ranking),
            );
        }
        for (name, description, ranking) in [
            (
                "tcpclose.peer.closes",
                "Ends that closed in the last interval, of the peers with most",
                &summary.connections.closes_of_peers,
            ),
            (
                "tcpclose.peer.resets",
                "Ends that were reset in the last interval, of the peers with most",
                &summary.connections.resets_of_peers,
            ),
        ] {
            self.gauge(
                &MetricDesc(name, "{connection}", description),
                peers(ranking),
            );
        }
    }

    pub(super) fn of_stuck(&mut self, stuck: &StuckNow, now: Nanos) {
        let verdicts = stuck.verdicts.iter();
        let verdicts = verdicts.filter(|(verdict, _)| verdict.is_stuck());
        self.gauge(
            &MetricDesc(
                "tcpclose.close_wait.stuck",
                "{connection}",
                "Ends that are stuck in CLOSE_WAIT",
            ),
            verdicts.map(|(verdict, count)| {
                let verdict = ("tcpclose.leak.verdict", verdict.name().to_owned());
                (vec![verdict], whole(count))
            }),
        );
        let oldest = stuck
            .oldest
            .map(|oldest| (Vec::new(), seconds(now - oldest)));
        self.gauge(
            &MetricDesc(
                "tcpclose.close_wait.oldest",
                "s",
                "How long the oldest of them is in CLOSE_WAIT",
            ),
            oldest,
        );
        let owners = || stuck.owners.iter();
        self.gauge(
            &MetricDesc(
                "tcpclose.process.close_wait.stuck",
                "{connection}",
                "Ends that are stuck in CLOSE_WAIT, of the processes with most",
            ),
            owners().map(|owner| (process(&owner.process), whole(owner.stuck))),
        );
        self.gauge(
            &MetricDesc(
                "tcpclose.peer.close_wait.stuck",
                "{connection}",
                "Ends that are stuck in CLOSE_WAIT, of the peers with most",
            ),
            peers(&stuck.peers),
        );
        self.gauge(
            &MetricDesc(
                "tcpclose.close_wait.descriptors_exhausted_in",
                "s",
                "When a process has no descriptor left, if its stuck sockets go on to grow",
            ),
            owners().filter_map(|owner| {
                let exhausted_in = owner.forecast?.exhausted_in?;
                Some((process(&owner.process), seconds(exhausted_in)))
            }),
        );
    }
}

fn process(process: &Process) -> Labels {
    vec![
        ("process.pid", process.pid.to_string()),
        ("process.title", title(&process.comm)),
    ]
}

fn title(comm: &[u8]) -> String {
    let mut title = String::new();
    push_for_terminal(&mut title, comm);
    title
}

/// Services of one name in several cgroups are one: the same attributes may be there only once.
fn processes(ranking: &Ranking<Option<Service>>) -> impl Iterator<Item = (Labels, Value)> {
    let mut named: BTreeMap<Option<String>, u64> = BTreeMap::new();
    for (service, count) in &ranking.most {
        let name = service.as_ref().map(|Service(owner)| title(&owner.comm));
        *named.entry(name).or_default() += count;
    }
    named.into_iter().map(|(name, count)| {
        let labels = name.map(|name| ("process.title", name));
        (labels.into_iter().collect(), whole(count))
    })
}

fn peers(ranking: &Ranking<IpAddr>) -> impl Iterator<Item = (Labels, Value)> {
    ranking.most.iter().map(|(peer, count)| {
        let peer = ("network.peer.address", peer.to_string());
        (vec![peer], whole(*count))
    })
}
