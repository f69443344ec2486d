//! The daemon: it traces, summarizes, and passes everything to its outputs.
//!
//! One loop owns the session, as in `tcpclose watch`. Outputs and the HTTP endpoint have threads of
//! their own; nothing that they wait for stops the loop.

mod answers;
pub mod config;
mod flight;
mod http_server;
mod output_locks;
mod outputs;
mod reload;
mod replay;
mod sd_notify;
mod self_test;
mod serving;
mod socket_server;
mod state_directory;
mod state_file;
mod wakeups;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use thiserror::Error;
use tokio::sync::mpsc;

use crate::metrics::MetricsSnapshot;
use crate::notice::notice;
use crate::output::clock::WallClock;
use crate::plural::plural;
use crate::record::Record;
use crate::recording::IfExists;
use crate::sampling::Sampling;
use crate::session::{Consumer, Live, Session, now};
use crate::summary::{IntervalEnd, Summarizer};
use crate::usage::Usage;
use config::Config;
use http_server::Scrape;
use outputs::Outputs;
use reload::ReloadableParts;
pub use replay::replay;
pub use self_test::self_test;
use socket_server::{AgentQuestion, SocketServer};
use state_file::StateFile;
use tcpclose_core::finding::{Finding, Loss, LossLocation};
use tcpclose_core::routes::RecentRoutes;
use tcpclose_core::summary::{PortPressure, Rollups};
use tcpclose_core::types::{Nanos, Port};
use tcpclose_sys::host::{privilege_drop, self_usage};
use tcpclose_sys::kernel::clock;
use tcpclose_sys::kernel::loader::TraceOptions;
use tcpclose_sys::kernel::netns;
use wakeups::{Wakeup, Wakeups};

/// The oldest snapshot that may answer a scrape.
const MAX_SNAPSHOT_AGE: Nanos = Nanos::from_secs(1);

/// How long outputs may take at the end. The agent ends within 5 s, and the kernel needs time to
/// detach the programs.
const FINISH_TIMEOUT: Duration = Duration::from_secs(3);

/// How long after `stuck_after` the sockets that were stuck before the start are all found.
const SEARCH_TIMEOUT: Nanos = Nanos::from_secs(5);

struct Agent {
    reloadable: ReloadableParts,
    /// Which single closes outputs get; `None` where they get all.
    sampling: Option<Sampling>,
    rollups: Option<Rollups>,
    summarizer: Summarizer,
    /// The port pressure at the end of the last interval.
    pressure: Vec<PortPressure>,
    /// The last answer to a scrape.
    snapshot: Option<Arc<MetricsSnapshot>>,
    /// What commands ask for besides what the session knows.
    recent_routes: RecentRoutes,
    started: Nanos,
    /// Where commands ask, if they may and can.
    _socket_server: Option<SocketServer>,
    state: Option<StateFile>,
    /// Whether the state is to be saved as soon as all findings have been taken.
    saves_state: bool,
    wakeups: Wakeups,
    /// The event to handle next.
    wakeup: Option<Wakeup>,
    is_stopped: bool,
}

/// Runs the agent until SIGTERM or SIGINT. SIGHUP reads `file` again. With `record`, [`replay()`]
/// can later produce the same records from that file.
///
/// # Errors
/// The agent cannot be started; or, with the context [`FailedWhileRunning`], the kernel's records
/// can no longer be read or the recording can no longer be written.
pub async fn run(
    config: Config,
    file: Option<PathBuf>,
    record: Option<&Path>,
) -> anyhow::Result<()> {
    let (scrapes, wanted) = mpsc::channel(16);
    let (questions, asked) = mpsc::channel(1);
    // Before anything that takes time: from now on a signal must not end the program by itself.
    let wakeups = Wakeups::start(config.interval, wanted, asked)?;
    let kept = needed_capabilities(&config);
    let mut session = Session::builder(options(&config)?)
        .capacity(config.max_connections.get())
        .stuck_after(Some(config.stuck_after.into()))
        .record_to(record, IfExists::MoveAside)
        .reader_nice(config.reader_nice)
        .after_attach(move || Ok(privilege_drop::drop_all_except(&kept)?))
        .start()?;
    let agent = Agent::start(config, file, &mut session, (scrapes, questions), wakeups)?;
    session.begin_recording()?;
    sd_notify::ready();
    agent.announce(&mut session);
    session.run(agent).await.context(FailedWhileRunning)
}

/// The context of errors that stopped the agent after it had started. A restart may help.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the agent failed")]
pub struct FailedWhileRunning;

/// Returns the options for the kernel's programs.
fn options(config: &Config) -> anyhow::Result<TraceOptions> {
    Ok(TraceOptions {
        filter: config.trace.live()?,
        ..TraceOptions::default()
    })
}

/// Returns the capabilities that the agent keeps while it runs with this configuration.
#[must_use]
pub fn needed_capabilities(config: &Config) -> Vec<privilege_drop::KeptCapability> {
    let wanted = config.trace.namespace().ok().flatten();
    let own = netns::current().ok();
    privilege_drop::needed_after_attach(wanted.is_some_and(|wanted| Some(wanted.id()) == own))
}

impl Agent {
    fn start(
        config: Config,
        file: Option<PathBuf>,
        session: &mut Session<Live>,
        (scrapes, questions): (mpsc::Sender<Scrape>, mpsc::Sender<AgentQuestion>),
        mut wakeups: Wakeups,
    ) -> anyhow::Result<Self> {
        let first = IntervalEnd {
            at: now(),
            ..IntervalEnd::default()
        };
        session.record_interval_end(&first);
        wakeups.change_interval(config.interval);
        let json = config.json_options()?;
        let outputs = Outputs::start(
            &config.outputs,
            &config.run_directory,
            session.clock(),
            session.recorded_cgroups(),
            json,
        )?;
        let start = WallClock::new(session.clock()).timestamp(first.at);
        flight::start(&config.flight_recorder, session);
        let mut stuck_known_from = first.at + config.stuck_after.into() + SEARCH_TIMEOUT;
        let mut state = open_state(&config, session, stuck_known_from);
        if let Some(state) = &mut state {
            stuck_known_from = state.take_over(session);
        }
        let socket_server = listen(&config, questions);
        let reloadable = ReloadableParts::start(config, file, outputs, scrapes)?;
        let has_rollups = reloadable.config.has_rollups();
        Ok(Self {
            reloadable,
            sampling: json.sampling,
            rollups: has_rollups.then(|| Rollups::new(first.at)),
            summarizer: Summarizer::new(first.at).for_metrics(start, stuck_known_from),
            pressure: Vec::new(),
            snapshot: None,
            recent_routes: RecentRoutes::new(first.at),
            started: first.at,
            _socket_server: socket_server,
            state,
            saves_state: false,
            wakeups,
            wakeup: None,
            is_stopped: false,
        })
    }

    fn announce(&self, session: &mut Session<Live>) {
        let http_server = match &self.reloadable.http_server {
            Some(http_server) => format!("metrics at http://{}/metrics", http_server.address()),
            None => "no HTTP endpoint".to_owned(),
        };
        notice!("the agent is running; {http_server}");
        session.announce_limitations();
    }

    fn take_finding(&mut self, finding: Finding) {
        let is_restart = |loss: &Loss| loss.location == LossLocation::Restart;
        // What the agent before has left is taken over: its file is out of date.
        self.saves_state |= matches!(&finding, Finding::Loss(loss) if is_restart(loss));
        self.summarizer.take(&finding);
        if let Finding::Close(close) = &finding {
            self.recent_routes.add(close);
        }
        if let Some(rollups) = &mut self.rollups {
            rollups.record(&finding);
        }
        let is_kept = |sampling: &Sampling| sampling.decide_finding(&finding).is_some();
        if self.sampling.as_ref().is_none_or(is_kept) {
            self.reloadable.outputs.offer(&Arc::new(finding.into()));
        }
    }

    fn end_interval(&mut self, session: &mut Session<Live>) -> anyhow::Result<()> {
        let read = session.pressure();
        let read = read.map(|pressure| self.pressure = pressure);
        // These findings came before the end of the interval.
        while let Some(finding) = session.next_finding() {
            self.take_finding(finding);
        }
        let end = self.interval_end(now(), session);
        self.note_writes(session);
        session.record_interval_end(&end);
        let context = session.interval_context(self.local_ports());
        let rollups = self.rollups.as_mut();
        for rollup in rollups.into_iter().flat_map(|it| it.end_interval(end.at)) {
            let record = Record::Rollup(Box::new(rollup));
            self.reloadable.outputs.offer(&Arc::new(record));
        }
        let summary = self.summarizer.end_interval(end, context);
        // Outputs report their own losses, and that of a restart was no record.
        let lost = &summary.connections.lost;
        let told = [LossLocation::Output, LossLocation::Restart];
        let told: u64 = told.into_iter().map(|location| lost.get(location)).sum();
        let lost = lost.total() - told;
        if lost > 0 {
            notice!(
                "{lost} {} lost in the last interval; the summary shows where",
                plural(lost, "record was", "records were")
            );
        }
        self.reloadable
            .outputs
            .offer(&Arc::new(Record::Summary(Box::new(summary))));
        read
    }

    /// Answers a scrape, which may have gone meanwhile.
    fn answer(&mut self, scrape: Scrape, session: &Session<Live>) {
        let at = now();
        let fresh = |snapshot: &&Arc<MetricsSnapshot>| at - snapshot.at < MAX_SNAPSHOT_AGE;
        let snapshot = match self.snapshot.as_ref().filter(fresh) {
            Some(snapshot) => snapshot.clone(),
            None => Arc::new(self.take_snapshot(at, session)),
        };
        self.snapshot = Some(snapshot.clone());
        let _ = scrape.send(snapshot);
    }

    fn take_snapshot(&mut self, at: Nanos, session: &Session<Live>) -> MetricsSnapshot {
        let end = self.interval_end(at, session);
        self.note_writes(session);
        MetricsSnapshot {
            failed_threads: session.failed_threads(),
            ..self
                .summarizer
                .snapshot(end, session.interval_context(self.local_ports()))
        }
    }

    /// Returns the ports whose connections are counted by state.
    fn local_ports(&self) -> &BTreeSet<Port> {
        &self.reloadable.config.prometheus.local_ports
    }

    fn note_writes(&mut self, session: &Session<Live>) {
        let writes = self.state.as_ref().map(StateFile::writes);
        self.summarizer.note_state_writes(writes);
        self.summarizer.note_flight(session.flight_counts());
    }

    fn interval_end(&self, at: Nanos, session: &Session<Live>) -> IntervalEnd {
        IntervalEnd {
            at,
            pressure: self.pressure.clone(),
            outputs: self.reloadable.outputs.states(),
            usage: Some(usage(session)),
        }
    }
}

/// Lets commands ask. An agent that cannot be asked works all the same.
fn listen(config: &Config, questions: mpsc::Sender<AgentQuestion>) -> Option<SocketServer> {
    if !config.answer_commands {
        return None;
    }
    SocketServer::start(&config.run_directory, questions)
        .inspect_err(|error| notice!("commands cannot ask this agent: {error:#}"))
        .ok()
}

/// Opens the state file, if there is to be one. The agent works without it, too.
fn open_state(
    config: &Config,
    session: &Session<Live>,
    stuck_known_from: Nanos,
) -> Option<StateFile> {
    let path = state_file::path(config.state_file.as_deref())?;
    let traced = session.traced();
    let opened = StateFile::open(&path, traced, stuck_known_from);
    let opened = opened.inspect_err(|error| {
        let path = path.display();
        notice!(
            "the state file {path} cannot be used, so a restart forgets what is known: {error:#}"
        );
    });
    opened.ok()
}

fn usage(session: &Session<Live>) -> Usage {
    Usage {
        cpu: clock::process_cpu_time(),
        memory: self_usage::resident_bytes(),
        bpf: session.bpf_runs(),
    }
}

impl Consumer<Live> for Agent {
    type Output = ();

    async fn wait(&mut self) {
        self.wakeup = Some(tokio::select! {
            wakeup = self.wakeups.next() => wakeup,
            event = self.reloadable.next_event() => Wakeup::Reload(event),
        });
    }

    fn on_wake(&mut self, session: &mut Session<Live>) -> anyhow::Result<()> {
        match self.wakeup.take() {
            Some(Wakeup::IntervalEnd) => self.end_interval(session)?,
            Some(Wakeup::SaveState) => self.saves_state = true,
            Some(Wakeup::Watchdog) => sd_notify::ping_watchdog(),
            Some(Wakeup::Scrape(scrape)) => self.answer(scrape, session),
            Some(Wakeup::Question(AgentQuestion { question, answer })) => {
                let (recent, started) = (&self.recent_routes, self.started);
                // The command may have gone meanwhile.
                let _ = answer.send(answers::answer(&question, session, recent, started));
            }
            Some(Wakeup::Hangup) => self.reloadable.start_reload(),
            Some(Wakeup::Reload(event)) => {
                let before = self.reloadable.config.interval;
                self.reloadable.on_event(event);
                let interval = self.reloadable.config.interval;
                if interval != before {
                    self.wakeups.change_interval(interval);
                }
            }
            Some(Wakeup::Stop) => self.is_stopped = true,
            None => {}
        }
        Ok(())
    }

    fn on_finding(&mut self, finding: Finding) -> anyhow::Result<()> {
        self.take_finding(finding);
        Ok(())
    }

    fn after_findings(&mut self, session: &mut Session<Live>) -> anyhow::Result<()> {
        if std::mem::take(&mut self.saves_state)
            && let Some(state) = &mut self.state
        {
            state.save(session);
        }
        Ok(())
    }

    fn is_done(&self) -> bool {
        self.is_stopped
    }

    fn finish(mut self, session: &mut Session<Live>) -> anyhow::Result<()> {
        sd_notify::stopping();
        let last = self.end_interval(session);
        let deadline = Instant::now() + FINISH_TIMEOUT;
        // The end of the interval may have made more findings, which the next agent does not make.
        if let Some(state) = self.state.take() {
            state.finish(session, deadline);
        }
        self.reloadable.outputs.finish(deadline);
        last
    }
}
