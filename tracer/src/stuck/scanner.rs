//! One look at the host: every namespace's sockets in CLOSE_WAIT, and who holds the old ones.

use std::collections::HashMap;
use std::mem;
use std::path::Path;
use std::sync::Arc;

use super::close_wait_tracer::CloseWaitHistory;
use super::collect::Tables;
use super::coverage::{self, CoverageGap};
use super::holders::SocketHolders;
use super::report::{Owner, Report};
use super::task_file_iter::Walk;
use tcpclose_core::filter::ConnectionFilter;
use tcpclose_core::process::Process;
use tcpclose_core::stuck::{AgeKnown, Leak, ObservedSocket, Resolution, ScanHistory, Trends};
use tcpclose_core::types::{EndpointId, Nanos, StartTime};
use tcpclose_sys::host::pid_ns;
use tcpclose_sys::kernel::clock::now;
use tcpclose_sys::kernel::netns::{self, NetNsHandle};

/// Which sockets are looked for.
pub struct Wanted {
    /// The least age.
    pub min_age: Nanos,
    /// Which connections. Of a namespace, `netns` is the handle.
    pub filter: ConnectionFilter,
    /// Only there; else everywhere.
    pub netns: Option<NetNsHandle>,
    /// What tells that one from a later one with its number; `None` where that is not known.
    pub cookie: Option<u64>,
    /// Half-closes at work too.
    pub still_sending: bool,
}

/// Looks, and remembers what it saw for the next look.
pub struct Scanner {
    wanted: Wanted,
    ledger: ScanHistory,
    growths: Trends<(Owner, Option<StartTime>)>,
    /// Leaks of the last report, and whose they were when that was last known: of a process that exits, descriptors are
    /// gone before its sockets are.
    told: HashMap<EndpointId, Option<Arc<Process>>>,
    blind: Vec<CoverageGap>,
    testimony: Option<CloseWaitHistory>,
}

/// A leak of the last report that is no more.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// As it was when it was last seen.
    pub leak: Leak,
    /// When it ended; where nobody saw that, when it was missed.
    pub at: Nanos,
    /// How it ended.
    pub end: Resolution,
    /// Whose it was, where that was ever known.
    pub process: Option<Arc<Process>>,
}

impl Scanner {
    /// Looks for what is wanted.
    #[must_use]
    pub fn new(wanted: Wanted) -> Self {
        Self {
            wanted,
            ledger: ScanHistory::default(),
            growths: Trends::default(),
            told: HashMap::new(),
            blind: vec![],
            testimony: None,
        }
    }

    /// Believes this witness, from now on.
    #[must_use]
    pub fn with_testimony(mut self, testimony: CloseWaitHistory) -> Self {
        self.testimony = Some(testimony);
        self
    }

    /// What the last look could not see.
    #[must_use]
    pub fn take_blind(&mut self) -> Vec<CoverageGap> {
        mem::take(&mut self.blind)
    }

    /// What is there now, and what was a leak in the last report and is gone.
    pub fn look(&mut self) -> (Report, Vec<Resolved>) {
        let at = now();
        let pids: Vec<u32> = self.wanted.filter.pids.iter().copied().collect();
        let walk = match pids.is_empty() {
            true => Walk::begin(),
            false => None,
        };
        let mut tables = Tables::read(&self.wanted, self.ledger.told(), at);
        self.blind.append(&mut tables.blind);
        let mut close_wait = mem::take(&mut tables.close_wait);
        if let Some(testimony) = &self.testimony {
            for socket in &mut close_wait {
                socket.entered = testimony.entered(socket.id);
            }
        }
        let mut look = self.ledger.look(close_wait, at, self.wanted.min_age);
        let sending = look.old.iter().filter(|leak| !leak.verdict.is_stuck());
        let sending = sending.count();
        if !self.wanted.still_sending {
            look.old.retain(|leak| leak.verdict.is_stuck());
        }

        let sockets = look.old.iter().chain(&look.hidden);
        let sockets = sockets.map(|leak| &leak.socket);
        let (held, search) = SocketHolders::find(sockets, &tables.listeners, &pids, walk);
        if pids.is_empty() {
            let unheld = look.old.iter().chain(&look.hidden);
            let unheld = unheld.filter(|leak| !held.is_held(&leak.socket));
            let unheld: Vec<ObservedSocket> = unheld.map(|leak| leak.socket).collect();
            let left = tables.left(&unheld);
            let is_there = |leak: &Leak| !left.contains(&leak.socket.id);
            look.old.retain(is_there);
            look.hidden.retain(is_there);
            let resolved = left.iter().filter_map(|id| self.ledger.forget(*id));
            look.resolved.extend(resolved);
        } else {
            let is_wanted = |leak: &Leak| {
                let mut holders = held.descriptors(&leak.socket);
                holders.any(|holder| pids.contains(&holder.pid))
            };
            look.old.retain(is_wanted);
            look.hidden.retain(is_wanted);
        }
        let contained = !pid_ns::is_initial();
        let unheld = look.old.iter().filter(|leak| !held.is_held(&leak.socket));
        // Without /proc that is said already.
        if Path::new("/proc/self").is_symlink() {
            let unseen = coverage::of_search(&search, unheld.count(), contained, !pids.is_empty());
            self.blind.extend(unseen);
        }

        // How many others there are tells nothing of certain processes.
        let of_all = |count| if pids.is_empty() { count } else { 0 };
        let listeners = tables.listeners.iter();
        let mut report = Report {
            at,
            min_age: self.wanted.min_age,
            leaks: look.old,
            hidden: look.hidden,
            held,
            own: netns::current().ok(),
            served: listeners
                .map(|listener| (listener.netns, listener.port()))
                .collect(),
            sending: of_all(sending),
            younger: of_all(look.younger),
            unseen_processes: search.hidden || contained || !search.unreadable.is_empty(),
            ..Report::default()
        };
        report.group();
        report.grow(&mut self.growths);
        let resolved = self.resolved(look.resolved, at);
        let told = report.leaks.iter().filter(|leak| leak.verdict.is_stuck());
        self.told = told
            .map(|leak| {
                let process = report.process(report.owner(leak)).cloned();
                let before = self.told.remove(&leak.socket.id).flatten();
                (leak.socket.id, process.or(before))
            })
            .collect();
        (report, resolved)
    }

    /// How those of the last report ended that are gone, in the order of time.
    fn resolved(&mut self, mut gone: Vec<Leak>, at: Nanos) -> Vec<Resolved> {
        gone.retain(|leak| self.told.contains_key(&leak.socket.id));
        let ids: Vec<EndpointId> = gone.iter().map(|leak| leak.socket.id).collect();
        let testimony = self.testimony.as_ref();
        let left = testimony.map_or_else(HashMap::new, |testimony| testimony.take_left(&ids));
        let end = |mut leak: Leak| {
            let (at, end) = left.get(&leak.socket.id).copied().unwrap_or_else(|| {
                // It ended at some time since the last look.
                leak.age.known = AgeKnown::Estimated;
                (at, Resolution::Unknown)
            });
            let process = self.told.remove(&leak.socket.id).flatten();
            Resolved {
                leak,
                at,
                end,
                process,
            }
        };
        let mut resolved: Vec<Resolved> = gone.into_iter().map(end).collect();
        resolved.sort_by_key(|resolved| resolved.at);
        resolved
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use tcpclose_core::types::{Inode, NetNs, Tuple};

    #[test]
    fn the_age_of_what_ended_unseen_is_not_observed() {
        let mut looker = Scanner::new(Wanted {
            min_age: Nanos(0),
            filter: ConnectionFilter::default(),
            netns: None,
            cookie: None,
            still_sending: false,
        });
        let ends: [SocketAddr; 2] = [([10, 0, 0, 1], 80).into(), ([10, 0, 0, 2], 4242).into()];
        let socket = ObservedSocket {
            id: EndpointId(1),
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
        let look = looker
            .ledger
            .look(vec![socket], Nanos::from_secs(400), Nanos(0));
        let leak = look.old[0];
        assert_eq!(leak.age.known, AgeKnown::Observed);
        looker.told.insert(leak.socket.id, None);
        let resolved = looker.resolved(vec![leak], Nanos::from_secs(500));
        assert_eq!(resolved[0].end, Resolution::Unknown);
        assert_eq!(resolved[0].leak.age.known, AgeKnown::Estimated);
        assert_eq!(resolved[0].at, Nanos::from_secs(500));
    }
}
