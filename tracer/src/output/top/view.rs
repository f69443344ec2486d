//! Everything that one screen may show: made from what was counted and scanned, and then only
//! looked at.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;

use super::service::Service;
use super::tally::{Origin, OriginKey, ServiceNames, Tally};
use crate::escape::push_for_terminal;
use crate::output::clock::WallClock;
use crate::output::close_tally::AbnormalGroup;
use crate::output::duration::push_with_unit;
use crate::output::triage::{Triage, TriageVerdict};
use tcpclose_core::ListedEndpoint;
use tcpclose_core::finding::Close;
use tcpclose_core::process::Process;
use tcpclose_core::routes::{NEARLY_FULL_SHARE, RouteReport, RoutesReport};
use tcpclose_core::stuck::Report;
use tcpclose_core::types::{Nanos, NetNs};

/// The most groups of abnormal closes that are listed.
const MAX_GROUPS: usize = 200;
/// The share of its descriptors from which on a process is in trouble.
const MANY_FILES_SHARE: f64 = 0.8;

/// What scans of the host have found.
#[derive(Clone, Debug, Default)]
pub(crate) struct HostScan {
    /// When it was made.
    pub at: Nanos,
    /// The stuck sockets.
    pub stuck: Arc<Report>,
    /// The last scan's routes.
    pub routes: Arc<RoutesReport>,
    /// Processes of which descriptors were counted.
    pub processes: Vec<Process>,
    /// What could not be seen, as sentences.
    pub unseen: Vec<String>,
}

/// The place in a recording.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct ReplayPosition {
    /// How much faster than in reality it is replayed.
    pub speed: u32,
    /// How much of its time has passed.
    pub passed: Nanos,
    /// Whether that is all of it.
    pub ended: bool,
}

/// The sockets of one service.
#[derive(Clone, Debug)]
pub(crate) struct OpenedService {
    /// Whose connections these are.
    pub service: Service,
    /// Its open endpoints, the ones first that entered their state first.
    pub endpoints: Vec<ListedEndpoint>,
    /// How many it has.
    pub total: usize,
    /// The last of its closes that are still known, the newest first.
    pub closes: Vec<Arc<Close>>,
}

/// What a view is made from.
pub(crate) struct Sources<'a> {
    /// The closes since the start.
    pub tally: &'a Tally,
    /// The names of services.
    pub names: &'a ServiceNames,
    /// The last scan; `None` before the first, and where none is made.
    pub scan: Option<&'a HostScan>,
    /// The present time.
    pub now: Nanos,
    /// Converts the kernel's time to the wall clock's.
    pub clock: WallClock,
    /// How many connections are open.
    pub open: u64,
    /// Endpoints that close now, and how many there are.
    pub closing: (Vec<ListedEndpoint>, usize),
    /// The open endpoints of the service that is looked into, and how many there are.
    pub opened: Option<(Service, Vec<ListedEndpoint>, usize)>,
    /// Where in a recording that is.
    pub position: Option<ReplayPosition>,
    /// Why closes are not seen, where nothing is traced.
    pub untraced: Option<&'a str>,
}

/// A line about a service.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ServiceRow {
    /// The name of its processes, escaped; that of the busiest.
    pub process: String,
    /// Closes per second.
    pub closes: f64,
    /// Abnormal closes per second.
    pub abnormal: f64,
    /// All abnormal closes since the start.
    pub abnormal_total: u64,
    /// The main cause of these of late.
    pub cause: Option<String>,
    /// How many sockets of the service are stuck.
    pub stuck: u64,
    /// Open descriptors and their limit, of the process that has the fewest left.
    pub files: Option<(u64, Option<u64>)>,
    /// The share of local ports that is used on its fullest route.
    pub ports: Option<f64>,
}

impl ServiceRow {
    /// Returns the share of its descriptors that is used.
    pub fn files_share(&self) -> f64 {
        match self.files {
            Some((open, Some(limit))) => open as f64 / limit.max(1) as f64,
            _ => 0.0,
        }
    }

    /// Returns whether it is short of descriptors.
    pub fn lacks_files(&self) -> bool {
        self.files_share() >= MANY_FILES_SHARE
    }

    /// Returns whether it is short of ports.
    pub fn lacks_ports(&self) -> bool {
        self.ports.is_some_and(|share| share >= NEARLY_FULL_SHARE)
    }

    /// Returns how much is wrong: first what stops it, then what grows, then what fails.
    pub fn trouble(&self) -> (u8, u64, u64) {
        let class = match () {
            () if self.lacks_files() || self.lacks_ports() => 3,
            () if self.stuck > 0 => 2,
            () if self.abnormal > 0.0 => 1,
            () => 0,
        };
        let per_minute = (self.abnormal * 60.0) as u64;
        (class, self.stuck, per_minute)
    }
}

/// A group of abnormal closes, and the last of them that is still known.
#[derive(Clone, Debug)]
pub(crate) struct ResetRow {
    pub(super) abnormal: AbnormalGroup,
    pub(super) example: Option<Arc<Close>>,
}

/// Everything that can be shown at one moment.
#[derive(Clone, Debug)]
pub(crate) struct View {
    pub(super) at: Nanos,
    pub(super) clock: WallClock,
    pub(super) open: u64,
    pub(super) closes: f64,
    pub(super) abnormal: f64,
    pub(super) lost: u64,
    /// How many services were forgotten.
    pub(super) forgotten: u64,
    pub(super) services: Vec<(Service, ServiceRow)>,
    pub(super) scan: Option<HostScan>,
    pub(super) resets: Vec<ResetRow>,
    pub(super) closing: (Vec<ListedEndpoint>, usize),
    pub(super) opened: Option<OpenedService>,
    pub(super) verdicts: Vec<TriageVerdict>,
    pub(super) unseen: Vec<String>,
    pub(super) position: Option<ReplayPosition>,
    /// Whether closes are seen, and not what scans find alone.
    pub(super) is_traced: bool,
}

impl View {
    /// Makes a view.
    pub fn new(sources: Sources<'_>) -> Self {
        let Sources {
            tally,
            names,
            scan,
            now,
            clock,
            open,
            closing,
            opened,
            position,
            untraced,
        } = sources;
        let (stuck, routes) = match scan {
            Some(scan) => (Arc::clone(&scan.stuck), Arc::clone(&scan.routes)),
            None => Default::default(),
        };
        let mut unseen = scan.map_or_else(Vec::new, |scan| scan.unseen.clone());
        if let Some(why) = untraced {
            unseen.insert(0, format!("closes and resets are not seen: {why}"));
        }
        let traced = untraced.is_none().then_some(&tally.traced);
        let triage = Triage::new(&stuck, &routes, traced, unseen);
        let opened = opened.map(|(service, endpoints, total)| {
            let closes = tally.kept_closes().into_iter();
            let is_its = |close: &&Arc<Close>| {
                names.service(&OriginKey::new(close.owner.as_ref())) == service
            };
            OpenedService {
                closes: closes.filter(is_its).cloned().collect(),
                service,
                endpoints,
                total,
            }
        });
        Self {
            at: now,
            clock,
            open,
            closes: tally.all.closes.per_second(now, tally.start),
            abnormal: tally.all.abnormal.per_second(now, tally.start),
            lost: tally.traced.lost,
            forgotten: tally.forgotten,
            services: services(tally, names, scan, now),
            scan: scan.cloned(),
            resets: resets(tally),
            closing,
            opened,
            verdicts: triage.verdicts,
            unseen: triage.unseen,
            position,
            is_traced: untraced.is_none(),
        }
    }

    /// Returns how many sockets are stuck; `None` where nothing was scanned yet.
    pub(super) fn stuck(&self) -> Option<u64> {
        let scan = self.scan.as_ref()?;
        Some(scan.stuck.stuck().count() as u64)
    }

    /// Returns what is wrong, the worst first, in at most so many sentences; where nothing is, a
    /// sentence about that. And whether anything is.
    pub(super) fn sentences(&self, most: usize) -> (Vec<String>, bool) {
        let verdicts = self.verdicts.iter().take(most).map(|verdict| {
            let mut text = verdict.what.clone();
            if let Some(who) = verdict.who.first() {
                text.push_str(": ");
                text.push_str(who);
            }
            text
        });
        let verdicts: Vec<String> = verdicts.collect();
        if !verdicts.is_empty() {
            return (verdicts, true);
        }
        let text = match (&self.scan, self.unseen.first()) {
            (None, _) => "not scanned yet".to_owned(),
            (Some(scan), None) => {
                let mut text = "nothing is wrong".to_owned();
                if self.position.is_none() {
                    text.push_str(" (scanned ");
                    push_with_unit(&mut text, self.at - scan.at);
                    text.push_str(" ago)");
                }
                text
            }
            (Some(_), Some(first)) => {
                format!("nothing wrong was seen, but not everything could be: {first}")
            }
        };
        (vec![text], false)
    }

    /// Returns how many routes are full or nearly full.
    pub(super) fn scarce_routes(&self) -> usize {
        let scan = self.scan.as_ref();
        let routes = scan.map_or(&[][..], |scan| &scan.routes.routes);
        let share = |share: Option<f64>| share.is_some_and(|share| share >= NEARLY_FULL_SHARE);
        let pressure = routes.iter().map(|route| route.usage.pressure);
        pressure
            .filter(|pressure| share(pressure.and_then(|pressure| pressure.share())))
            .count()
    }
}

fn services(
    tally: &Tally,
    names: &ServiceNames,
    scan: Option<&HostScan>,
    now: Nanos,
) -> Vec<(Service, ServiceRow)> {
    let mut origins: HashMap<Service, (Origin, Nanos, String)> = HashMap::new();
    for (key, origin) in &tally.origins {
        let (all, last, process) = origins.entry(names.service(key)).or_default();
        all.merge(origin);
        if origin.last >= *last {
            *last = origin.last;
            process.clear();
            if let Some(comm) = key.comm() {
                push_for_terminal(process, comm);
            }
        }
    }
    if tally.forgotten > 0 {
        let others = (tally.others.clone(), Nanos(0), String::new());
        origins.insert(Service::others(), others);
    }
    let mut rows: BTreeMap<Service, ServiceRow> = origins
        .into_iter()
        .map(|(service, (origin, _, process))| {
            let row = ServiceRow {
                process,
                closes: origin.closes.per_second(now, tally.start),
                abnormal: origin.abnormal.per_second(now, tally.start),
                abnormal_total: origin.abnormal_total,
                cause: origin.causes.main(),
                ..ServiceRow::default()
            };
            (service, row)
        })
        .collect();
    if let Some(scan) = scan {
        add_scan(&mut rows, scan);
        add_ports(&mut rows, tally, names, scan);
    }
    rows.into_iter().collect()
}

/// Adds what a scan has found to the services.
fn add_scan(rows: &mut BTreeMap<Service, ServiceRow>, scan: &HostScan) {
    for process in &scan.processes {
        add_process(rows, process);
    }
    for group in &scan.stuck.owners {
        let stuck = group.count.sample.stuck;
        if stuck == 0 {
            continue;
        }
        let row = match &group.count.process {
            Some(owner) => add_process(rows, &owner.process),
            None => rows.entry(Service::unknown()).or_default(),
        };
        row.stuck += stuck;
    }
    for route in &scan.routes.routes {
        let share = route.usage.pressure.and_then(|pressure| pressure.share());
        for owner in &route.owners {
            let row = add_process(rows, &owner.process);
            if share > row.ports {
                row.ports = share;
            }
        }
    }
}

/// Adds the routes on which services have connected: of those in TIME_WAIT, a scan does not show
/// the process.
fn add_ports(
    rows: &mut BTreeMap<Service, ServiceRow>,
    tally: &Tally,
    names: &ServiceNames,
    scan: &HostScan,
) {
    let mut shares: HashMap<(Option<NetNs>, SocketAddr), f64> = HashMap::new();
    for RouteReport { usage, .. } in &scan.routes.routes {
        if let Some(share) = usage.pressure.and_then(|pressure| pressure.share()) {
            let fullest = shares
                .entry((usage.route.netns, usage.route.peer))
                .or_default();
            *fullest = fullest.max(share);
        }
    }
    for (key, origin) in &tally.origins {
        let shares = origin.peers.iter().filter_map(|peer| shares.get(peer));
        let fullest = shares.copied().reduce(f64::max);
        if fullest.is_some()
            && let Some(row) = rows.get_mut(&names.service(key))
            && fullest > row.ports
        {
            row.ports = fullest;
        }
    }
}

/// Adds the descriptors of a process, and returns the line of its service.
fn add_process<'a>(
    rows: &'a mut BTreeMap<Service, ServiceRow>,
    process: &Process,
) -> &'a mut ServiceRow {
    let row = rows.entry(Service::from_process(process)).or_default();
    if row.process.is_empty() {
        push_for_terminal(&mut row.process, &process.comm);
    }
    let other = ServiceRow {
        files: Some((process.open_fds, process.fd_limit)),
        ..ServiceRow::default()
    };
    if row.files.is_none() || other.files_share() > row.files_share() {
        row.files = other.files;
    }
    row
}

fn resets(tally: &Tally) -> Vec<ResetRow> {
    let closes = &tally.traced.tally;
    let (groups, _) = closes.largest(MAX_GROUPS);
    let mut examples = HashMap::new();
    if !groups.is_empty() {
        for close in tally.abnormal_closes() {
            examples.entry(closes.group(close)).or_insert(close);
        }
    }
    let rows = groups.into_iter().map(|abnormal| ResetRow {
        example: examples.get(&abnormal.group).map(|close| Arc::clone(close)),
        abnormal,
    });
    rows.collect()
}
