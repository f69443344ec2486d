//! The simulation: connections begin minute by minute, and each host takes what happens to its
//! endpoints in the order of time. Only what is still to happen is in memory.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use jiff::Timestamp;
use tcpclose_core::types::{EndpointId, Nanos};

use crate::course::Course;
use crate::endpoint::{Endpoint, Identity};
use crate::faults::{DAY, Faults};
use crate::fleet::{Fleet, PARTNER, rack_name};
use crate::host::Host;
use crate::inventory;
use crate::mix::Mix;
use crate::names::Installed;
use crate::services::{GATEWAY, SERVICES, callers};
use crate::truth::{Counts, Truth, count};

/// Time passes in such steps.
const STEP: Nanos = Nanos::from_secs(60);
/// So many of 1,000 endpoints are lost where the ring buffer is too small.
const LOST: u32 = 30;

/// What to simulate.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How many hosts.
    pub hosts: usize,
    /// How many days.
    pub days: u32,
    /// The same seed makes the same fleet.
    pub seed: u64,
    /// When the first day begins.
    pub begin: Timestamp,
    /// Records of closes that a host writes on a day, on average.
    pub closes_per_host_day: u32,
    /// Minutes from one summary of an agent to the next.
    pub summary_minutes: u32,
}

/// What was written.
#[derive(Clone, Copy, Debug)]
pub struct Written {
    /// What the records add up to.
    pub counts: Counts,
    /// The most events that were in memory at a time.
    pub most_pending: usize,
}

/// Simulates a fleet. Writes into `out`, which must not exist: `records/HOST/DATE.jsonl` as the
/// agents would, `hosts.jsonl` as an inventory, `deploys.jsonl` as a deployment system, and
/// `truth.json`.
///
/// # Errors
/// A file cannot be written, or the fleet is too small.
pub fn simulate(options: &Options, out: &Path) -> Result<Written> {
    if options.hosts < 40 || options.days < 2 {
        bail!("a fleet has 40 hosts or more, and is watched for two days or more");
    }
    fs::create_dir(out).with_context(|| format!("cannot make {}", out.display()))?;
    let mut simulation = Simulation::new(*options, out)?;
    let time = |at| simulation.time(at);
    inventory::write(out, &simulation.fleet, &simulation.faults, time)?;
    simulation.run()?;
    let truth = simulation.truth();
    fs::write(out.join("truth.json"), serde_json::to_vec_pretty(&truth)?)?;
    Ok(Written {
        counts: truth.counts,
        most_pending: simulation.most_pending,
    })
}

/// Returns when the first of so many days begins, of which the last one ends before `now`.
///
/// # Errors
/// No calendar has that day.
pub fn first_of(days: u32, now: Timestamp) -> Result<Timestamp> {
    const SECONDS: i64 = 86_400;
    let today = now.as_second() / SECONDS;
    Ok(Timestamp::from_second((today - i64::from(days)) * SECONDS)?)
}

struct Simulation {
    options: Options,
    fleet: Fleet,
    faults: Faults,
    hosts: Vec<Host>,
    callers: Vec<usize>,
    random: fastrand::Rng,
    truth: Truth,
    most_pending: usize,
}

/// A connection that is about to begin.
#[derive(Clone, Copy)]
struct Call {
    at: Nanos,
    client: usize,
    /// None where it leaves the fleet.
    server: Option<usize>,
    course: Course,
}

impl Simulation {
    fn new(options: Options, out: &Path) -> Result<Self> {
        let mut random = fastrand::Rng::with_seed(options.seed);
        let fleet = Fleet::new(options.hosts);
        let faults = Faults::plan(&fleet, options.days, &mut random);
        let epoch = i64::try_from(options.begin.as_nanosecond())?;
        let hosts = fleet.hosts.iter().enumerate().map(|(position, place)| {
            let directory = out.join("records").join(&place.name);
            let deploy = faults.deployed(place.service, place.place, Nanos(0));
            let version = &faults.deploys[deploy].version;
            let installed = Installed::new(place.service, version, position as u64);
            // Clocks that NTP keeps.
            let skew = random.i64(-4_000_000..4_000_000);
            Host::new(place, installed, directory, (epoch, skew))
        });
        let hosts = hosts.collect::<std::io::Result<_>>()?;
        Ok(Self {
            options,
            callers: fleet.callers(),
            fleet,
            faults,
            hosts,
            random,
            truth: Truth::default(),
            most_pending: 0,
        })
    }

    fn mix(&mut self) -> Mix<'_> {
        Mix {
            fleet: &self.fleet,
            faults: &self.faults,
            random: &mut self.random,
        }
    }

    fn end(&self) -> Nanos {
        Nanos(DAY.0 * u64::from(self.options.days))
    }

    fn run(&mut self) -> Result<()> {
        let mut now = Nanos(0);
        let mut due = 0.0;
        let steps_a_day = (DAY.0 / STEP.0) as f64;
        let per_day = self.options.hosts as f64 * f64::from(self.options.closes_per_host_day) / 2.0;
        let summary = Nanos::from_secs(60 * u64::from(self.options.summary_minutes));
        while now < self.end() {
            let hour = (now.0 % DAY.0) as f64 / DAY.0 as f64;
            let load = 1.0 + 0.6 * (std::f64::consts::TAU * (hour - 0.3)).sin();
            due += per_day / steps_a_day * load;
            while due >= 1.0 {
                due -= 1.0;
                self.begin(now);
            }
            self.run_gateway(now);
            self.deploy(now);
            now = now + STEP;
            let ends_interval = now.0.is_multiple_of(summary.0);
            for (position, host) in self.hosts.iter_mut().enumerate() {
                host.pass(now, is_silent(&self.faults, position, now))?;
                if ends_interval {
                    let has_no_ports = self.faults.has_no_ports(position, now);
                    host.end_interval(now, has_no_ports)?;
                }
            }
            if ends_interval {
                let pending = self.hosts.iter().map(Host::pending).sum();
                self.most_pending = self.most_pending.max(pending);
            }
        }
        for host in &mut self.hosts {
            host.end()?;
        }
        Ok(())
    }

    /// A gateway without ports retries.
    fn run_gateway(&mut self, now: Nanos) {
        let client = self.faults.gateway;
        if !self.faults.has_no_ports(client, now) {
            return;
        }
        let at = now + Nanos(self.random.u64(..STEP.0));
        let is_seen = !is_silent(&self.faults, client, at);
        let call = Call {
            at,
            client,
            server: None,
            course: Course::NoPort,
        };
        let seen = self.play(call);
        if is_seen && seen {
            let name = self.fleet.hosts[client].name.clone();
            count(&mut self.truth.no_ports, name);
        }
    }

    fn deploy(&mut self, now: Nanos) {
        for (number, deploy) in self.faults.deploys.iter().enumerate() {
            for (place, host) in self.fleet.with_service(deploy.service).iter().enumerate() {
                let at = deploy.at_host(place);
                let is_first = deploy.at == Nanos(0) && number < SERVICES.len();
                if !is_first && now <= at && at < now + STEP {
                    let serial = (number * self.options.hosts + host) as u64;
                    let installed = Installed::new(deploy.service, &deploy.version, serial);
                    self.hosts[*host].deploy(installed, at);
                }
            }
        }
    }

    /// A connection begins within the next step.
    fn begin(&mut self, now: Nanos) {
        let at = now + Nanos(self.random.u64(..STEP.0));
        let client = self.callers[self.random.usize(..self.callers.len())];
        let service = self.fleet.hosts[client].service;
        let server = (service != GATEWAY).then(|| {
            let called = self.mix().called(service);
            let hosts = self.fleet.with_service(called);
            hosts[self.random.usize(..hosts.len())]
        });
        let mut call = Call {
            at,
            client,
            server,
            course: Course::Short { at_once: true },
        };
        call.course = match server {
            Some(server) => self.mix().course(client, server, at),
            None => self.mix().harmless(None),
        };
        if at + call.course.lasts() > self.end() {
            call.course = Course::Short { at_once: true };
        }
        if at + call.course.lasts() > self.end() {
            return;
        }
        if self.play(call) {
            self.note(&call);
        }
    }

    /// Plays a connection; returns whether both agents see all of it.
    fn play(&mut self, call: Call) -> bool {
        let Call {
            at,
            client,
            server,
            course,
        } = call;
        let local = SocketAddr::new(
            self.fleet.hosts[client].address,
            self.hosts[client].next_port(),
        );
        let peer = server.map_or(PARTNER.into(), |server| {
            let host = &self.fleet.hosts[server];
            (host.address, SERVICES[host.service].port).into()
        });
        let numbers = (self.random.u32(..), self.random.u32(..));
        let identity = |host: &mut Host, position, local, peer, initial| Identity {
            host: position,
            id: host.next_cookie(),
            task: host.installed().task(),
            local,
            peer,
            initial,
        };
        let mut client_end = Endpoint::new(identity(
            &mut self.hosts[client],
            client,
            local,
            peer,
            numbers,
        ));
        let mirrored = (numbers.1, numbers.0);
        let mut server_end = Endpoint::new(match server {
            Some(server) => identity(&mut self.hosts[server], server, peer, local, mirrored),
            None => Identity {
                id: EndpointId(1),
                ..identity(&mut self.hosts[client], usize::MAX, peer, local, mirrored)
            },
        });
        course.play(&mut client_end, &mut server_end, at, &mut self.random);
        let is_seen = self.deliver(client_end, at + course.lasts());
        let is_seen_by_server = match server {
            Some(_) => self.deliver(server_end, at + course.lasts()),
            None => true,
        };
        is_seen && is_seen_by_server
    }

    /// Returns whether the agent sees all of it.
    fn deliver(&mut self, end: Endpoint, until: Nanos) -> bool {
        let (host, events) = end.into_events();
        let Some(first) = events.first().map(|event| event.at()) else {
            return true;
        };
        if host == self.faults.overloaded && self.mix().happens(LOST) {
            self.hosts[host].lose(events.len() as u64);
            return false;
        }
        self.hosts[host].expect(events);
        let (from, to) = self.faults.silent_window;
        host != self.faults.silent || until < from || first > to + STEP
    }

    /// Notes what is wrong with a connection of which both agents see all.
    fn note(&mut self, call: &Call) {
        let Some(server) = call.server else { return };
        let (client, server) = (&self.fleet.hosts[call.client], &self.fleet.hosts[server]);
        let racks = format!("{} {}", rack_name(client.rack), rack_name(server.rack));
        let (caller, called) = (SERVICES[client.service].name, SERVICES[server.service].name);
        match call.course {
            Course::CutByFirewall(_) => count(&mut self.truth.resets_from_path, racks),
            Course::FinsLost => count(&mut self.truth.lost_fins, racks),
            Course::UsedTooLate(_) => {
                count(&mut self.truth.idle_timeouts, format!("{caller} {called}"));
            }
            Course::Leaked => {
                let version = &self.faults.deploys[self.faults.leaking].version;
                count(&mut self.truth.leaks, format!("{called} {version}"));
                count(
                    &mut self.truth.changes,
                    format!("{caller} peer_never_closed"),
                );
            }
            Course::Unread => {
                let bug = &self.faults.deploys[self.faults.not_reading];
                if bug.service == server.service && call.at >= bug.at {
                    count(&mut self.truth.changes, format!("{called} unread_data"));
                    count(&mut self.truth.changes, format!("{caller} reset by peer"));
                }
            }
            _ => {}
        }
    }

    /// Returns a time of day.
    fn time(&self, at: Nanos) -> Result<Timestamp> {
        let since_1970 = self.options.begin.as_nanosecond() + i128::from(at.0);
        Ok(Timestamp::from_nanosecond(since_1970)?)
    }

    fn truth(&mut self) -> Truth {
        let mut truth = std::mem::take(&mut self.truth);
        for host in &self.hosts {
            truth.counts.add(&host.counts);
        }
        let name = |host: usize| self.fleet.hosts[host].name.clone();
        let overloaded = self.faults.overloaded;
        let lost = self.hosts[overloaded].counts.lost;
        truth.losses.insert(name(overloaded), lost);
        let (from, to) = self.faults.silent_window;
        truth
            .silent
            .insert(name(self.faults.silent), (to - from).0 / 3_600_000_000_000);
        let leak = &self.faults.deploys[self.faults.leaking];
        truth.leak_since = self
            .time(leak.at)
            .map(|time| time.to_string())
            .unwrap_or_default();
        debug_assert!(callers(leak.service).count() == 1, "its caller is known");
        Truth {
            seed: self.options.seed,
            hosts: self.options.hosts,
            days: self.options.days,
            ..truth
        }
    }
}

fn is_silent(faults: &Faults, host: usize, at: Nanos) -> bool {
    let (from, to) = faults.silent_window;
    host == faults.silent && from < at && at <= to
}
