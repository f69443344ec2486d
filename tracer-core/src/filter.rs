//! The connection filter: selects the connections that the user wants to see.

use std::collections::BTreeSet;

use crate::event::Transition;
use crate::finding::{ClosePath, Endpoint, Finding, Initiator};
use crate::types::{IpVersion, Nanos, NetNs, SharedOwner, Tuple};

/// Selects connections. An empty set and `None` let everything pass. A connection whose value is
/// not known does not pass a filter for that value.
///
/// The first four fields are the kernel's part: the eBPF programs apply them before a record costs
/// anything. Records about no connection (losses) always pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnectionFilter {
    /// Only this network namespace.
    pub netns: Option<NetNs>,
    /// Only these local ports.
    pub local_ports: BTreeSet<u16>,
    /// Only these ports of the peer.
    pub peer_ports: BTreeSet<u16>,
    /// Only this IP version on the wire.
    pub ip: Option<IpVersion>,
    /// Only these processes, as owners or as holders of a stuck socket.
    pub pids: BTreeSet<u32>,
    /// Only owners with these names.
    pub processes: BTreeSet<String>,
    /// Only closes of these paths. Other findings pass.
    pub paths: BTreeSet<ClosePath>,
    /// Only closes with these initiators. Other findings pass.
    pub initiators: BTreeSet<Initiator>,
    /// Only connections that lived at least this long. Stuck sockets, which still live, pass.
    pub min_lifetime: Nanos,
    /// Leave out the connections of this host with itself over loopback addresses.
    pub no_loopback: bool,
}

impl ConnectionFilter {
    /// Returns whether everything passes.
    #[must_use]
    pub fn is_all(&self) -> bool {
        *self == Self::default()
    }

    /// Returns whether the kernel's part lets every endpoint pass.
    #[must_use]
    pub fn kernel_passes_all(&self) -> bool {
        self.netns.is_none()
            && self.local_ports.is_empty()
            && self.peer_ports.is_empty()
            && self.ip.is_none()
    }

    /// Returns whether the kernel's part lets this endpoint pass.
    #[must_use]
    pub fn matches_tuple(&self, netns: Option<NetNs>, tuple: &Tuple) -> bool {
        self.netns.is_none_or(|wanted| netns == Some(wanted))
            && passes(&self.local_ports, &tuple.local().port())
            && passes(&self.peer_ports, &tuple.peer().port())
            && self.ip.is_none_or(|ip| ip == tuple.ip())
    }

    /// Returns whether the kernel's part lets this listener pass. A listener shows the owner of its
    /// connections, from any port and in any IP version.
    #[must_use]
    pub fn matches_listener(&self, tuple: &Tuple) -> bool {
        passes(&self.local_ports, &tuple.local().port())
    }

    /// Returns whether a transition passes. As in the kernel, a connect() whose port is not
    /// chosen yet passes.
    #[must_use]
    pub fn matches_transition(&self, transition: &Transition) -> bool {
        let tuple = &transition.tuple;
        let pid = transition.task.as_ref().map(|task| task.pid);
        self.matches_pids(pid)
            && (tuple.local_port.is_none() || self.matches_tuple(transition.netns, tuple))
    }

    /// Returns whether a finding passes.
    #[must_use]
    pub fn matches(&self, finding: &Finding) -> bool {
        match finding {
            Finding::Close(close) => {
                let owner = close.owner.as_ref();
                passes(&self.paths, &close.path)
                    && passes(&self.initiators, &close.initiator)
                    && self.matches_lifetime(&close.endpoint)
                    && self.matches_pids(pid(owner))
                    && self.matches_endpoint(&close.endpoint, owner)
            }
            Finding::TimeWait(time_wait) => {
                let owner = time_wait.owner.as_ref();
                self.matches_lifetime(&time_wait.endpoint)
                    && self.matches_pids(pid(owner))
                    && self.matches_endpoint(&time_wait.endpoint, owner)
            }
            Finding::Stuck(stuck) => {
                let owner = stuck.owner.as_ref();
                let holders = stuck.holders.iter().map(|holder| holder.pid);
                self.matches_pids(pid(owner).into_iter().chain(holders))
                    && self.matches_endpoint(&stuck.endpoint, owner)
            }
            Finding::Loss(_) => true,
        }
    }

    fn matches_endpoint(&self, endpoint: &Endpoint, owner: Option<&SharedOwner>) -> bool {
        let named = |owner: &SharedOwner| {
            let name = String::from_utf8_lossy(&owner.comm);
            self.processes.contains(&*name)
        };
        self.matches_tuple(endpoint.netns, &endpoint.tuple)
            && (self.processes.is_empty() || owner.is_some_and(named))
            && !(self.no_loopback && endpoint.tuple.local().ip().is_loopback())
    }

    fn matches_lifetime(&self, endpoint: &Endpoint) -> bool {
        let long_enough = |lifetime| lifetime >= self.min_lifetime;
        self.min_lifetime == Nanos(0) || endpoint.lifetime.is_some_and(long_enough)
    }

    fn matches_pids(&self, pids: impl IntoIterator<Item = u32>) -> bool {
        self.pids.is_empty() || pids.into_iter().any(|pid| self.pids.contains(&pid))
    }
}

fn pid(owner: Option<&SharedOwner>) -> Option<u32> {
    owner.map(|owner| owner.pid)
}

fn passes<T: Ord>(wanted: &BTreeSet<T>, one: &T) -> bool {
    wanted.is_empty() || wanted.contains(one)
}
