//! SIGHUP: applying a new configuration while the agent runs.
//!
//! A reload never blocks the event loop. A thread reads the file, and the loop goes on while the
//! former HTTP endpoint releases its port and removed outputs deliver what they hold.

use std::future;
use std::path::PathBuf;
use std::pin::Pin;
use std::thread;

use anyhow::Context as _;
use tokio::sync::{mpsc, oneshot};

use super::config::{Config, Prometheus};
use super::endpoint::{Endpoint, Scrape};
use super::outputs::Outputs;
use super::service;
use crate::notice::notice;

/// The parts of the agent that follow its configuration, and the reload in progress.
pub(super) struct Reloadable {
    /// The configuration in effect.
    pub config: Config,
    pub outputs: Outputs,
    pub endpoint: Option<Endpoint>,
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
    Read(anyhow::Result<Config>),
    /// The former HTTP endpoint has released its port, and this one is wanted.
    EndpointStopped(Prometheus),
    /// The removed outputs have ended, or have used up their time.
    OutputsClosed,
}

impl Reloadable {
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
        let endpoint = listen(&config.prometheus, &scrapes)?;
        Ok(Self {
            config,
            outputs,
            endpoint,
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
        service::reloading();
        let read = read(self.file.clone(), self.config.clone());
        self.pending = Some(Box::pin(async { ReloadEvent::Read(read.await) }));
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
            ReloadEvent::Read(Ok(config)) => self.apply(config),
            ReloadEvent::Read(Err(error)) => {
                notice!("the configuration is unchanged: {error:#}");
                // Log rotation needs new files even so.
                self.outputs
                    .reconfigure(&self.config.outputs, &self.config.run_directory);
                self.wait_for_outputs();
            }
            ReloadEvent::EndpointStopped(wanted) => {
                self.listen_again(wanted);
                self.finish_applying();
            }
            ReloadEvent::OutputsClosed => {
                self.outputs.settle();
                service::ready();
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
            trace,
            prometheus,
            outputs,
        } = wanted;
        let config = &mut self.config;
        let needs_restart = [
            ("stuck_after", stuck_after != config.stuck_after),
            ("max_connections", max_connections != config.max_connections),
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
        // The new endpoint may need the port of the old one, on another address.
        let old = self.endpoint.take();
        self.pending = Some(Box::pin(async {
            if let Some(endpoint) = old {
                endpoint.stop().await;
            }
            ReloadEvent::EndpointStopped(prometheus)
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

    /// Opens the new endpoint, or the old one again if that fails.
    fn listen_again(&mut self, wanted: Prometheus) {
        match listen(&wanted, &self.scrapes) {
            Ok(endpoint) => {
                self.endpoint = endpoint;
                self.config.prometheus = wanted;
            }
            Err(error) => {
                notice!("the HTTP endpoint is unchanged: {error:#}");
                match listen(&self.config.prometheus, &self.scrapes) {
                    Ok(endpoint) => self.endpoint = endpoint,
                    Err(error) => {
                        notice!("there is no HTTP endpoint any more: {error:#}");
                    }
                }
            }
        }
    }
}

fn listen(config: &Prometheus, scrapes: &mpsc::Sender<Scrape>) -> anyhow::Result<Option<Endpoint>> {
    config
        .enabled
        .then(|| Endpoint::start(config, scrapes.clone()))
        .transpose()
}

/// Reads the file in a thread of its own: a network file system or a pipe may block it. Without a
/// file, the current configuration stays.
fn read(
    file: Option<PathBuf>,
    current: Config,
) -> impl Future<Output = anyhow::Result<Config>> + 'static {
    let (result, receiver) = oneshot::channel();
    let started = thread::Builder::new().name("reload".to_owned()).spawn(|| {
        let config = file.map_or(Ok(current), |file| Config::read(&file));
        // The agent may have ended meanwhile.
        let _ = result.send(config);
    });
    async {
        started.context("the thread that reads it could not be started")?;
        let read = receiver.await;
        Ok(read.context("the thread that reads it has panicked, which is a bug in tcpclose")??)
    }
}
