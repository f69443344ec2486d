//! Scans of the whole host: its routes, and whose connections they are.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use tcpclose_core::filter::ConnectionFilter;
use tcpclose_core::process::Process;
use tcpclose_core::routes::{Fullness, RouteReport, RouteUsage, RoutesReport};
use tcpclose_core::types::Inode;
use tcpclose_sys::host::descriptors::{
    HolderSearch, find_holders, find_holders_among, preferred_holder,
};
use tcpclose_sys::host::namespace_link::in_initial_pid_namespace;
use tcpclose_sys::kernel::clock::now;
use tcpclose_sys::kernel::netns::{self, NetNsHandle};

use super::agent_answers::{self, KnownRoute};
use super::collect::{FoundRoute, FoundRoutes};
use crate::agent_socket::AgentAddress;
use crate::coverage::{self, CoverageGap};
use crate::namespace_walk::{NamespaceWalk, WalkScope};
use crate::task_file_iter::TaskFileIter;

/// Options of a scan.
pub(crate) struct PortScanOptions {
    /// Selects routes: one is reported, with all its connections, if one of these passes. `netns`
    /// is the handle of its namespace.
    pub filter: ConnectionFilter,
    /// The only namespace to be scanned; `None` for all.
    pub netns: Option<NetNsHandle>,
    /// Distinguishes that namespace from a later one with its number; `None` where it is not known.
    pub netns_cookie: Option<u64>,
    /// The running agent that is asked what it knows of the routes.
    pub agent: Option<AgentAddress>,
}

/// Scans the host for routes.
pub(crate) struct PortScanner {
    options: PortScanOptions,
}

impl PortScanner {
    pub const fn new(options: PortScanOptions) -> Self {
        Self { options }
    }

    /// Scans once. Returns also what could not be seen.
    pub fn scan(&self) -> (RoutesReport, Vec<CoverageGap>) {
        let PortScanOptions {
            filter,
            netns,
            netns_cookie,
            agent,
        } = &self.options;
        let begun = now();
        let scope = WalkScope {
            netns: netns.as_ref(),
            netns_cookie: *netns_cookie,
            pids: &filter.pids,
        };
        let (mut walk, mut found) = (NamespaceWalk::default(), FoundRoutes::new(filter));
        let files = walk.run(&scope, TaskFileIter::start(), &mut found);
        found.note_unknown();
        let mut gaps = found.gaps;
        gaps.append(&mut walk.gaps);

        let live = || found.routes.iter().flat_map(|route| &route.live).flatten();
        let inodes: HashSet<u32> = live().copied().map(Inode::get).collect();
        let mut search = match files {
            Some(files) => find_holders_among(files, &inodes),
            None => find_holders(&inodes, &[]),
        };
        if !filter.pids.is_empty() {
            // Those that are asked for have to be there, and readable.
            let pids: Vec<u32> = filter.pids.iter().copied().collect();
            search.unreadable = find_holders(&inodes, &pids).unreadable;
        }
        let unheld = live().filter(|inode| owner(&search, **inode).is_none());
        gaps.extend(holders_gap(&search, unheld.count(), filter));

        let agent = agent.as_ref();
        let known =
            agent.and_then(|agent| agent_answers::ask(agent, &found.routes, &search, &mut gaps));
        let known = known.into_iter().flatten();
        let known = known.map(Some).chain(std::iter::repeat_with(|| None));
        let found = found.routes.into_iter().zip(known);
        let (routes, unknown) = reports(found, &search, filter);
        let scarce = unknown
            .iter()
            .filter(|usage| usage.fullness() != Fullness::Free);
        let report = RoutesReport {
            unknown_owner: unknown.len() as u32,
            unknown_owner_scarce: scarce.count() as u32,
            ..RoutesReport::new(begun, netns::current().ok(), routes)
        };
        (report, gaps)
    }
}

/// Returns the reports of the routes that the filter on processes lets pass, and those of which
/// nothing shows whether it does.
fn reports(
    found: impl Iterator<Item = (FoundRoute, Option<KnownRoute>)>,
    search: &HolderSearch,
    filter: &ConnectionFilter,
) -> (Vec<RouteReport>, Vec<RouteUsage>) {
    let (mut routes, mut unknown) = (Vec::new(), Vec::new());
    for (FoundRoute { usage, live, .. }, known) in found {
        let owners = || {
            live.iter()
                .map(|inode| inode.and_then(|inode| owner(search, inode)))
        };
        let closed = known.as_ref().map_or(&[][..], |known| &known.minisockets);
        let former = || {
            closed
                .iter()
                .map(|owner| owner.as_ref().map(|(process, source)| (process, *source)))
        };
        let has_wanted = || {
            let was_wanted = |(process, _): (&Arc<Process>, _)| filter.matches_process(process);
            live.iter().flatten().any(|it| passes(search, *it, filter))
                || former().flatten().any(was_wanted)
        };
        if filter.is_of_processes() && !has_wanted() {
            if owners().all(|owner| owner.is_none()) && former().all(|owner| owner.is_none()) {
                unknown.push(usage);
            }
            continue;
        }
        routes.push(RouteReport {
            history: known.as_ref().map(|known| known.history.clone()),
            ..RouteReport::new(usage, owners(), former())
        });
    }
    (routes, unknown)
}

/// Returns the process that a socket belongs to.
fn owner(search: &HolderSearch, inode: Inode) -> Option<&Arc<Process>> {
    let descriptors = search.descriptors.for_inode(inode.get());
    preferred_holder(&search.processes, descriptors, |_| 0)
}

/// Returns whether one of the processes that hold a socket is wanted.
fn passes(search: &HolderSearch, inode: Inode, filter: &ConnectionFilter) -> bool {
    let mut holders = search.descriptors.for_inode(inode.get());
    holders.any(|descriptor| {
        let process = search.processes.get(&descriptor.pid);
        process.is_some_and(|process| filter.matches_process(process))
    })
}

/// Returns what the search for holders could not see: that hides no route, unless those of certain
/// processes are wanted.
fn holders_gap(
    search: &HolderSearch,
    unheld: usize,
    filter: &ConnectionFilter,
) -> Option<CoverageGap> {
    // Without /proc that is noted already.
    if !Path::new("/proc/self").is_symlink() {
        return None;
    }
    let pids_requested = !filter.pids.is_empty();
    let contained = !in_initial_pid_namespace();
    let gap = coverage::search_gap(search, unheld, contained, pids_requested)?;
    Some(CoverageGap {
        matters: gap.matters && filter.is_of_processes(),
        ..gap
    })
}
