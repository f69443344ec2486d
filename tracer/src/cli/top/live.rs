//! `tcpclose top` of this host.

use std::collections::HashSet;
use std::process::ExitCode;

use anyhow::Context as _;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::args::TopArgs;
use super::display::{Display, DisplayEvent, has_screen};
use super::listed::{MAX_CLOSING, MAX_SOCKETS, closes_now};
use super::message::Message;
use super::scan::{MAX_PROCESSES, ScanRequest, ScanResult, Scans};
use super::signals::{self, TerminalSignals};
use crate::cgroup_names::CgroupNames;
use crate::cli::shutdown::Shutdown;
use crate::cli::tracing::announce;
use crate::clock_offset::ClockOffset;
use crate::filter::passes;
use crate::notice::notice;
use crate::output::clock::WallClock;
use crate::output::loss_message;
use crate::output::terminal;
use crate::output::top::{
    Effect, HostScan, OriginKey, Service, ServiceNames, Sources, Tally, View,
};
use crate::session::{Consumer, Live, Session, now};
use tcpclose_core::filter::ConnectionFilter;
use tcpclose_core::finding::Finding;
use tcpclose_core::types::{CgroupId, SharedOwner};
use tcpclose_sys::host::cgroup::Cgroups;
use tcpclose_sys::kernel::loader::TraceOptions;

/// Shows what happens until the user stops it.
pub(super) async fn run(args: &TopArgs) -> anyhow::Result<ExitCode> {
    let shutdown = Shutdown::listen()?;
    let options = TraceOptions {
        filter: args.filters.kernel.to_config().live()?,
        ..TraceOptions::default()
    };
    let session = Session::builder(options).start();
    let scans = Scans::new(args)?;
    let signals = match has_screen() {
        true => Some(TerminalSignals::listen()?),
        false => None,
    };
    let display = Display::start(args, false).context("the terminal cannot be used")?;
    let (mut session, untraced) = match session {
        Ok(session) => (Some(session), None),
        // Scans need less, and are worth having.
        Err(error) => (None, Some(format!("{:#}", anyhow::Error::from(error)))),
    };
    // Kept for the end where there is a screen.
    match (&mut session, &untraced) {
        (Some(session), _) => announce("counting", session),
        (None, why) => notice!(
            "scans only: closes and resets are not seen: {}",
            why.as_deref().unwrap_or_default()
        ),
    }
    let mut pace = interval(args.interval);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let clock = session
        .as_ref()
        .map_or_else(ClockOffset::measured, Session::clock);
    let mut top = LiveTop {
        tally: Tally::new(now(), terminal::symbols()),
        names: ServiceNames::default(),
        filter: args.filters.user_space_part(),
        cgroups: Box::new(Cgroups::new()),
        scans,
        scan: None,
        display,
        shutdown,
        signals,
        pace,
        clock: WallClock::new(clock),
        untraced,
        opened: None,
        left: args.count,
        is_first: true,
        event: None,
        code: None,
    };
    if let Some(mut session) = session {
        return session.run(top).await;
    }
    while top.code.is_none() {
        let event = top.next_event().await;
        top.clock.source().refresh();
        top.handle(event, None)?;
    }
    top.display.end();
    Ok(top.code.unwrap_or(ExitCode::SUCCESS))
}

enum TopEvent {
    Stop,
    Tick,
    Scanned(Box<anyhow::Result<ScanResult>>),
    DisplayEvent(DisplayEvent),
    Signal(Message),
}

struct LiveTop {
    tally: Tally,
    names: ServiceNames,
    filter: ConnectionFilter,
    /// For the filter on containers only.
    cgroups: Box<dyn CgroupNames>,
    scans: Scans,
    scan: Option<HostScan>,
    display: Display,
    shutdown: Shutdown,
    signals: Option<TerminalSignals>,
    pace: Interval,
    clock: WallClock,
    /// Why nothing is traced.
    untraced: Option<String>,
    /// The service that is looked into.
    opened: Option<Service>,
    /// The intervals that are left; `None` if it is unlimited.
    left: Option<u64>,
    /// Whether no interval has passed yet.
    is_first: bool,
    event: Option<TopEvent>,
    code: Option<ExitCode>,
}

impl LiveTop {
    async fn next_event(&mut self) -> TopEvent {
        tokio::select! {
            () = self.shutdown.requested() => TopEvent::Stop,
            wanted = self.display.wanted() => TopEvent::DisplayEvent(wanted),
            message = signals::next(&mut self.signals) => TopEvent::Signal(message),
            result = self.scans.finished() => TopEvent::Scanned(Box::new(result)),
            _ = self.pace.tick() => TopEvent::Tick,
        }
    }

    fn tick(&mut self, session: Option<&Session<Live>>) {
        let (tally, names) = (&self.tally, &mut self.names);
        self.scans.start(|| {
            let (cgroups, pids) = tally.wanted(MAX_PROCESSES);
            let cgroups: HashSet<CgroupId> = cgroups.into_iter().collect();
            names.retain(&cgroups);
            let unknown = cgroups.into_iter().filter(|id| !names.contains(*id));
            ScanRequest {
                cgroups: unknown.collect(),
                pids,
            }
        });
        let is_screen = matches!(self.display, Display::Screen(_));
        // Nothing has happened yet that a block of text could tell.
        if is_screen || !self.is_first {
            self.show(session);
            self.left = self.left.map(|left| left.saturating_sub(1));
        }
        self.is_first = false;
        if self.left == Some(0) {
            self.code = Some(ExitCode::SUCCESS);
        }
    }

    fn show(&mut self, session: Option<&Session<Live>>) {
        let names = &self.names;
        let opened = self.opened.clone().map(|service| {
            let is_its =
                |_, owner: Option<&SharedOwner>| names.service(&OriginKey::new(owner)) == service;
            let listed = session.map(|session| session.list_endpoints(MAX_SOCKETS, is_its));
            let (endpoints, total) = listed.unwrap_or_default();
            (service, endpoints, total)
        });
        self.clock.refresh();
        let open = session.map(|session| session.open_endpoints(&self.filter));
        let (open, matching) = open.unwrap_or_default();
        let closing = session.map(|session| session.list_endpoints(MAX_CLOSING, closes_now));
        let view = View::new(Sources {
            tally: &self.tally,
            names,
            scan: self.scan.as_ref(),
            now: session.map_or_else(now, Session::now),
            clock: self.clock.clone(),
            open: open.min(matching) as u64,
            closing: closing.unwrap_or_default(),
            opened,
            position: None,
            untraced: self.untraced.as_deref(),
        });
        self.display.show(view);
    }

    fn handle(&mut self, event: TopEvent, session: Option<&Session<Live>>) -> anyhow::Result<()> {
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
            TopEvent::Tick => self.tick(session),
            TopEvent::Signal(message) => self.display.send(message),
            TopEvent::Scanned(result) => {
                let ScanResult { names, host } = (*result)?;
                for (cgroup, service) in names {
                    self.names.insert(cgroup, service);
                }
                let is_first = self.scan.is_none() && host.is_some();
                self.scan = host.or(self.scan.take());
                if is_first && matches!(self.display, Display::Screen(_)) {
                    self.show(session);
                }
            }
            TopEvent::DisplayEvent(DisplayEvent::Effect(effect)) => match effect {
                Effect::Open(service) => {
                    self.opened = service;
                    self.show(session);
                }
                Effect::Restart => {
                    let now = session.map_or_else(now, Session::now);
                    self.tally = Tally::new(now, terminal::symbols());
                    self.show(session);
                }
                Effect::Pause(_)
                | Effect::Seek(_)
                | Effect::Speed(_)
                | Effect::Draw
                | Effect::DrawAll
                | Effect::Suspend
                | Effect::Quit => {}
            },
        }
        Ok(())
    }
}

impl Consumer<Live> for LiveTop {
    type Output = ExitCode;

    async fn wait(&mut self) {
        self.event = Some(self.next_event().await);
    }

    fn on_wake(&mut self, session: &mut Session<Live>) -> anyhow::Result<()> {
        match self.event.take() {
            Some(event) => self.handle(event, Some(session)),
            None => Ok(()),
        }
    }

    fn on_finding(&mut self, finding: Finding) -> anyhow::Result<()> {
        if let Finding::Loss(loss) = &finding {
            notice!("{}", loss_message(loss));
        }
        if passes(&self.filter, &finding, self.cgroups.as_mut()) {
            self.tally.add(finding);
        }
        Ok(())
    }

    fn is_done(&self) -> bool {
        self.code.is_some()
    }

    fn finish(self, _: &mut Session<Live>) -> anyhow::Result<ExitCode> {
        self.display.end();
        Ok(self.code.unwrap_or(ExitCode::SUCCESS))
    }
}
