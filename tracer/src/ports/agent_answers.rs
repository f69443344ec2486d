//! What a running agent knows of the routes that a scan has found: the processes of minisockets,
//! and what recent closes have shown.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use super::collect::FoundRoute;
use crate::agent_socket::AgentAddress;
use crate::coverage::CoverageGap;
use tcpclose_core::process::Process;
use tcpclose_core::routes::RouteHistory;
use tcpclose_core::types::{NetNs, Owner, OwnerSource, Tuple};
use tcpclose_sys::host::cgroup::Cgroups;
use tcpclose_sys::host::descriptors::HolderSearch;
use tcpclose_sys::host::namespace_link::in_initial_pid_namespace;
use tcpclose_sys::host::process::read_process;

/// The most minisockets that are asked for: those of the routes with the most of them.
const MAX_MINISOCKETS: usize = 65_536;

/// What an agent knows of one route.
#[derive(Debug, Default)]
pub(super) struct KnownRoute {
    /// The processes of its minisockets; `None` where one is not known.
    pub minisockets: Vec<Option<(Arc<Process>, OwnerSource)>>,
    pub history: RouteHistory,
}

/// Asks the agent about these routes. Returns what it knows of each, in their order; `None` where
/// no agent has answered.
pub(super) fn ask(
    agent: &AgentAddress,
    routes: &[FoundRoute],
    search: &HolderSearch,
    gaps: &mut Vec<CoverageGap>,
) -> Option<Vec<KnownRoute>> {
    let wanted = wanted_minisockets(routes);
    let minisockets: Vec<(Option<NetNs>, Tuple)> = wanted
        .iter()
        .flat_map(|&route| {
            let FoundRoute {
                usage, minisockets, ..
            } = &routes[route];
            let netns = usage.route.netns;
            minisockets.iter().map(move |(_, tuple)| (netns, *tuple))
        })
        .collect();
    let asked: Vec<_> = routes.iter().map(|route| route.usage.route).collect();
    let answer = agent.ask(gaps, |agent| {
        Ok((agent.minisockets(&minisockets)?, agent.routes(&asked)?))
    });
    let (found, histories) = answer?;
    let mut processes = Processes::new(search);
    let mut found = found.into_iter();
    let mut known: Vec<KnownRoute> = histories
        .into_iter()
        .map(|history| KnownRoute {
            minisockets: Vec::new(),
            history,
        })
        .collect();
    for (place, route) in routes.iter().enumerate() {
        known[place]
            .minisockets
            .resize(route.minisockets.len(), None);
    }
    for route in wanted {
        for owner in &mut known[route].minisockets {
            let minisocket = found.next().flatten();
            *owner = minisocket
                .and_then(|known| known.owner)
                .map(|owner| (processes.of_owner(&owner), owner.source));
        }
    }
    Some(known)
}

/// Returns the routes whose minisockets are asked for.
fn wanted_minisockets(routes: &[FoundRoute]) -> Vec<usize> {
    let count = |route: &usize| routes[*route].minisockets.len();
    let mut wanted: Vec<usize> = (0..routes.len()).filter(|route| count(route) > 0).collect();
    wanted.sort_by_key(|route| Reverse(count(route)));
    let mut total = 0;
    wanted.retain(|route| {
        let fits = total + count(route) <= MAX_MINISOCKETS;
        total += if fits { count(route) } else { 0 };
        fits
    });
    wanted
}

/// Describes the processes that an agent names.
struct Processes<'a> {
    search: &'a HolderSearch,
    cgroups: Cgroups,
    /// Whether the agent's ids are those of /proc.
    share_ids: bool,
    described: HashMap<(u32, Box<[u8]>), Arc<Process>>,
}

impl<'a> Processes<'a> {
    fn new(search: &'a HolderSearch) -> Self {
        Self {
            search,
            cgroups: Cgroups::new(),
            share_ids: in_initial_pid_namespace(),
            described: HashMap::new(),
        }
    }

    /// Returns what is known of a process. One that has exited, or has another name now, is known
    /// by what the agent has seen of it.
    fn of_owner(&mut self, owner: &Owner) -> Arc<Process> {
        let key = (owner.pid, owner.comm.clone());
        if let Some(process) = self.described.get(&key) {
            return Arc::clone(process);
        }
        let is_same = |process: &Arc<Process>| process.comm == owner.comm;
        let holder = self.search.processes.get(&owner.pid).cloned();
        let running = || read_process(owner.pid).ok().map(Arc::new);
        let process = match self.share_ids {
            true => holder.or_else(running).filter(is_same),
            false => None,
        };
        let process = process.unwrap_or_else(|| Arc::new(self.describe(owner)));
        self.described.insert(key, Arc::clone(&process));
        process
    }

    fn describe(&mut self, owner: &Owner) -> Process {
        let cgroup = owner.cgroup.and_then(|id| self.cgroups.name(id.get()));
        Process {
            pid: owner.pid,
            comm: owner.comm.clone(),
            uid: owner.uid,
            cgroup: cgroup.map(|cgroup| cgroup.path.clone()),
            container: cgroup.and_then(|cgroup| cgroup.container.clone()),
            ..Process::default()
        }
    }
}
