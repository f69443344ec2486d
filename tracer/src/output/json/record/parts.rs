//! Parts that records of several kinds share.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};

use serde::Serialize;

use super::sample::Sample;
use crate::output::clock::{Rfc3339, WallClock};
use crate::output::duration::rounded_ms;
use crate::pair_id::{PairId, PairKey};
use tcpclose_core::finding;
use tcpclose_core::process;
use tcpclose_core::types::{self, NetNs};
use tcpclose_sys::host::cgroup::CgroupName;

/// The version of the contract. Adding fields is compatible; anything else raises it.
pub(in crate::output::json) const VERSION: u8 = 1;

/// A connection, seen from one endpoint.
#[derive(Serialize)]
pub(in crate::output::json) struct Conn<'a> {
    id: u64,
    pair: Option<PairId>,
    family: &'static str,
    local: Address,
    peer: Address,
    role: &'static str,
    seen_from_start: bool,
    opened: Option<Rfc3339>,
    lifetime_ms: Option<f64>,
    peer_owner: Option<Owner<'a>>,
}

impl<'a> Conn<'a> {
    /// Returns the connection.
    pub(in crate::output::json) fn new(
        endpoint: &'a finding::Endpoint,
        clock: &WallClock,
        context: &RecordContext<'a>,
    ) -> Self {
        let peer_owner = endpoint.peer_owner.as_deref();
        Self {
            id: endpoint.id.0,
            pair: endpoint
                .initial
                .map(|initial| PairId::new(initial, context.pair_key)),
            family: endpoint.tuple.ip().into(),
            local: endpoint.tuple.local().into(),
            peer: endpoint.tuple.peer().into(),
            role: endpoint.role.into(),
            seen_from_start: endpoint.seen_from_start,
            opened: endpoint.opened.map(|at| clock.rfc3339(at)),
            lifetime_ms: endpoint.lifetime.map(rounded_ms),
            peer_owner: peer_owner.map(|owner| Owner::new(owner, context.peer_owner)),
        }
    }
}

/// What the record of a connection has besides its finding.
#[derive(Clone, Copy)]
pub(in crate::output::json) struct RecordContext<'a> {
    /// The cgroup of the process at this endpoint, where that is known.
    pub owner: Option<&'a CgroupName>,
    /// The cgroup of the process at the other endpoint.
    pub peer_owner: Option<&'a CgroupName>,
    pub pair_key: PairKey,
    pub sample: Option<Sample>,
}

/// Marks the records of the self-test's connections; all others lack the field.
pub(super) fn self_test(endpoint: &finding::Endpoint) -> Option<bool> {
    endpoint.tuple.is_self_test().then_some(true)
}

/// An address with its port.
#[derive(Serialize)]
pub(in crate::output::json) struct Address {
    addr: IpAddr,
    port: u16,
}

impl From<SocketAddr> for Address {
    fn from(end: SocketAddr) -> Self {
        Self {
            addr: end.ip(),
            port: end.port(),
        }
    }
}

/// The process that an endpoint belongs to.
#[derive(Serialize)]
pub(in crate::output::json) struct Owner<'a> {
    pid: u32,
    comm: Cow<'a, str>,
    uid: u32,
    cgroup: Option<&'a str>,
    container: Option<Container<'a>>,
    source: &'static str,
    thread: Option<Thread<'a>>,
}

/// The thread that called connect().
#[derive(Serialize)]
struct Thread<'a> {
    name: Cow<'a, str>,
    id: u32,
}

impl<'a> From<&'a types::Thread> for Thread<'a> {
    fn from(thread: &'a types::Thread) -> Self {
        Self {
            name: String::from_utf8_lossy(thread.name()),
            id: thread.id,
        }
    }
}

impl<'a> Owner<'a> {
    pub(in crate::output::json) fn new(
        owner: &'a types::Owner,
        cgroup: Option<&'a CgroupName>,
    ) -> Self {
        let container = cgroup.and_then(|cgroup| cgroup.container.as_ref());
        Self {
            pid: owner.pid,
            comm: String::from_utf8_lossy(&owner.comm),
            uid: owner.uid,
            cgroup: cgroup.map(|cgroup| cgroup.path.as_str()),
            container: container.map(Container::from),
            source: owner.source.into(),
            thread: owner.thread.as_ref().map(Thread::from),
        }
    }

    /// Returns an owner from /proc, with its cgroup and container.
    pub(in crate::output::json) fn from_process(
        owner: &'a types::Owner,
        process: &'a process::Process,
    ) -> Self {
        Self {
            cgroup: process.cgroup.as_deref(),
            container: process.container.as_ref().map(Container::from),
            ..Self::new(owner, None)
        }
    }

    /// Returns a process that has or had connections, and how that is known.
    pub(in crate::output::json) fn of_connections(
        process: &'a process::Process,
        source: types::OwnerSource,
    ) -> Self {
        Self {
            pid: process.pid,
            comm: String::from_utf8_lossy(&process.comm),
            uid: process.uid,
            cgroup: process.cgroup.as_deref(),
            container: process.container.as_ref().map(Container::from),
            source: source.into(),
            thread: None,
        }
    }
}

/// A container, with the names that its runtime uses.
#[derive(Serialize)]
pub(in crate::output::json) struct Container<'a> {
    runtime: &'static str,
    id: &'a str,
    pod: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pod_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pod_namespace: Option<&'a str>,
}

impl<'a> From<&'a process::Container> for Container<'a> {
    fn from(container: &'a process::Container) -> Self {
        let process::Container {
            runtime,
            id,
            pod,
            names: _,
        } = container;
        let pod_name = container.pod_name();
        Self {
            runtime,
            id,
            pod: pod.as_deref(),
            name: container.name(),
            pod_name: pod_name.map(|pod| &*pod.name),
            pod_namespace: pod_name.map(|pod| &*pod.namespace),
        }
    }
}

/// Returns a share from 0 to 1, rounded to 4 decimals.
pub(in crate::output::json) fn rounded_share(share: f64) -> f64 {
    (share * 1e4).round() / 1e4
}

/// Returns the number of a network namespace.
pub(in crate::output::json) fn netns(netns: Option<NetNs>) -> Option<u32> {
    netns.map(NetNs::get)
}
