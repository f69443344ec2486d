//! One host: its kernel's events in the order of time, its core, and the records of its agent.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::PathBuf;

use jiff::tz::TimeZone;
use tcpclose::output::clock::WallClock;
use tcpclose::output::json::{self, JsonOptions};
use tcpclose::record::Record;
use tcpclose::summary::{IntervalEnd, Summarizer};
use tcpclose::usage::Usage;
use tcpclose_common::TcpState;
use tcpclose_core::event::Event;
use tcpclose_core::finding::{Finding, Loss, LossLocation};
use tcpclose_core::summary::{Gauges, IntervalContext, PortPressure, Route};
use tcpclose_core::types::{EndpointId, Nanos, Tuple};
use tcpclose_core::{Input, SnapshotSocket, SocketKind, Tracker};

use crate::endpoint::NETNS;
use crate::faults::DAY;
use crate::fleet::{Host as Place, PARTNER};
use crate::names::{Installed, Names};
use crate::pending::PendingEvents;
use crate::probes::answer;
use crate::services::SERVICES;
use crate::truth::Counts;

/// Ports that connect() may choose by default.
const EPHEMERAL_PORTS: u32 = 28_232;
/// The agent's `stuck_after`.
const STUCK_AFTER: Nanos = Nanos::from_secs(60);
/// The agent's `max_connections`; memory grows with those that there are.
const MAX_CONNECTIONS: usize = 1 << 20;
/// So many bytes are written at once.
const BUFFER: usize = 256 << 10;

/// A host with its agent.
pub struct Host {
    tuple: Tuple,
    route: Route,
    tracker: Tracker,
    summarizer: Summarizer,
    pending: PendingEvents,
    last_cookie: u64,
    last_port: u16,
    lost: u64,
    started: Nanos,
    is_silent: bool,
    clock: WallClock,
    installed: Installed,
    names: Names,
    lines: Vec<u8>,
    directory: PathBuf,
    /// The start of the fleet's time as a time of day.
    epoch: i64,
    day: u64,
    /// What its records add up to.
    pub counts: Counts,
}

impl Host {
    /// Returns a host whose agent starts at 0. `epoch` is the wall time of that in nanoseconds;
    /// `skew` is how much the host's clock is ahead of it.
    pub fn new(
        place: &Place,
        installed: Installed,
        directory: PathBuf,
        (epoch, skew): (i64, i64),
    ) -> io::Result<Self> {
        fs::create_dir_all(&directory)?;
        let port = SERVICES[place.service].port;
        let unspecified = std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED);
        let names = Names(installed.cgroup());
        let mut host = Self {
            tuple: Tuple::from(((unspecified, port).into(), (unspecified, 0).into())),
            route: Route {
                netns: Some(NETNS),
                local: place.address,
                peer: PARTNER.into(),
            },
            tracker: Tracker::new(1),
            summarizer: Summarizer::new(Nanos(0)),
            pending: PendingEvents::default(),
            last_cookie: 100,
            last_port: 32_768,
            lost: 0,
            started: Nanos(0),
            is_silent: false,
            clock: WallClock::fixed(epoch + skew, TimeZone::UTC),
            installed,
            names,
            lines: Vec::new(),
            directory,
            epoch,
            day: 0,
            counts: Counts::default(),
        };
        host.start(Nanos(0));
        Ok(host)
    }

    /// The agent starts.
    fn start(&mut self, at: Nanos) {
        self.tracker = Tracker::new(MAX_CONNECTIONS)
            .with_hooks()
            .with_segments()
            .with_drops()
            .with_stuck_after(STUCK_AFTER);
        self.summarizer = Summarizer::new(at);
        self.started = at;
        self.learn_listener(at);
    }

    fn learn_listener(&mut self, at: Nanos) {
        self.last_cookie += 1;
        let listener = SnapshotSocket {
            cookie: EndpointId(self.last_cookie),
            netns: NETNS,
            tuple: self.tuple,
            state: TcpState::Listen,
            kind: SocketKind::Passive,
            owner: Some(self.installed.owner()),
        };
        self.tracker.apply(&Input::Snapshot {
            sockets: vec![listener],
            at,
        });
    }

    /// Another version is deployed.
    pub fn deploy(&mut self, installed: Installed, at: Nanos) {
        self.names = Names(installed.cgroup());
        self.installed = installed;
        self.learn_listener(at);
    }

    /// The service.
    pub const fn installed(&self) -> &Installed {
        &self.installed
    }

    /// A socket's cookie.
    pub fn next_cookie(&mut self) -> EndpointId {
        self.last_cookie += 1;
        EndpointId(self.last_cookie)
    }

    /// A local port for connect().
    pub fn next_port(&mut self) -> u16 {
        self.last_port = if self.last_port >= 60_999 {
            32_768
        } else {
            self.last_port + 1
        };
        self.last_port
    }

    /// These events will happen.
    pub fn expect(&mut self, events: Vec<Event>) {
        self.pending.add(events);
    }

    /// How many events are still to happen.
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// So many records of the kernel find the ring buffer full.
    pub const fn lose(&mut self, records: u64) {
        self.lost += records;
    }

    /// Lets time pass up to `now`. An agent that `is_silent` does not run.
    pub fn pass(&mut self, now: Nanos, is_silent: bool) -> io::Result<()> {
        if self.is_silent && !is_silent {
            self.start(now);
        }
        self.is_silent = is_silent;
        while let Some(event) = self.pending.next_until(now) {
            if !is_silent {
                self.tracker.apply(&Input::Event(event));
            }
        }
        if is_silent {
            return Ok(());
        }
        if self.lost > 0 {
            self.tracker.apply(&Input::Loss(Loss {
                at: now,
                lost: std::mem::take(&mut self.lost),
                location: LossLocation::Ring,
                repaired: true,
                duration: None,
            }));
        }
        self.tracker.apply(&Input::Time(now));
        self.answer_probes(now);
        self.write_findings()?;
        if now.0 / DAY.0 != self.day {
            self.flush()?;
            self.day = now.0 / DAY.0;
        }
        Ok(())
    }

    /// Ends an interval of the agent. A gateway that `has_no_ports` uses all of them.
    pub fn end_interval(&mut self, now: Nanos, has_no_ports: bool) -> io::Result<()> {
        if self.is_silent {
            return Ok(());
        }
        let ran = now - self.started;
        let end = IntervalEnd {
            at: now,
            pressure: self.pressure(has_no_ports),
            outputs: Vec::new(),
            usage: Some(Usage {
                cpu: Nanos(ran.0 / 400 + self.counts.lines * 9_000),
                memory: 9 << 20,
                bpf: None,
            }),
        };
        let context = IntervalContext {
            opened: self.tracker.established_total(),
            unjoined: self.tracker.unjoined_endpoints(),
            now: Gauges {
                live: self.tracker.live_matching_filter() as u64,
                waiting_for_fin: self.tracker.waiting_for_fin() as u64,
                time_wait: self.tracker.in_time_wait() as u64,
                pressure: Vec::new(),
                local_ports: self.tracker.states_of_local_ports(&BTreeSet::new()),
            },
            stuck: self.tracker.stuck_sockets().map(Iterator::collect),
        };
        let summary = self.summarizer.end_interval(end, context);
        self.write(&Record::Summary(Box::new(summary)))
    }

    /// Nothing more happens.
    pub fn end(&mut self) -> io::Result<()> {
        self.tracker.end_waits();
        self.write_findings()?;
        self.flush()
    }

    fn pressure(&self, has_no_ports: bool) -> Vec<PortPressure> {
        let routes = self.tracker.busiest_routes(3);
        let ports = self.tracker.ports_of(&routes);
        let used = ports.by_route.iter().map(|ports| ports.len() as u32);
        let mut pressure: Vec<_> = routes
            .into_iter()
            .zip(used)
            .map(|(route, used)| PortPressure {
                route,
                used: Some(used),
                reusable: Some(0),
                ports: EPHEMERAL_PORTS,
            })
            .collect();
        if has_no_ports {
            pressure.retain(|pressure| pressure.route != self.route);
            pressure.push(PortPressure {
                route: self.route,
                used: Some(EPHEMERAL_PORTS),
                reusable: Some(0),
                ports: EPHEMERAL_PORTS,
            });
        }
        pressure
    }

    /// Answers what the core asks about sockets that may be stuck.
    fn answer_probes(&mut self, now: Nanos) {
        let mut requests = Vec::new();
        self.tracker.due_stuck_probes(now, &mut requests);
        if requests.is_empty() {
            return;
        }
        let process = self.installed.process(self.tracker.stuck() as u64);
        let response = answer(&self.tracker, &requests, process, now);
        self.tracker.apply(&Input::StuckProbe(response));
    }

    fn write_findings(&mut self) -> io::Result<()> {
        while let Some(finding) = self.tracker.next_finding() {
            self.summarizer.take(&finding);
            self.counts.take(&finding);
            self.write_finding(finding)?;
        }
        Ok(())
    }

    fn write_finding(&mut self, finding: Finding) -> io::Result<()> {
        self.write(&Record::Finding(finding))
    }

    fn write(&mut self, record: &Record) -> io::Result<()> {
        let (clock, names) = (&self.clock, &mut self.names);
        json::write_record(
            &mut self.lines,
            record,
            clock,
            names,
            &JsonOptions::default(),
        )?;
        self.counts.lines += 1;
        match self.lines.len() {
            BUFFER.. => self.flush(),
            _ => Ok(()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.lines.is_empty() {
            return Ok(());
        }
        let midnight = self.epoch + (self.day * DAY.0) as i64;
        let date = jiff::Timestamp::from_nanosecond(midnight.into())
            .map_err(io::Error::other)?
            .strftime("%F");
        let path = self.directory.join(format!("{date}.jsonl"));
        let mut file = OpenOptions::new().create(true).append(true).open(path)?;
        file.write_all(&self.lines)?;
        self.counts.bytes += self.lines.len() as u64;
        self.lines.clear();
        Ok(())
    }
}
