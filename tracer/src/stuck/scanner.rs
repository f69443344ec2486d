//! Scans of the whole host: the stuck sockets of every namespace, and who holds them.

use std::collections::{HashMap, HashSet};
use std::mem;
use std::path::Path;
use std::sync::Arc;

use super::collect::{Collected, Wanted};
use super::holders::SocketHolders;
use super::task_file_iter::TaskFileIter;
use crate::coverage::{self, CoverageGap};
use tcpclose_core::filter::ConnectionFilter;
use tcpclose_core::process::Process;
use tcpclose_core::stuck::{
    AgeKnown, Changes, ObservedSocket, OwnerProcess, OwnerUnknown, Report, Resolution, ScanHistory,
    ScanOutcome, StuckSocket, Trends,
};
use tcpclose_core::types::{EndpointId, Nanos, NetNs, Role};
use tcpclose_sys::host::descriptors::HolderSearch;
use tcpclose_sys::host::pid_ns;
use tcpclose_sys::kernel::netns::{self, NetNsHandle};

/// What is scanned for.
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
    gone: Vec<StuckSocket>,
    /// The time from the report before to the last; `None` after the first.
    interval: Option<Nanos>,
    /// The processes that stuck sockets belonged to before nobody held them any more: of a process
    /// that exits, descriptors are gone before its sockets are.
    former_owners: HashMap<EndpointId, Arc<Process>>,
    gaps: Vec<CoverageGap>,
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
            gone: Vec::new(),
            interval: None,
            former_owners: HashMap::new(),
            gaps: Vec::new(),
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

    /// Reads the kernel's tables: the first step. Who knows when a socket entered its state may
    /// note that in it.
    #[must_use]
    pub fn collect(&self) -> Collected {
        let ScanOptions {
            filter,
            netns,
            netns_cookie,
            ..
        } = &self.options;
        let wanted = Wanted {
            filter,
            netns: netns.as_ref(),
            netns_cookie: *netns_cookie,
        };
        let files = match filter.pids.is_empty() {
            true => TaskFileIter::start(),
            false => None,
        };
        let known = self.report.stuck().map(|stuck| &stuck.socket);
        Collected::read(&wanted, known, files)
    }

    /// Makes a report of what was collected: the second step.
    pub fn evaluate(&mut self, mut collected: Collected) {
        let at = collected.at;
        let min_age = self.options.min_age;
        self.gaps.append(&mut collected.gaps);
        let sockets = mem::take(&mut collected.sockets);
        let ScanOutcome {
            mut old,
            younger,
            mut possibly_stuck,
            mut gone,
        } = self.history.add(sockets, at, min_age);
        let still_sending = old.iter().filter(|socket| !socket.is_stuck()).count();
        if !self.options.still_sending {
            old.retain(StuckSocket::is_stuck);
        }

        let pids: Vec<u32> = self.options.filter.pids.iter().copied().collect();
        let sockets = old.iter().chain(&possibly_stuck);
        let sockets = sockets.map(|stuck| &stuck.socket);
        let files = collected.files.take();
        let (holders, search) = SocketHolders::find(sockets, &collected.listeners, &pids, files);
        let sockets = old.iter().chain(&possibly_stuck);
        let unheld = sockets.map(|stuck| stuck.socket);
        let unheld: Vec<ObservedSocket> = unheld
            .filter(|socket| pids.is_empty() && !holders.is_held(socket))
            .collect();
        let left = collected.gone(&unheld);
        for id in &left {
            self.history.forget(*id);
        }
        gone.extend(&left);
        let is_wanted = |stuck: &StuckSocket| {
            let is_held = pids.is_empty() || holders.is_held_by(&stuck.socket, &pids);
            is_held && !left.contains(&stuck.socket.id)
        };
        old.retain(is_wanted);
        possibly_stuck.retain(is_wanted);

        let unknown = self.owners_unknown(&search, &old, &holders);
        let served: HashSet<(Option<NetNs>, u16)> = collected
            .listeners
            .iter()
            .map(|listener| (listener.netns, listener.port()))
            .collect();
        let complete = |mut stuck: StuckSocket| {
            let socket = &stuck.socket;
            if served.contains(&(socket.netns, socket.tuple.local().port())) {
                stuck.endpoint.role = Role::Server;
            }
            let (held_by, owner) = (holders.of(socket), holders.owner(socket));
            stuck.held_by(held_by, owner, unknown)
        };
        // How many others there are is of no interest where certain processes are wanted.
        let of_all = |count| if pids.is_empty() { count } else { 0 };
        let sockets = old.into_iter().map(complete).collect();
        let report = Report {
            own_netns: netns::current().ok(),
            still_sending: of_all(still_sending),
            younger: of_all(younger),
            possibly_stuck: possibly_stuck.into_iter().map(complete).collect(),
            ..Report::new(at, min_age, sockets, &mut self.trends)
        };
        self.replace_report(report, &gone.into_iter().collect());
    }

    /// Notes what the search for holders could not see. Returns why the owner of a socket is
    /// unknown that nobody holds.
    fn owners_unknown(
        &mut self,
        search: &HolderSearch,
        old: &[StuckSocket],
        holders: &SocketHolders,
    ) -> OwnerUnknown {
        let contained = !pid_ns::is_initial();
        let unheld = old.iter().filter(|stuck| !holders.is_held(&stuck.socket));
        // Without /proc that is noted already.
        if Path::new("/proc/self").is_symlink() {
            let certain = !self.options.filter.pids.is_empty();
            let unseen = coverage::of_search(search, unheld.count(), contained, certain);
            self.gaps.extend(unseen);
        }
        if search.hidden || contained || !search.unreadable.is_empty() {
            OwnerUnknown::NotInspectable
        } else {
            OwnerUnknown::NoHolder
        }
    }

    fn replace_report(&mut self, report: Report, gone: &HashSet<EndpointId>) {
        let at = report.at;
        let last = mem::replace(&mut self.report, report);
        self.interval = (self.scans > 0).then(|| at - last.at);
        self.scans += 1;
        let known = last.sockets.into_iter().filter(StuckSocket::is_stuck);
        let (gone, kept): (Vec<_>, Vec<_>) =
            known.partition(|stuck| gone.contains(&stuck.socket.id));
        let mut former = mem::take(&mut self.former_owners);
        self.gone = gone;
        for stuck in &mut self.gone {
            if stuck.owner.is_none()
                && let Some(process) = former.remove(&stuck.socket.id)
            {
                let source = stuck.verdict.owner_source();
                stuck.owner = Some(process.as_owner(source));
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
    pub fn gone(&self) -> Vec<EndpointId> {
        self.gone.iter().map(|stuck| stuck.socket.id).collect()
    }

    /// Adds to the report when and how those sockets were resolved, where that was seen: the third
    /// step.
    pub fn resolve(&mut self, seen: &HashMap<EndpointId, (Nanos, Resolution)>) {
        let gone = mem::take(&mut self.gone);
        let report = &mut self.report;
        let resolved = gone.into_iter().map(|mut stuck| {
            let end = seen.get(&stuck.socket.id).copied();
            let (at, by) = end.unwrap_or_else(|| {
                // It ended at some time since the last scan.
                stuck.age.known = AgeKnown::Estimated;
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

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use tcpclose_common::TcpState;
    use tcpclose_core::types::{Inode, NetNs, StartTime, Tuple};

    fn scanner() -> Scanner {
        Scanner::new(ScanOptions {
            min_age: Nanos(0),
            filter: ConnectionFilter::default(),
            netns: None,
            netns_cookie: None,
            still_sending: false,
        })
    }

    /// A report of one socket that was seen to enter CLOSE_WAIT, held by the process of that id.
    fn report(at: Nanos, pid: Option<u32>) -> Report {
        let ends: [SocketAddr; 2] = [([10, 0, 0, 1], 80).into(), ([10, 0, 0, 2], 4242).into()];
        let socket = ObservedSocket {
            id: EndpointId(1),
            state: TcpState::CloseWait,
            netns: NetNs::new(1),
            tuple: Tuple::from((ends[0], ends[1])),
            interface: None,
            inode: Inode::new(11),
            uid: 0,
            cgroup: None,
            queued: 0,
            unsent: 0,
            keepalive: false,
            entered: Some(Nanos::from_secs(100)),
            activity: None,
        };
        let process = pid.map(|pid| {
            Arc::new(Process {
                pid,
                started: StartTime::new(5),
                ..Process::default()
            })
        });
        let old = ScanHistory::default().add(vec![socket], at, Nanos(0)).old;
        let sockets = old
            .into_iter()
            .map(|stuck| stuck.held_by(Vec::new(), process.as_ref(), OwnerUnknown::NoHolder));
        Report::new(at, Nanos(0), sockets.collect(), &mut Trends::default())
    }

    fn nothing(at: Nanos) -> Report {
        Report::new(at, Nanos(0), Vec::new(), &mut Trends::default())
    }

    #[test]
    fn the_age_of_a_socket_that_ended_unseen_is_not_observed() {
        let mut scanner = scanner();
        let first = report(Nanos::from_secs(400), None);
        assert_eq!(first.sockets[0].age.known, AgeKnown::Observed);
        scanner.replace_report(first, &HashSet::new());
        scanner.resolve(&HashMap::new());
        assert_eq!(scanner.report().changes, None);
        let gone = HashSet::from([EndpointId(1)]);
        scanner.replace_report(nothing(Nanos::from_secs(500)), &gone);
        scanner.resolve(&HashMap::new());
        let changes = scanner.report().changes.as_ref();
        let changes = changes.expect("it is the second report");
        assert_eq!(changes.after, Nanos::from_secs(100));
        let resolved = &changes.resolved[0];
        assert_eq!(resolved.resolution(), Some(Resolution::Unknown));
        assert_eq!(resolved.age.known, AgeKnown::Estimated);
        assert_eq!(resolved.at, Nanos::from_secs(500));
    }

    #[test]
    fn an_end_that_was_seen_is_exact() {
        let mut scanner = scanner();
        scanner.replace_report(report(Nanos::from_secs(400), Some(7)), &HashSet::new());
        let gone = HashSet::from([EndpointId(1)]);
        scanner.replace_report(nothing(Nanos::from_secs(500)), &gone);
        assert_eq!(scanner.gone(), [EndpointId(1)]);
        let end = (Nanos::from_secs(450), Resolution::Reset);
        let seen = HashMap::from([(EndpointId(1), end)]);
        scanner.resolve(&seen);
        let changes = scanner.report().changes.clone();
        let resolved = changes.expect("it is the second report").resolved.remove(0);
        assert_eq!((resolved.at, resolved.resolution()), (end.0, Some(end.1)));
        assert_eq!(resolved.age.known, AgeKnown::Observed);
        assert_eq!(resolved.owner.map(|owner| owner.pid), Some(7));
    }

    #[test]
    fn the_owner_of_a_stuck_socket_is_kept_to_its_end() {
        let mut scanner = scanner();
        scanner.replace_report(report(Nanos::from_secs(400), Some(7)), &HashSet::new());
        // Nobody holds it at the last two scans any more.
        for at in [410, 420] {
            scanner.replace_report(report(Nanos::from_secs(at), None), &HashSet::new());
        }
        let gone = HashSet::from([EndpointId(1)]);
        scanner.replace_report(nothing(Nanos::from_secs(430)), &gone);
        scanner.resolve(&HashMap::new());
        let changes = scanner.report().changes.as_ref();
        let resolved = &changes.expect("it is not the first report").resolved[0];
        assert_eq!(resolved.owner.as_ref().map(|owner| owner.pid), Some(7));
        assert_eq!(resolved.owner_unknown, None);
        let process = resolved.process.as_ref();
        assert_eq!(process.map(|owner| owner.process.pid), Some(7));
    }

    #[test]
    fn sockets_that_were_not_reported_are_not_resolved() {
        let mut scanner = scanner();
        scanner.replace_report(nothing(Nanos::from_secs(400)), &HashSet::new());
        let gone = HashSet::from([EndpointId(1)]);
        scanner.replace_report(nothing(Nanos::from_secs(500)), &gone);
        assert_eq!(scanner.gone(), []);
    }
}
