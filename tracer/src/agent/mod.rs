//! The daemon: traces, sums up, and hands everything to its outputs.
//!
//! One loop owns the session, as in `tcpclose watch`. Outputs and the HTTP endpoint have threads of their own; nothing that
//! they wait for stops the loop.

pub mod config;
mod endpoint;
mod output_locks;
mod outputs;
mod reload;
mod replay;
mod service;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use jiff::Timestamp;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{self, MissedTickBehavior};

use crate::metrics::{Rankings, Snapshot};
use crate::notice::notice;
use crate::output::clock::{SharedOffset, WallClock};
use crate::session::{Session, now};
use config::Config;
use endpoint::{Endpoint, Scrape};
use outputs::Outputs;
pub use replay::replay;
use tcpclose_core::finding::{Finding, LossLocation};
use tcpclose_core::summary::{Gauges, IntervalEnd, Pressure, Summaries, Tracer};
use tcpclose_core::types::Nanos;
use tcpclose_sys::host::{privilege_drop, self_usage};
use tcpclose_sys::kernel::clock;
use tcpclose_sys::kernel::loader::Options;
use tcpclose_sys::kernel::netns;

/// What a scrape is told is no older.
const FRESH: Nanos = Nanos::from_secs(1);

/// What outputs may take at the end, of the 5 s that all may take: detaching the programs takes the kernel its time, too.
const FINISH: Duration = Duration::from_secs(3);

/// What was stuck before the start is found by then, once it has been looked at for `stuck_after`.
const SEARCH: Nanos = Nanos::from_secs(5);

struct Agent {
    config: Config,
    begun: Nanos,
    /// The same in wall time.
    start: Timestamp,
    /// Where it was read from.
    file: Option<PathBuf>,
    session: Session,
    summaries: Summaries,
    outputs: Outputs,
    clock: WallClock,
    /// What the outputs have of it.
    outputs_clock: SharedOffset,
    endpoint: Option<Endpoint>,
    scrapes: mpsc::Sender<Scrape>,
    /// As of the last interval.
    pressure: Vec<Pressure>,
    rankings: Rankings,
    /// The last answer to a scrape.
    snapshot: Option<Arc<Snapshot>>,
}

/// Runs until SIGTERM or SIGINT. `file` is read again at SIGHUP. With `record` all that the outputs are told can be had
/// again from that file, by [`replay()`].
///
/// # Errors
/// It cannot be started, or the recording can no longer be written; with [`HadToEnd`] the kernel's records can no longer be
/// read.
pub async fn run(
    config: Config,
    file: Option<PathBuf>,
    record: Option<&Path>,
) -> anyhow::Result<()> {
    let mut hangup = signal(SignalKind::hangup())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (scrapes, mut wishes) = mpsc::channel(16);
    let mut agent = Agent::start(config, file, record, scrapes)?;
    let mut ticks = ticks(agent.config.interval);
    let mut watchdog = service::watchdog();
    service::ready();
    agent.announce();
    let ended = loop {
        tokio::select! {
            ready = agent.session.wait() => {
                if let Err(error) = ready {
                    break Err(error).context("polling the ring buffer failed");
                }
            }
            _ = ticks.tick() => {
                if let Err(error) = agent.end_interval() {
                    break Err(error);
                }
            }
            () = watchdog.due() => service::alive(),
            Some(wish) = wishes.recv() => agent.answer(wish),
            _ = hangup.recv() => {
                let before = agent.config.interval;
                agent.reload();
                if agent.config.interval != before {
                    ticks = self::ticks(agent.config.interval);
                }
            }
            _ = terminate.recv() => break Ok(()),
            _ = interrupt.recv() => break Ok(()),
        }
        if let Err(error) = agent.pump() {
            break Err(error);
        }
    };
    service::stopping();
    agent.session.settle().await;
    let last = agent.pump();
    let last = agent.end_interval().and(last);
    agent.outputs.finish(Instant::now() + FINISH);
    let recorded = record.map_or(Ok(()), |file| agent.session.finish_recording(file));
    // Of a recording that failed, this has the reason.
    recorded.and(ended).and(last).context(HadToEnd)
}

/// In an error: the agent had begun to work, and what stopped it may not do so again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HadToEnd;

impl fmt::Display for HadToEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the agent had to end")
    }
}

fn ticks(interval: Duration) -> time::Interval {
    let mut ticks = time::interval_at(time::Instant::now() + interval, interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// What the kernel is asked for.
fn options(config: &Config) -> anyhow::Result<Options> {
    Ok(Options {
        filter: config.trace.live()?,
        ..Options::default()
    })
}

/// What the agent may still do when it runs with this configuration.
#[must_use]
pub fn rights_needed(config: &Config) -> Vec<privilege_drop::KeptCapability> {
    let wanted = config.trace.namespace().ok().flatten();
    let own = netns::current().ok();
    privilege_drop::needed(wanted.is_some_and(|wanted| Some(wanted.id()) == own))
}

impl Agent {
    fn start(
        config: Config,
        file: Option<PathBuf>,
        record: Option<&Path>,
        scrapes: mpsc::Sender<Scrape>,
    ) -> anyhow::Result<Self> {
        let kept = rights_needed(&config);
        let mut session = Session::builder(options(&config)?)
            .capacity(config.max_connections.get())
            .stuck_after(Some(config.stuck_after.into()))
            .record_to(record)
            .after_attach(move || privilege_drop::give_up_all_but(&kept))
            .start()?;
        let begun = IntervalEnd {
            at: now(),
            ..IntervalEnd::default()
        };
        session.record_boundary(&begun);
        let clock = WallClock::new();
        let outputs_clock = SharedOffset::new(clock.offset());
        let outputs = Outputs::start(
            &config.outputs,
            &config.run_directory,
            outputs_clock.clone(),
            session.recorded_cgroups(),
        )?;
        let mut agent = Self {
            begun: begun.at,
            start: clock.timestamp(begun.at),
            session,
            summaries: Summaries::new(begun.at),
            outputs,
            clock,
            outputs_clock,
            endpoint: None,
            scrapes,
            pressure: Vec::new(),
            rankings: Rankings::default(),
            snapshot: None,
            config,
            file,
        };
        agent.endpoint = agent.listen(&agent.config.prometheus)?;
        Ok(agent)
    }

    fn listen(&self, config: &config::Prometheus) -> anyhow::Result<Option<Endpoint>> {
        match config.enabled {
            true => Ok(Some(Endpoint::start(config, self.scrapes.clone())?)),
            false => Ok(None),
        }
    }

    fn announce(&self) {
        let endpoint = match &self.endpoint {
            Some(endpoint) => format!("metrics on http://{}/metrics", endpoint.address()),
            None => "no HTTP endpoint".to_owned(),
        };
        notice!("the agent works; {endpoint}");
        for shortcoming in &self.session.shortcomings {
            notice!("{shortcoming}");
        }
    }

    /// Takes all that has come.
    fn pump(&mut self) -> anyhow::Result<()> {
        self.clock.refresh();
        self.session.set_wall_clock(self.clock.offset());
        self.outputs_clock.set(self.clock.offset());
        self.session
            .pump(|_| ())
            .context("reading the kernel's records failed")?;
        self.take_findings()
    }

    fn take_findings(&mut self) -> anyhow::Result<()> {
        while let Some(finding) = self.session.next_finding() {
            let finding = Arc::new(finding);
            self.summaries.take(&finding);
            self.outputs.offer(&finding);
        }
        anyhow::ensure!(
            !self.session.recording_has_failed(),
            "the recording can no longer be written"
        );
        Ok(())
    }

    fn end_interval(&mut self) -> anyhow::Result<()> {
        let read = self.session.pressure();
        let read = read.map(|pressure| self.pressure = pressure);
        let taken = self.take_findings();
        let boundary = IntervalEnd {
            at: now(),
            pressure: self.pressure.clone(),
            outputs: self.outputs.states(),
            tracer: Some(self.used()),
        };
        self.session.record_boundary(&boundary);
        let at = boundary.at;
        let surroundings = self.session.surroundings(boundary);
        let summary = self.summaries.end_interval(at, surroundings);
        self.rankings = Rankings::from(&summary);
        // Outputs say themselves what they lost.
        let lost = summary.lost.total() - summary.lost.of(LossLocation::Output);
        if lost > 0 {
            notice!(
                "{lost} of what the kernel tells {} lost in the last interval (the summary says where)",
                if lost == 1 { "was" } else { "were" }
            );
        }
        self.outputs
            .offer(&Arc::new(Finding::Summary(Box::new(summary))));
        read.context("reading the kernel's records failed")
            .and(taken)
    }

    fn standing(&self) -> Gauges {
        Gauges {
            pressure: self.pressure.clone(),
            ..self.session.standing()
        }
    }

    fn used(&self) -> Tracer {
        Tracer {
            cpu: clock::process_cpu(),
            memory: self_usage::memory(),
            bpf: self.session.bpf_runs(),
        }
    }

    /// Tells a scrape how things stand. It may have gone meanwhile.
    fn answer(&mut self, wish: Scrape) {
        let at = now();
        let fresh = |snapshot: &&Arc<Snapshot>| at - snapshot.at < FRESH;
        let snapshot = match self.snapshot.as_ref().filter(fresh) {
            Some(snapshot) => snapshot.clone(),
            None => Arc::new(self.look(at)),
        };
        self.snapshot = Some(snapshot.clone());
        let _ = wish.send(snapshot);
    }

    fn look(&self, at: Nanos) -> Snapshot {
        // Before that nothing can be told: what is stuck already would look like a sudden growth.
        let is_known = at - self.begun >= Nanos::from(self.config.stuck_after) + SEARCH;
        let census = self.session.census().filter(|_| is_known);
        Snapshot {
            start: self.start,
            at,
            totals: self.summaries.totals().clone(),
            opened: self.session.opened(),
            gauges: self.standing(),
            stuck: census.map(|census| self.summaries.stuck_now(census)),
            rankings: self.rankings.clone(),
            outputs: self.outputs.states(),
            tracer: self.used(),
        }
    }
}
