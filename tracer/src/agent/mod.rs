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
mod wakeups;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use jiff::Timestamp;
use thiserror::Error;
use tokio::sync::mpsc;

use crate::metrics::{Rankings, Snapshot};
use crate::notice::notice;
use crate::output::clock::WallClock;
use crate::record::Record;
use crate::session::{Consumer, Live, Session, now};
use crate::summary::{IntervalEnd, Summaries, Tracer};
use config::Config;
use endpoint::Scrape;
use outputs::Outputs;
use reload::Reloadable;
pub use replay::replay;
use tcpclose_core::finding::{Finding, LossLocation};
use tcpclose_core::summary::{Gauges, Pressure};
use tcpclose_core::types::Nanos;
use tcpclose_sys::host::{privilege_drop, self_usage};
use tcpclose_sys::kernel::clock;
use tcpclose_sys::kernel::loader::Options;
use tcpclose_sys::kernel::netns;
use wakeups::{Wakeup, Wakeups};

/// What a scrape is told is no older.
const FRESH: Nanos = Nanos::from_secs(1);

/// What outputs may take at the end, of the 5 s that all may take: detaching the programs takes the kernel its time, too.
const FINISH: Duration = Duration::from_secs(3);

/// What was stuck before the start is found by then, once it has been looked at for `stuck_after`.
const SEARCH: Nanos = Nanos::from_secs(5);

struct Agent {
    reloadable: Reloadable,
    begun: Nanos,
    /// The same in wall time.
    start: Timestamp,
    summaries: Summaries,
    /// As of the last interval.
    pressure: Vec<Pressure>,
    rankings: Rankings,
    /// The last answer to a scrape.
    snapshot: Option<Arc<Snapshot>>,
    wakeups: Wakeups,
    /// What is to be attended to.
    woken: Option<Wakeup>,
    stopped: bool,
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
    let (scrapes, wanted) = mpsc::channel(16);
    // Before anything takes its time: a signal must not end the program by itself then.
    let wakeups = Wakeups::start(config.interval, wanted)?;
    let kept = rights_needed(&config);
    let mut session = Session::builder(options(&config)?)
        .capacity(config.max_connections.get())
        .stuck_after(Some(config.stuck_after.into()))
        .record_to(record)
        .after_attach(move || Ok(privilege_drop::give_up_all_but(&kept)?))
        .start()?;
    let agent = Agent::start(config, file, &mut session, scrapes, wakeups)?;
    service::ready();
    agent.announce(&session);
    session.run(agent).await.context(HadToEnd)
}

/// In an error: the agent had begun to work, and what stopped it may not do so again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the agent had to end")]
pub struct HadToEnd;

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
        session: &mut Session<Live>,
        scrapes: mpsc::Sender<Scrape>,
        mut wakeups: Wakeups,
    ) -> anyhow::Result<Self> {
        let begun = IntervalEnd {
            at: now(),
            ..IntervalEnd::default()
        };
        session.record_interval_end(&begun);
        wakeups.change_interval(config.interval);
        let outputs = Outputs::start(
            &config.outputs,
            &config.run_directory,
            session.clock(),
            session.recorded_cgroups(),
        )?;
        let reloadable = Reloadable::start(config, file, outputs, scrapes)?;
        Ok(Self {
            reloadable,
            begun: begun.at,
            start: WallClock::new(session.clock()).timestamp(begun.at),
            summaries: Summaries::new(begun.at),
            pressure: Vec::new(),
            rankings: Rankings::default(),
            snapshot: None,
            wakeups,
            woken: None,
            stopped: false,
        })
    }

    fn announce(&self, session: &Session<Live>) {
        let endpoint = match &self.reloadable.endpoint {
            Some(endpoint) => format!("metrics on http://{}/metrics", endpoint.address()),
            None => "no HTTP endpoint".to_owned(),
        };
        notice!("the agent works; {endpoint}");
        for shortcoming in session.shortcomings() {
            notice!("{shortcoming}");
        }
    }

    fn take_finding(&mut self, finding: Finding) {
        self.summaries.take(&finding);
        self.reloadable.outputs.offer(&Arc::new(finding.into()));
    }

    fn end_interval(&mut self, session: &mut Session<Live>) -> anyhow::Result<()> {
        let read = session.pressure();
        let read = read.map(|pressure| self.pressure = pressure);
        // They came before the interval ends.
        while let Some(finding) = session.next_finding() {
            self.take_finding(finding);
        }
        let end = IntervalEnd {
            at: now(),
            pressure: self.pressure.clone(),
            outputs: self.reloadable.outputs.states(),
            tracer: Some(used(session)),
        };
        session.record_interval_end(&end);
        let context = session.interval_context();
        let summary = self.summaries.end_interval(end, context);
        self.rankings = Rankings::from(&summary.connections);
        // Outputs say themselves what they lost.
        let lost = &summary.connections.lost;
        let lost = lost.total() - lost.of(LossLocation::Output);
        if lost > 0 {
            notice!(
                "{lost} of what the kernel tells {} lost in the last interval (the summary says where)",
                if lost == 1 { "was" } else { "were" }
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
        let fresh = |snapshot: &&Arc<Snapshot>| at - snapshot.at < FRESH;
        let snapshot = match self.snapshot.as_ref().filter(fresh) {
            Some(snapshot) => snapshot.clone(),
            None => Arc::new(self.take_snapshot(at, session)),
        };
        self.snapshot = Some(snapshot.clone());
        let _ = scrape.send(snapshot);
    }

    fn take_snapshot(&self, at: Nanos, session: &Session<Live>) -> Snapshot {
        // Before that nothing can be told: what is stuck already would look like a sudden growth.
        let is_known = at - self.begun >= Nanos::from(self.reloadable.config.stuck_after) + SEARCH;
        let stuck = session.stuck_counts().filter(|_| is_known);
        Snapshot {
            start: self.start,
            at,
            totals: self.summaries.totals().clone(),
            opened: session.opened(),
            gauges: Gauges {
                pressure: self.pressure.clone(),
                ..session.gauges()
            },
            stuck: stuck.map(|stuck| self.summaries.stuck_now(stuck)),
            rankings: self.rankings.clone(),
            outputs: self.reloadable.outputs.states(),
            tracer: used(session),
        }
    }
}

fn used(session: &Session<Live>) -> Tracer {
    Tracer {
        cpu: clock::process_cpu(),
        memory: self_usage::memory(),
        bpf: session.bpf_runs(),
    }
}

impl Consumer<Live> for Agent {
    type Outcome = ();

    async fn wait(&mut self) {
        self.woken = Some(tokio::select! {
            wakeup = self.wakeups.next() => wakeup,
            event = self.reloadable.next_event() => Wakeup::Reload(event),
        });
    }

    fn on_wake(&mut self, session: &mut Session<Live>) -> anyhow::Result<()> {
        match self.woken.take() {
            Some(Wakeup::IntervalEnd) => self.end_interval(session)?,
            Some(Wakeup::Watchdog) => service::alive(),
            Some(Wakeup::Scrape(scrape)) => self.answer(scrape, session),
            Some(Wakeup::Hangup) => self.reloadable.start_reload(),
            Some(Wakeup::Reload(event)) => {
                let before = self.reloadable.config.interval;
                self.reloadable.on_event(event);
                let interval = self.reloadable.config.interval;
                if interval != before {
                    self.wakeups.change_interval(interval);
                }
            }
            Some(Wakeup::Stop) => self.stopped = true,
            None => {}
        }
        Ok(())
    }

    fn on_finding(&mut self, finding: Finding) -> anyhow::Result<()> {
        self.take_finding(finding);
        Ok(())
    }

    fn is_done(&self) -> bool {
        self.stopped
    }

    fn finish(mut self, session: &mut Session<Live>) -> anyhow::Result<()> {
        service::stopping();
        let last = self.end_interval(session);
        self.reloadable.outputs.finish(Instant::now() + FINISH);
        last
    }
}
