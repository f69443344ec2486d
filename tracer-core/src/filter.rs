//! The connection filter: selects the connections that the user wants to see.

use std::collections::BTreeSet;

use crate::container_filter::ContainerFilter;
use crate::event::{Task, Transition};
use crate::finding::{Cause, Close, ClosePath, Endpoint, Finding, Initiator};
use crate::process::Process;
use crate::stuck::StuckSocket;
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
    /// Only these ports at either end.
    pub ports: BTreeSet<u16>,
    /// Only these processes, as owners or as holders of a stuck socket.
    pub pids: BTreeSet<u32>,
    /// Only owners in these containers. [`Self::matches`] leaves this part out: the containers'
    /// names are in files, so the writer of the findings looks them up and applies it.
    pub containers: ContainerFilter,
    /// Only processes with these names, as owners or as holders of a stuck socket.
    pub processes: BTreeSet<String>,
    /// Only closes of these paths. Other findings pass.
    pub paths: BTreeSet<ClosePath>,
    /// Only closes with these causes. Other findings pass.
    pub causes: BTreeSet<Cause>,
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

    /// Returns whether the kernel's part and the ports let this endpoint pass.
    #[must_use]
    pub fn matches_tuple(&self, netns: Option<NetNs>, tuple: &Tuple) -> bool {
        let (local, peer) = (tuple.local().port(), tuple.peer().port());
        self.netns.is_none_or(|wanted| netns == Some(wanted))
            && passes(&self.local_ports, &local)
            && passes(&self.peer_ports, &peer)
            && (passes(&self.ports, &local) || passes(&self.ports, &peer))
            && self.ip.is_none_or(|ip| ip == tuple.ip())
    }

    /// Returns whether all that concerns addresses and ports lets this endpoint pass.
    #[must_use]
    pub fn matches_addresses(&self, netns: Option<NetNs>, tuple: &Tuple) -> bool {
        self.matches_tuple(netns, tuple) && !(self.no_loopback && tuple.local().ip().is_loopback())
    }

    /// Returns whether only connections of certain processes pass.
    #[must_use]
    pub fn is_of_processes(&self) -> bool {
        !(self.pids.is_empty() && self.processes.is_empty() && self.containers.is_all())
    }

    /// Returns whether closes are selected by how they ended.
    #[must_use]
    pub fn selects_endings(&self) -> bool {
        !(self.paths.is_empty() && self.causes.is_empty() && self.initiators.is_empty())
    }

    /// Returns whether connections that this process holds pass, as far as it alone matters.
    #[must_use]
    pub fn matches_process(&self, process: &Process) -> bool {
        self.matches_pids([process.pid])
            && self.matches_names([&*process.comm])
            && self.containers.matches(process.container.as_ref())
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
        let task = transition.task.as_ref();
        self.matches_pids(task.map(|task| task.pid))
            && self.matches_names(task.map(Task::name))
            && (tuple.local_port.is_none() || self.matches_tuple(transition.netns, tuple))
    }

    /// Returns whether a finding passes.
    #[must_use]
    pub fn matches(&self, finding: &Finding) -> bool {
        match finding {
            Finding::Close(close) => self.matches_close(close),
            Finding::TimeWait(time_wait) => {
                let owner = time_wait.owner.as_ref();
                self.matches_lifetime(&time_wait.endpoint)
                    && self.matches_owner(owner)
                    && self.matches_endpoint(&time_wait.endpoint)
            }
            Finding::Stuck(stuck) => self.matches_stuck(stuck),
            Finding::Loss(_) => true,
        }
    }

    /// Returns whether a close passes.
    #[must_use]
    pub fn matches_close(&self, close: &Close) -> bool {
        passes(&self.paths, &close.path)
            && passes(&self.initiators, &close.initiator)
            && self.matches_cause(close.cause)
            && self.matches_lifetime(&close.endpoint)
            && self.matches_owner(close.owner.as_ref())
            && self.matches_endpoint(&close.endpoint)
    }

    /// Returns whether a stuck socket passes.
    #[must_use]
    pub fn matches_stuck(&self, stuck: &StuckSocket) -> bool {
        let owner = stuck.owner.as_ref();
        let pids = owner.map(|owner| owner.pid);
        let names = owner.map(|owner| &*owner.comm);
        let holders = &stuck.holders;
        self.matches_pids(
            pids.into_iter()
                .chain(holders.iter().map(|holder| holder.pid)),
        ) && self.matches_names(
            names
                .into_iter()
                .chain(holders.iter().map(|holder| &*holder.comm)),
        ) && self.matches_endpoint(&stuck.endpoint)
    }

    /// Returns whether only certain closes pass, so that no open connection does.
    #[must_use]
    pub fn is_of_closes(&self) -> bool {
        self.selects_endings() || self.min_lifetime > Nanos(0)
    }

    /// Returns whether an open connection passes: what only a close has is left out.
    #[must_use]
    pub fn matches_open(
        &self,
        netns: Option<NetNs>,
        tuple: &Tuple,
        owner: Option<&SharedOwner>,
    ) -> bool {
        self.matches_owner(owner) && self.matches_addresses(netns, tuple)
    }

    fn matches_owner(&self, owner: Option<&SharedOwner>) -> bool {
        self.matches_pids(owner.map(|owner| owner.pid))
            && self.matches_names(owner.map(|owner| &*owner.comm))
    }

    fn matches_endpoint(&self, endpoint: &Endpoint) -> bool {
        self.matches_addresses(endpoint.netns, &endpoint.tuple)
    }

    fn matches_cause(&self, cause: Option<Cause>) -> bool {
        self.causes.is_empty() || cause.is_some_and(|cause| self.causes.contains(&cause))
    }

    fn matches_names<'a>(&self, names: impl IntoIterator<Item = &'a [u8]>) -> bool {
        let is_wanted = |name: &[u8]| self.processes.contains(&*String::from_utf8_lossy(name));
        self.processes.is_empty() || names.into_iter().any(is_wanted)
    }

    fn matches_lifetime(&self, endpoint: &Endpoint) -> bool {
        let long_enough = |lifetime| lifetime >= self.min_lifetime;
        self.min_lifetime == Nanos(0) || endpoint.lifetime.is_some_and(long_enough)
    }

    fn matches_pids(&self, pids: impl IntoIterator<Item = u32>) -> bool {
        self.pids.is_empty() || pids.into_iter().any(|pid| self.pids.contains(&pid))
    }
}

fn passes<T: Ord>(wanted: &BTreeSet<T>, one: &T) -> bool {
    wanted.is_empty() || wanted.contains(one)
}
