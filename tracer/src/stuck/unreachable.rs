//! Network namespaces in which sockets cannot be probed, because nothing leads there any more. Each
//! is reported once.
//!
//! A socket that the core still knows in CLOSE_WAIT keeps its namespace alive, unless the namespace
//! ended just now, and with it the socket: that is not worth a report.

use std::collections::HashMap;

use crate::coverage;
use crate::notice::notice;
use tcpclose_core::ProbeRequest;
use tcpclose_core::types::{EndpointId, NetNs};
use tcpclose_sys::kernel::netns::{self, KnownNamespaces};

/// Namespaces remembered at most. Further ones are not reported.
const MAX_NAMESPACES: usize = 64;

/// What is known of a namespace that cannot be reached.
#[derive(Debug)]
struct Unreachable {
    /// A socket in it that was to be probed.
    socket: EndpointId,
    is_reported: bool,
}

/// The namespaces that could not be reached.
#[derive(Debug, Default)]
pub(super) struct UnreachableNamespaces(HashMap<NetNs, Unreachable>);

impl UnreachableNamespaces {
    /// Notes that these sockets of a namespace could not be probed.
    pub fn note(&mut self, netns: NetNs, requests: &[ProbeRequest]) {
        let Some(first) = requests.first() else {
            return;
        };
        let reasons = || {
            let mut known = KnownNamespaces::from_handles(&netns::scan().namespaces);
            let found = netns::find_by_descriptors(&mut known, &[]);
            let gaps = coverage::scan_gaps(&found.gaps, &Default::default(), false);
            let gaps = gaps.into_iter().filter(|gap| gap.matters);
            gaps.map(|gap| gap.text).collect()
        };
        for line in self.lines(netns, first.id, requests, reasons) {
            notice!("{line}");
        }
    }

    /// Returns what is to be reported, once for each namespace: `reasons`, or where there are none
    /// that it was not found, if the same socket is asked for again.
    fn lines(
        &mut self,
        netns: NetNs,
        first: EndpointId,
        requests: &[ProbeRequest],
        reasons: impl FnOnce() -> Vec<String>,
    ) -> Vec<String> {
        let is_first = !self.0.contains_key(&netns);
        if is_first && self.0.len() >= MAX_NAMESPACES {
            return Vec::new();
        }
        let namespace = self.0.entry(netns).or_insert(Unreachable {
            socket: first,
            is_reported: false,
        });
        if namespace.is_reported {
            return Vec::new();
        }
        let was_asked_for = requests
            .iter()
            .any(|request| request.id == namespace.socket);
        if !is_first && !was_asked_for {
            namespace.socket = first;
            return Vec::new();
        }
        let prefix = format!("stuck sockets in network namespace {netns} are not reported");
        let lines: Vec<String> = match is_first {
            true => reasons()
                .into_iter()
                .map(|reason| format!("{prefix}: {reason}"))
                .collect(),
            false => vec![format!(
                "{prefix}: no process lives in it, it is mounted nowhere, and no descriptor leads to it (io_uring, or \
                 a message on its way through a unix socket, may hold one of its sockets)"
            )],
        };
        namespace.is_reported = !lines.is_empty();
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tcpclose_core::types::Tuple;

    fn requests(ids: &[u64]) -> Vec<ProbeRequest> {
        let request = |&id: &u64| ProbeRequest {
            id: EndpointId(id),
            cookie: Some(EndpointId(id)),
            netns: NetNs::new(7),
            tuple: Tuple::from((([10, 0, 0, 1], 80).into(), ([10, 0, 0, 2], 4242).into())),
        };
        ids.iter().map(request).collect()
    }

    fn lines(namespaces: &mut UnreachableNamespaces, ids: &[u64], reasons: &[&str]) -> Vec<String> {
        let netns = NetNs::new(7).expect("it is not 0");
        let reasons = reasons.iter().map(|&reason| reason.to_owned()).collect();
        namespaces.lines(netns, EndpointId(ids[0]), &requests(ids), || reasons)
    }

    #[test]
    fn what_keeps_a_namespace_out_of_reach_is_reported_once() {
        let mut namespaces = UnreachableNamespaces::default();
        assert_eq!(
            lines(&mut namespaces, &[1], &["no rights"]),
            ["stuck sockets in network namespace 7 are not reported: no rights"]
        );
        assert!(lines(&mut namespaces, &[1], &["no rights"]).is_empty());
    }

    #[test]
    fn a_namespace_that_is_gone_is_not_reported_before_its_socket_is_asked_for_again() {
        let mut namespaces = UnreachableNamespaces::default();
        assert!(lines(&mut namespaces, &[1], &[]).is_empty());
        assert!(
            lines(&mut namespaces, &[2], &[]).is_empty(),
            "another socket"
        );
        let again = lines(&mut namespaces, &[3, 2], &[]);
        assert!(again[0].contains("no descriptor leads to it"), "{again:?}");
        assert!(lines(&mut namespaces, &[2], &[]).is_empty());
    }
}
