//! `tcpclose top --replay FILE`: a recording at the speed of reality, with pause and seek; without
//! a terminal, as fast as it can be read.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::runtime::Handle;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};

use super::args::TopArgs;
use super::display::{Display, DisplayEvent, has_screen};
use super::listed::{MAX_CLOSING, MAX_SOCKETS, closes_now};
use super::message::Message;
use super::signals::{self, TerminalSignals};
use crate::cgroup_names::{CgroupNames as _, RecordedCgroupNames};
use crate::cli::common::single_threaded_runtime;
use crate::cli::replay_common;
use crate::cli::shutdown::Shutdown;
use crate::filter::{passes, passes_stuck};
use crate::notice::notice;
use crate::output::clock::WallClock;
use crate::output::terminal;
use crate::output::top::{
    Effect, HostScan, OriginKey, ReplayPosition, Service, ServiceNames, Sources, Tally, View,
};
use crate::session::{Consumer, Replay, Session};
use tcpclose_core::filter::ConnectionFilter;
use tcpclose_core::finding::Finding;
use tcpclose_core::routes::RoutesReport;
use tcpclose_core::stuck::{Report, Trends};
use tcpclose_core::types::{CgroupId, Nanos};

/// How often time goes on.
const STEP_INTERVAL: Duration = Duration::from_millis(50);
/// The fastest replay, as a power of two.
const MAX_SPEED: u8 = 10;

/// Shows a recording until the user stops it.
pub(super) fn run(args: &TopArgs, file: &Path) -> anyhow::Result<ExitCode> {
    if has_screen() {
        return single_threaded_runtime()?.block_on(show(args, file));
    }
    let (args, file) = (args.clone(), file.to_owned());
    replay_common::until_stopped(move |_| Handle::current().block_on(show(&args, &file)))
}

async fn show(args: &TopArgs, file: &Path) -> anyhow::Result<ExitCode> {
    let shutdown = Shutdown::listen()?;
    let mut session = Session::open(file)?;
    if let Some(note) = args.filters.note_on_recordings() {
        notice!("{note}");
    }
    let is_screen = has_screen();
    let signals = match is_screen {
        true => Some(TerminalSignals::listen()?),
        false => None,
    };
    let display = Display::start(args, true).context("the terminal cannot be used")?;
    let mut pace = interval(STEP_INTERVAL);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // Up to its first time.
    session.hold_at(is_screen.then_some(Nanos(1)));
    let top = ReplayedTop {
        file: file.to_owned(),
        filter: args.filters.recorded()?,
        interval: args.interval.into(),
        state: Counted::new(&session),
        display,
        is_screen,
        shutdown,
        signals,
        pace,
        stepped: Instant::now(),
        shown: None,
        first: None,
        target: Nanos(1),
        paused: false,
        speed: 0,
        opened: None,
        left: args.count,
        event: None,
        code: None,
    };
    let code = session.run(top).await?;
    Ok(replay_common::exit_code(session.damage(), file, code))
}

/// What was counted up to a time.
struct Counted {
    tally: Tally,
    names: ServiceNames,
    cgroups: RecordedCgroupNames,
    clock: WallClock,
    trends: Trends,
}

impl Counted {
    fn new(session: &Session<Replay>) -> Self {
        Self {
            tally: Tally::new(session.now(), terminal::symbols()),
            names: ServiceNames::default(),
            cgroups: RecordedCgroupNames::new(session.cgroups()),
            clock: WallClock::new(session.clock()),
            trends: Trends::default(),
        }
    }

    /// Looks up the services of the cgroups that have been seen.
    fn find_names(&mut self) {
        let (cgroups, _) = self.tally.wanted(0);
        let unknown = cgroups.into_iter().filter(|id| !self.names.contains(*id));
        let unknown: Vec<CgroupId> = unknown.collect();
        for cgroup in unknown {
            if let Some(name) = self.cgroups.name(cgroup.get()) {
                self.names.insert(cgroup, Service::from_cgroup(name));
            }
        }
    }
}

enum TopEvent {
    Stop,
    Step,
    DisplayEvent(DisplayEvent),
    Signal(Message),
}

struct ReplayedTop {
    file: PathBuf,
    filter: ConnectionFilter,
    interval: Nanos,
    state: Counted,
    display: Display,
    is_screen: bool,
    shutdown: Shutdown,
    signals: Option<TerminalSignals>,
    pace: Interval,
    /// When time last went on.
    stepped: Instant,
    /// The recording's time that was shown last.
    shown: Option<Nanos>,
    /// The recording's first time.
    first: Option<Nanos>,
    /// The time up to which it is replayed.
    target: Nanos,
    paused: bool,
    /// The speed, as a power of two.
    speed: u8,
    /// The service that is looked into.
    opened: Option<Service>,
    /// The intervals that are left; `None` if it is unlimited.
    left: Option<u64>,
    event: Option<TopEvent>,
    code: Option<ExitCode>,
}

impl ReplayedTop {
    async fn next_event(&mut self) -> TopEvent {
        tokio::select! {
            () = self.shutdown.requested() => TopEvent::Stop,
            wanted = self.display.wanted() => TopEvent::DisplayEvent(wanted),
            message = signals::next(&mut self.signals) => TopEvent::Signal(message),
            _ = self.pace.tick(), if self.is_screen => TopEvent::Step,
        }
    }

    /// Lets time go on. Only a screen has the speed of reality.
    fn step(&mut self, session: &mut Session<Replay>) {
        let passed = Nanos::from(self.stepped.elapsed());
        self.stepped = Instant::now();
        let is_behind = session.now() < self.target && !session.has_ended();
        if self.first.is_none() || self.paused || is_behind || session.has_ended() {
            return;
        }
        self.target = self.target + Nanos(passed.0 << self.speed);
        session.hold_at(Some(self.target));
    }

    /// Goes forth or back. The core cannot go back, so that begins anew.
    fn seek(&mut self, session: &mut Session<Replay>, seconds: i64) -> anyhow::Result<()> {
        let Some(first) = self.first else {
            return Ok(());
        };
        let distance = Nanos::from_secs(seconds.unsigned_abs());
        // Several of them may come before the first is done.
        let here = match session.has_ended() {
            true => session.now(),
            false => self.target,
        };
        if seconds >= 0 {
            self.target = here + distance;
        } else {
            self.target = (here - distance).max(first);
            *session = Session::open(&self.file)?;
            self.state = Counted::new(session);
            self.state.tally.begin(first);
        }
        self.shown = None;
        session.hold_at(Some(self.target));
        Ok(())
    }

    fn show(&mut self, session: &Session<Replay>) {
        let now = session.now();
        self.shown = Some(now);
        self.state.find_names();
        let (filter, cgroups) = (&self.filter, &mut self.state.cgroups);
        let stuck = session.stuck_sockets();
        let stuck = stuck.filter(|stuck| passes_stuck(filter, stuck, cgroups));
        let stuck = stuck.cloned().collect();
        let min_age = session.head().stuck_after.unwrap_or_default();
        let unseen = match session.head().stuck_after {
            Some(_) => None,
            None => Some("stuck sockets: it was recorded without them".to_owned()),
        };
        let scan = HostScan {
            at: now,
            stuck: Arc::new(Report::new(now, min_age, stuck, &mut self.state.trends)),
            routes: Arc::new(RoutesReport::default()),
            processes: Vec::new(),
            unseen: unseen.into_iter().collect(),
        };
        let Counted {
            tally,
            names,
            clock,
            ..
        } = &mut self.state;
        clock.refresh();
        let opened = self.opened.clone().map(|service| {
            let (endpoints, total) = session.list_endpoints(MAX_SOCKETS, |_, owner| {
                names.service(&OriginKey::new(owner)) == service
            });
            (service, endpoints, total)
        });
        let (_, open) = session.open_endpoints(&self.filter);
        let view = View::new(Sources {
            tally,
            names,
            scan: Some(&scan),
            now,
            clock: clock.clone(),
            open: open as u64,
            closing: session.list_endpoints(MAX_CLOSING, closes_now),
            opened,
            position: Some(ReplayPosition {
                speed: 1 << self.speed,
                passed: now - self.first.unwrap_or(now),
                ended: session.has_ended(),
            }),
            untraced: None,
        });
        self.display.show(view);
    }

    fn handle(&mut self, event: TopEvent, session: &mut Session<Replay>) -> anyhow::Result<()> {
        match event {
            TopEvent::Stop
            | TopEvent::DisplayEvent(
                DisplayEvent::Effect(Effect::Quit) | DisplayEvent::End(Ok(())),
            ) => {
                self.code = Some(ExitCode::SUCCESS);
            }
            TopEvent::DisplayEvent(DisplayEvent::End(Err(error))) => {
                return Err(error).context("the output has failed");
            }
            TopEvent::Step => self.step(session),
            TopEvent::Signal(message) => self.display.send(message),
            TopEvent::DisplayEvent(DisplayEvent::Effect(effect)) => match effect {
                Effect::Open(service) => {
                    self.opened = service;
                    self.show(session);
                }
                Effect::Restart => {
                    self.state.tally = Tally::new(session.now(), terminal::symbols());
                    self.show(session);
                }
                Effect::Pause(paused) => {
                    self.paused = paused;
                    self.stepped = Instant::now();
                }
                Effect::Seek(seconds) => self.seek(session, seconds)?,
                Effect::Speed(change) => {
                    let speed = self.speed.saturating_add_signed(change);
                    self.speed = speed.min(MAX_SPEED);
                    self.show(session);
                }
                Effect::Draw | Effect::DrawAll | Effect::Suspend | Effect::Quit => {}
            },
        }
        Ok(())
    }

    /// Returns whether the recording's time has come for the next view.
    fn is_due(&self, session: &Session<Replay>) -> bool {
        let now = session.now();
        let Some(shown) = self.shown else {
            // After a seek, when its time is reached.
            return !self.is_screen || now >= self.target || session.has_ended();
        };
        let interval = match self.is_screen {
            true => Nanos(self.interval.0 << self.speed),
            false => self.interval,
        };
        now >= shown + interval || (session.has_ended() && now > shown)
    }
}

impl Consumer<Replay> for ReplayedTop {
    type Output = ExitCode;

    async fn wait(&mut self) {
        self.event = Some(self.next_event().await);
    }

    fn on_wake(&mut self, session: &mut Session<Replay>) -> anyhow::Result<()> {
        match self.event.take() {
            Some(event) => self.handle(event, session),
            None => Ok(()),
        }
    }

    fn on_finding(&mut self, finding: Finding) -> anyhow::Result<()> {
        let state = &mut self.state;
        if passes(&self.filter, &finding, &mut state.cgroups) {
            state.tally.add(finding);
        }
        Ok(())
    }

    fn after_findings(&mut self, session: &mut Session<Replay>) -> anyhow::Result<()> {
        let now = session.now();
        if now == Nanos(0) {
            return Ok(());
        }
        if self.first.is_none() {
            self.first = Some(now);
            self.target = self.target.max(now);
            self.state.tally.begin(now);
            if !self.is_screen {
                self.shown = Some(now);
            }
        }
        if self.is_due(session) && self.left != Some(0) {
            self.show(session);
            if !self.is_screen || !self.paused {
                self.left = self.left.map(|left| left - 1);
            }
        }
        if self.left == Some(0) || (session.has_ended() && !self.is_screen) {
            self.code = Some(ExitCode::SUCCESS);
        }
        Ok(())
    }

    fn is_done(&self) -> bool {
        self.code.is_some()
    }

    fn finish(self, _: &mut Session<Replay>) -> anyhow::Result<ExitCode> {
        self.display.end();
        Ok(self.code.unwrap_or(ExitCode::SUCCESS))
    }
}
