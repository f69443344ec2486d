//! Scans of the whole host: the stuck sockets of every namespace, and who holds them.

#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::mem;
use std::path::Path;
use std::sync::Arc;

use crate::agent_socket::AgentAddress;
use crate::coverage::{self, CoverageGap};
use crate::filter::passes_stuck;
use crate::stuck::agent_answers::KnownSockets;
use crate::stuck::collect::{ScanScope, ScannedSockets};
use crate::stuck::evidence::{EvidenceScope, add_evidence};
use crate::stuck::holders::{self, SocketHolders};
use crate::stuck::preference::Preference;
use crate::task_file_iter::TaskFileIter;
use tcpclose_core::filter::ConnectionFilter;
use tcpclose_core::process::Process;
use tcpclose_core::stuck::{
    AgeCertainty, Changes, ObservedSocket, OwnerProcess, OwnerUnknown, Report, Resolution,
    ScanHistory, ScanOutcome, StuckSocket, Trends,
};
use tcpclose_core::types::{EndpointId, Nanos, NetNs, Opening};
use tcpclose_sys::host::cgroup::Cgroups;
use tcpclose_sys::host::descriptors::HolderSearch;
use tcpclose_sys::host::namespace_link::in_initial_pid_namespace;
use tcpclose_sys::kernel::netns::{self, NetNsHandle};

/// Options of a scan.
pub struct ScanOptions {
    /// The shortest time in their state after which sockets are reported.
    pub min_age: Nanos,
    /// The connections. `netns` is the handle of its namespace.
    pub filter: ConnectionFilter,
    /// The only namespace to be scanned; `None` for all.
    pub netns: Option<NetNsHandle>,
    /// Distinguishes that namespace from a later one with its number; `None` where it is not known.
    pub netns_cookie: Option<u64>,
    /// Whether half-closes at work are reported too.
    pub still_sending: bool,
    /// The silence after which established connections are reported that no keepalive timer
    /// guards, beside those whose peer answers nothing; `None`: no established connection is.
    pub dead_after: Option<Nanos>,
    /// The running agent that is asked what it knows of the sockets.
    pub agent: Option<AgentAddress>,
    /// What is read of the holders of stuck sockets.
    pub evidence: EvidenceScope,
}

/// Scans the host, and remembers what it has found for the next scan.
///
/// A scan has three steps, so that others can add what they know between them: [`Self::collect`],
/// [`Self::evaluate`] and [`Self::resolve`].
pub struct Scanner {
    options: ScanOptions,
    history: ScanHistory,
    trends: Trends,
    /// The last report, empty before the first.
    report: Report,
    scans: u64,
    /// The stuck sockets of the report before that are gone, and are still to be added to the last.
    vanished: Vec<StuckSocket>,
    /// The time from the report before to the last; `None` after the first.
    interval: Option<Nanos>,
    /// The processes that stuck sockets belonged to before they had no holder: of a process
    /// that exits, descriptors are gone before its sockets are.
    former_owners: HashMap<EndpointId, Arc<Process>>,
    gaps: Vec<CoverageGap>,
    /// Whether an agent has answered during the last scan.
    agent_answers: bool,
}

impl Scanner {
    /// A scanner that has found nothing yet.
    #[must_use]
    pub fn new(options: ScanOptions) -> Self {
        Self {
            options,
            history: ScanHistory::default(),
            trends: Trends::default(),
            report: Report::default(),
            scans: 0,
            vanished: Vec::new(),
            interval: None,
            former_owners: HashMap::new(),
            gaps: Vec::new(),
            agent_answers: false,
        }
    }

    /// Scans once, with all steps.
    pub fn scan(&mut self) {
        let collected = self.collect();
        self.evaluate(collected);
        self.resolve(&HashMap::new());
    }

    /// Returns the last report.
    #[must_use]
    pub const fn report(&self) -> &Report {
        &self.report
    }

    /// Returns what the last scan could not see.
    #[must_use]
    pub fn take_gaps(&mut self) -> Vec<CoverageGap> {
        mem::take(&mut self.gaps)
    }

    /// Returns whether a running agent has answered during the last scan.
    #[must_use]
    pub const fn agent_answers(&self) -> bool {
        self.agent_answers
    }

    /// Reads the kernel's tables, and asks the agent: the first step. The caller may then set when
    /// each socket entered its state, where it knows that.
    #[must_use]
    pub fn collect(&self) -> ScannedSockets {
        let ScanOptions {
            filter,
            netns,
            netns_cookie,
            dead_after,
            agent,
            ..
        } = &self.options;
        let wanted = ScanScope {
            filter,
            netns: netns.as_ref(),
            netns_cookie: *netns_cookie,
            dead_after: *dead_after,
        };
        let files = match filter.pids.is_empty() {
            true => TaskFileIter::start(),
            false => None,
        };
        let known = self.report.stuck().map(|stuck| &stuck.socket);
        let mut collected = ScannedSockets::read(&wanted, known, files);
        if let Some(agent) = agent {
            let (sockets, gaps) = (&mut collected.sockets, &mut collected.gaps);
            collected.known = KnownSockets::ask(agent, sockets, gaps);
        }
        collected
    }

    /// Makes a report of what was collected: the second step.
    pub fn evaluate(&mut self, mut collected: ScannedSockets) {
        let at = collected.at;
        let min_age = self.options.min_age;
        self.gaps.append(&mut collected.gaps);
        let sockets = mem::take(&mut collected.sockets);
        let ScanOutcome {
            mut old,
            younger,
            mut possibly_stuck,
            gone: mut vanished,
        } = self.history.add(sockets, at, min_age);
        let is_at_work = |socket: &StuckSocket| socket.verdict.is_at_work();
        let still_sending = old.iter().filter(|socket| is_at_work(socket)).count();
        if !self.options.still_sending {
            old.retain(|socket| !is_at_work(socket));
        }

        let pids: Vec<u32> = self.options.filter.pids.iter().copied().collect();
        let sockets = old.iter().chain(&possibly_stuck);
        let sockets = sockets.map(|stuck| &stuck.socket);
        let files = collected.files.take();
        let (holders, search) = SocketHolders::find(sockets, &collected.listeners, &pids, files);
        let sockets = old.iter().chain(&possibly_stuck);
        let unheld = sockets.map(|stuck| stuck.socket);
        let unheld: Vec<ObservedSocket> = unheld
            .filter(|socket| pids.is_empty() && !socket.is_orphan() && !holders.is_held(socket))
            .collect();
        let left = collected.vanished(&unheld);
        for id in &left {
            self.history.forget(*id);
        }
        vanished.extend(&left);
        let is_wanted = |stuck: &StuckSocket| {
            let is_held = pids.is_empty() || holders.is_held_by(&stuck.socket, &pids);
            is_held && !left.contains(&stuck.socket.id)
        };
        old.retain(is_wanted);
        possibly_stuck.retain(is_wanted);

        let unknown = self.owners_unknown(&search, &old, &holders);
        let (known, coverage) = (mem::take(&mut collected.known), holders::coverage(&search));
        self.agent_answers = known.is_answer();
        let served: HashSet<(Option<NetNs>, u16)> = collected
            .listeners
            .iter()
            .map(|listener| (listener.netns, listener.port()))
            .collect();
        let sockets = old.iter().chain(&possibly_stuck);
        let preference = Preference::find(sockets.map(|stuck| &stuck.socket), &holders, |netns| {
            collected.open_diag(netns)
        });
        let complete = |mut stuck: StuckSocket| {
            let socket = &stuck.socket;
            let listens = served.contains(&(socket.netns, socket.tuple.local().port()));
            stuck.endpoint.role = Opening::role(socket.opening, listens);
            let (held_by, owner) = (
                holders.holders_of(socket),
                holders.owner(socket, |pid| preference.rank(socket, pid)),
            );
            known.complete(&mut stuck, !held_by.is_empty(), &coverage);
            stuck.with_holders(held_by, owner, unknown)
        };
        let filter = &self.options.filter;
        let mut cgroups = Cgroups::new();
        let mut is_in = |stuck: &StuckSocket| passes_stuck(filter, stuck, &mut cgroups);
        // How many others there are is of no interest where certain processes are wanted.
        let wants_all =
            pids.is_empty() && filter.processes.is_empty() && filter.containers.is_all();
        let of_all = |count| if wants_all { count } else { 0 };
        let mut sockets: Vec<StuckSocket> =
            old.into_iter().map(complete).filter(&mut is_in).collect();
        add_evidence(&mut sockets, &holders, self.options.evidence);
        let mut report = Report {
            own_netns: netns::current().ok(),
            still_sending: of_all(still_sending),
            younger: of_all(younger),
            possibly_stuck: possibly_stuck
                .into_iter()
                .map(complete)
                .filter(is_in)
                .collect(),
            ..Report::new(at, min_age, sockets, &mut self.trends)
        };
        known.add_growth(&mut report);
        self.replace_report(report, &vanished.into_iter().collect());
    }

    /// Notes what the search for holders could not see. Returns why the owner of a socket is
    /// unknown that has no holder.
    fn owners_unknown(
        &mut self,
        search: &HolderSearch,
        old: &[StuckSocket],
        found: &SocketHolders,
    ) -> OwnerUnknown {
        let contained = !in_initial_pid_namespace();
        let unheld = old.iter().filter(|stuck| !found.is_held(&stuck.socket));
        // Without /proc that is noted already.
        if Path::new("/proc/self").is_symlink() {
            let certain = !self.options.filter.pids.is_empty();
            let unseen = coverage::search_gap(search, unheld.count(), contained, certain);
            self.gaps.extend(unseen);
        }
        holders::coverage(search).owner_unknown()
    }

    fn replace_report(&mut self, report: Report, vanished: &HashSet<EndpointId>) {
        let at = report.at;
        let last = mem::replace(&mut self.report, report);
        self.interval = (self.scans > 0).then(|| at - last.at);
        self.scans += 1;
        let known = last.sockets.into_iter().filter(StuckSocket::is_stuck);
        let (vanished, kept): (Vec<_>, Vec<_>) =
            known.partition(|stuck| vanished.contains(&stuck.socket.id));
        let mut former = mem::take(&mut self.former_owners);
        self.vanished = vanished;
        for stuck in &mut self.vanished {
            if stuck.owner.is_none()
                && let Some(process) = former.remove(&stuck.socket.id)
            {
                let source = stuck.verdict.owner_source();
                stuck.owner = Some(process.as_owner(source).into());
                stuck.owner_unknown = None;
                stuck.process = Some(OwnerProcess::new(process, at));
            }
        }
        let known = kept.into_iter().filter_map(|stuck| {
            let process = stuck.process.map(|owner| owner.process);
            Some((
                stuck.socket.id,
                process.or_else(|| former.remove(&stuck.socket.id))?,
            ))
        });
        let mut known: HashMap<EndpointId, Arc<Process>> = known.collect();
        let unowned = self.report.stuck().filter(|stuck| stuck.process.is_none());
        self.former_owners = unowned
            .filter_map(|stuck| known.remove_entry(&stuck.socket.id))
            .collect();
    }

    /// Returns the sockets that [`Self::evaluate`] has found to be stuck no longer.
    #[must_use]
    pub fn vanished(&self) -> Vec<EndpointId> {
        self.vanished.iter().map(|stuck| stuck.socket.id).collect()
    }

    /// Adds to the report when and how those sockets were resolved, where that was seen: the third
    /// step.
    pub fn resolve(&mut self, seen: &HashMap<EndpointId, (Nanos, Resolution)>) {
        let vanished = mem::take(&mut self.vanished);
        let report = &mut self.report;
        let resolved = vanished.into_iter().map(|mut stuck| {
            let end = seen.get(&stuck.socket.id).copied();
            let (at, by) = end.unwrap_or_else(|| {
                // It ended at some time since the last scan.
                stuck.age.known = AgeCertainty::Estimated;
                (report.at, Resolution::Unknown)
            });
            stuck.resolve(at, by);
            stuck
        });
        let mut resolved: Vec<StuckSocket> = resolved.collect();
        resolved.sort_by_key(|stuck| stuck.at);
        report.changes = self.interval.map(|after| Changes { after, resolved });
    }
}
