//! SIGHUP: applying a new configuration while the agent runs.
//!
//! A reload never blocks the event loop. A thread reads the file, and the loop goes on while the
//! former HTTP endpoint releases its port and removed outputs deliver what they hold.

use std::future;
use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::config::{Config, PrometheusConfig};
use super::http_server::{HttpServer, Scrape};
use super::outputs::Outputs;
use super::sd_notify;
use crate::notice::notice;
use tcpclose_sys::host::priority;

/// How long reading the file may take. A file on a network file system may block for ever.
const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// The parts of the agent that follow its configuration, and the reload in progress.
pub(super) struct ReloadableParts {
    /// The configuration in effect.
    pub config: Config,
    pub outputs: Outputs,
    pub http_server: Option<HttpServer>,
    /// Where the configuration was read from.
    file: Option<PathBuf>,
    scrapes: mpsc::Sender<Scrape>,
    /// What the reload in progress waits for.
    pending: Option<Pending>,
    /// SIGHUP came during a reload: another one follows.
    is_requested: bool,
}

type Pending = Pin<Box<dyn Future<Output = ReloadEvent>>>;

/// What a reload has waited for.
pub(super) enum ReloadEvent {
    /// The file was read.
    Read(Box<anyhow::Result<Config>>),
    /// The former HTTP endpoint has released its port, and this one is wanted.
    HttpServerStopped(PrometheusConfig),
    /// The removed outputs have ended, or have used up their time.
    OutputsClosed,
}

impl ReloadableParts {
    /// Opens the HTTP endpoint, which requests snapshots on `scrapes`.
    ///
    /// # Errors
    /// Its address cannot be listened on.
    pub fn start(
        config: Config,
        file: Option<PathBuf>,
        outputs: Outputs,
        scrapes: mpsc::Sender<Scrape>,
    ) -> anyhow::Result<Self> {
        let http_server = listen(&config.prometheus, &scrapes)?;
        Ok(Self {
            config,
            outputs,
            http_server,
            file,
            scrapes,
            pending: None,
            is_requested: false,
        })
    }

    /// Starts a reload, or requests another one if one is in progress.
    pub fn start_reload(&mut self) {
        if self.pending.is_some() {
            self.is_requested = true;
            return;
        }
        sd_notify::reloading();
        let read = read(self.file.clone(), self.config.clone());
        self.pending = Some(Box::pin(async { ReloadEvent::Read(Box::new(read.await)) }));
    }

    /// Waits for the next event of the reload in progress; forever if there is none. Safe to
    /// cancel.
    pub async fn next_event(&mut self) -> ReloadEvent {
        let Some(pending) = &mut self.pending else {
            return future::pending().await;
        };
        let event = pending.await;
        self.pending = None;
        event
    }

    /// Advances the reload.
    pub fn on_event(&mut self, event: ReloadEvent) {
        match event {
            ReloadEvent::Read(read) => match *read {
                Ok(config) => self.apply(config),
                Err(error) => {
                    notice!("the configuration is unchanged: {error:#}");
                    // Log rotation needs new files even so.
                    self.outputs
                        .reconfigure(&self.config.outputs, &self.config.run_directory);
                    self.wait_for_outputs();
                }
            },
            ReloadEvent::HttpServerStopped(wanted) => {
                self.listen_again(wanted);
                self.finish_applying();
            }
            ReloadEvent::OutputsClosed => {
                self.outputs.settle();
                sd_notify::ready();
                if std::mem::take(&mut self.is_requested) {
                    self.start_reload();
                }
            }
        }
    }

    fn apply(&mut self, wanted: Config) {
        let Config {
            interval,
            stuck_after,
            max_connections,
            run_directory,
            state_file,
            flight_recorder,
            reader_nice,
            answer_commands,
            pair_key,
            sample,
            rollups,
            trace,
            prometheus,
            outputs,
        } = wanted;
        let config = &mut self.config;
        let needs_restart = [
            ("stuck_after", stuck_after != config.stuck_after),
            ("max_connections", max_connections != config.max_connections),
            ("state_file", state_file != config.state_file),
            (
                "[flight_recorder]",
                flight_recorder != config.flight_recorder,
            ),
            ("reader_nice", reader_nice != config.reader_nice),
            ("answer_commands", answer_commands != config.answer_commands),
            ("pair_key", pair_key != config.pair_key),
            ("sample", sample != config.sample),
            ("rollups", rollups != config.rollups),
            ("[trace]", trace != config.trace),
        ];
        for (name, _) in needs_restart.iter().filter(|(_, changed)| *changed) {
            notice!("the change of {name} takes effect when the agent is restarted");
        }
        config.interval = interval;
        config.run_directory = run_directory;
        config.outputs = outputs;
        self.outputs
            .reconfigure(&config.outputs, &config.run_directory);
        if prometheus == config.prometheus {
            self.finish_applying();
            return;
        }
        // The new server may need the port of the old one, on another address.
        let old = self.http_server.take();
        self.pending = Some(Box::pin(async {
            if let Some(http_server) = old {
                http_server.stop().await;
            }
            ReloadEvent::HttpServerStopped(prometheus)
        }));
    }

    fn finish_applying(&mut self) {
        match &self.file {
            Some(_) => notice!("the configuration was reloaded"),
            None => {
                notice!("files were reopened; there is no configuration file to reload (--config)")
            }
        }
        self.wait_for_outputs();
    }

    fn wait_for_outputs(&mut self) {
        let closed = self.outputs.closed();
        self.pending = Some(Box::pin(async {
            closed.await;
            ReloadEvent::OutputsClosed
        }));
    }

    /// Opens the new server, or the old one again if that fails.
    fn listen_again(&mut self, wanted: PrometheusConfig) {
        match listen(&wanted, &self.scrapes) {
            Ok(http_server) => {
                self.http_server = http_server;
                self.config.prometheus = wanted;
            }
            Err(error) => {
                notice!("the HTTP endpoint is unchanged: {error:#}");
                match listen(&self.config.prometheus, &self.scrapes) {
                    Ok(http_server) => self.http_server = http_server,
                    Err(error) => {
                        notice!("there is no HTTP endpoint any more: {error:#}");
                    }
                }
            }
        }
    }
}

fn listen(
    config: &PrometheusConfig,
    scrapes: &mpsc::Sender<Scrape>,
) -> anyhow::Result<Option<HttpServer>> {
    config
        .enabled
        .then(|| HttpServer::start(config, scrapes.clone()))
        .transpose()
}

/// Reads the file in a thread of its own: a network file system may block it. Without a
/// file, the current configuration stays.
fn read(
    file: Option<PathBuf>,
    current: Config,
) -> impl Future<Output = anyhow::Result<Config>> + 'static {
    let (result, receiver) = oneshot::channel();
    let started = priority::spawn("reload", || {
        let config = file.map_or(Ok(current), |file| Config::read(&file));
        // The agent may have ended meanwhile.
        let _ = result.send(config);
    });
    async {
        started.context("the thread that reads it could not be started")?;
        let read = timeout(READ_TIMEOUT, receiver).await.with_context(|| {
            let seconds = READ_TIMEOUT.as_secs();
            format!("reading the file takes longer than {seconds} s; send SIGHUP again later")
        })?;
        Ok(read.context("the thread that reads it has panicked, which is a bug in tcpclose")??)
    }
}
