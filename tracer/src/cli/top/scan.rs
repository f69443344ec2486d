//! Scans of the host beside the tracing session: stuck sockets, routes, open descriptors, and the
//! names of services. They read files that may be slow, so they run in a thread of their own.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::task::{JoinHandle, spawn_blocking};

use super::args::TopArgs;
use crate::coverage::CoverageGap;
use crate::output::top::{HostScan, Service};
use crate::ports::{PortScanOptions, PortScanner};
use crate::session::now;
use crate::stuck::{EvidenceScope, ScanOptions, Scanner};
use tcpclose_core::types::CgroupId;
use tcpclose_sys::host::cgroup::Cgroups;
use tcpclose_sys::host::descriptors::process_with_id;
use tcpclose_sys::host::namespace_link::in_initial_pid_namespace;

/// The shortest time from one scan to the next.
const MIN_SCAN_INTERVAL: Duration = Duration::from_secs(5);
/// A scan that took t is followed by none for so many t: 5 % of a core.
const PAUSE_FACTOR: u32 = 20;
/// The most processes of which descriptors are counted.
pub(super) const MAX_PROCESSES: usize = 256;

/// What a scan is asked for.
pub(super) struct ScanRequest {
    /// Cgroups whose names are not known.
    pub cgroups: Vec<CgroupId>,
    /// Processes of which descriptors are counted.
    pub pids: Vec<u32>,
}

/// What a scan has found.
pub(super) struct ScanResult {
    /// The names that are known now.
    pub names: Vec<(CgroupId, Option<Service>)>,
    /// The host; `None` where only names were asked for.
    pub host: Option<HostScan>,
}

/// Scans, one after the other.
pub(super) struct Scans {
    /// Here while no scan is under way.
    worker: Option<Box<ScanWorker>>,
    running: Option<JoinHandle<(Box<ScanWorker>, ScanResult)>>,
    /// The shortest time from one scan of the host to the next.
    interval: Duration,
    /// When the next scan of the host is due.
    due: Instant,
    began: Instant,
}

impl Scans {
    pub fn new(args: &TopArgs) -> anyhow::Result<Self> {
        let filter = args.filters.live()?;
        let (netns, netns_cookie) = args.filters.kernel.scanned_namespace()?;
        let stuck = args.stuck.as_ref();
        let (netns_of_ports, _) = args.filters.kernel.scanned_namespace()?;
        let worker = ScanWorker {
            stuck: Scanner::new(ScanOptions {
                min_age: args.min_age.into(),
                filter: filter.clone(),
                netns,
                netns_cookie,
                still_sending: false,
                dead_after: stuck.and_then(|stuck| stuck.dead_after),
                agent: args.agent.address(),
                evidence: stuck.map_or(EvidenceScope::None, |stuck| stuck.evidence),
            }),
            ports: PortScanner::new(PortScanOptions {
                filter,
                netns: netns_of_ports,
                netns_cookie,
                agent: args.agent.address(),
            }),
            cgroups: Cgroups::new(),
            reads_processes: in_initial_pid_namespace(),
        };
        Ok(Self {
            worker: Some(worker.into()),
            running: None,
            interval: stuck.map_or(MIN_SCAN_INTERVAL, |stuck| stuck.interval),
            due: Instant::now(),
            began: Instant::now(),
        })
    }

    /// Starts a scan of the host if one is due, or else one for names if some are missing. Does
    /// nothing while one is under way.
    pub fn start(&mut self, request: impl FnOnce() -> ScanRequest) {
        let Some(mut worker) = self.worker.take() else {
            return;
        };
        let request = request();
        let is_due = Instant::now() >= self.due;
        if !is_due && request.cgroups.is_empty() {
            self.worker = Some(worker);
            return;
        }
        self.began = Instant::now();
        self.running = Some(spawn_blocking(move || {
            let result = worker.scan(&request, is_due);
            (worker, result)
        }));
    }

    /// Waits for the scan that is under way. Safe to cancel.
    pub async fn finished(&mut self) -> anyhow::Result<ScanResult> {
        let Some(running) = &mut self.running else {
            return std::future::pending().await;
        };
        let finished = running.await;
        self.running = None;
        let (worker, result) = finished.context("a scan ended in a panic")?;
        self.worker = Some(worker);
        if result.host.is_some() {
            let pause = (self.began.elapsed() * PAUSE_FACTOR).max(self.interval);
            self.due = Instant::now() + pause;
        }
        Ok(result)
    }
}

struct ScanWorker {
    stuck: Scanner,
    ports: PortScanner,
    cgroups: Cgroups,
    /// Whether the process ids of the records are those in /proc.
    reads_processes: bool,
}

impl ScanWorker {
    fn scan(&mut self, request: &ScanRequest, with_host: bool) -> ScanResult {
        let names = request.cgroups.iter().filter_map(|cgroup| {
            let name = self.cgroups.name(cgroup.get())?;
            Some((*cgroup, Service::from_cgroup(name)))
        });
        ScanResult {
            names: names.collect(),
            host: with_host.then(|| self.scan_host(&request.pids)),
        }
    }

    fn scan_host(&mut self, pids: &[u32]) -> HostScan {
        self.stuck.scan();
        let (routes, gaps) = self.ports.scan();
        let mut unseen = Vec::new();
        for CoverageGap { text, matters } in self.stuck.take_gaps().into_iter().chain(gaps) {
            if matters && !unseen.contains(&text) {
                unseen.push(text);
            }
        }
        let pids = pids.iter().filter(|_| self.reads_processes);
        // Those that have exited are left out.
        let processes: BTreeMap<u32, _> = pids
            .filter_map(|pid| Some((*pid, process_with_id(*pid).ok()?)))
            .collect();
        HostScan {
            at: now(),
            stuck: Arc::new(self.stuck.report().clone()),
            routes: Arc::new(routes),
            processes: processes.into_values().collect(),
            unseen,
        }
    }
}
