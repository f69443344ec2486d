//! Opening an output: at once, or as soon as that is possible.

use std::sync::Arc;
use std::time::Duration;

use super::config::{SinkConfig, Target};
use super::render::RenderContext;
use super::transport::{Delivered, Transport};
use super::{file, journald, stdout, syslog};
use crate::record::Record;

#[cfg(not(feature = "otlp"))]
const WITHOUT_OTLP: &str = "this tcpclose was built without the feature `otlp`";

/// Opens the place of an output.
///
/// # Errors
/// A sentence: a file cannot be opened, for example, or another program writes to it already. That a receiver is not there
/// yet is none.
pub(super) fn open(
    config: &SinkConfig,
    surroundings: RenderContext,
) -> Result<Box<dyn Transport>, String> {
    Ok(match &config.target {
        Target::Stdout => {
            let stdout = stdout::Stdout::open(surroundings);
            Box::new(stdout.map_err(|error| error.to_string())?)
        }
        Target::File(path) => Box::new(file::LinesFile::open(path, surroundings)?),
        Target::Journald => Box::new(journald::Journald::new(surroundings)),
        Target::Syslog(syslog) => Box::new(syslog::Syslog::new(syslog, surroundings)),
        #[cfg(feature = "otlp")]
        Target::Otlp(otlp) => Box::new(super::otlp::Otlp::new(otlp, surroundings)?),
        #[cfg(not(feature = "otlp"))]
        Target::Otlp(_) => {
            return Err(WITHOUT_OTLP.to_owned());
        }
    })
}

impl SinkConfig {
    /// Whether [`open`] would refuse the place, as far as that can be told without touching anything.
    ///
    /// # Errors
    /// A sentence.
    pub fn check_place(&self) -> Result<(), String> {
        match &self.target {
            Target::File(path) => file::check(path),
            #[cfg(feature = "otlp")]
            Target::Otlp(otlp) => super::otlp::check(otlp),
            #[cfg(not(feature = "otlp"))]
            Target::Otlp(_) => Err(WITHOUT_OTLP.to_owned()),
            Target::Stdout | Target::Journald | Target::Syslog(_) => Ok(()),
        }
    }
}

/// Makes surroundings for each try.
type Prepare = Box<dyn FnMut() -> anyhow::Result<RenderContext> + Send>;

/// An output that is opened in its own thread.
pub(super) struct LazyOpen {
    config: SinkConfig,
    prepare: Prepare,
    opened: Option<Box<dyn Transport>>,
}

impl LazyOpen {
    pub(super) fn new(config: SinkConfig, prepare: Prepare) -> Self {
        Self {
            config,
            prepare,
            opened: None,
        }
    }
}

impl Transport for LazyOpen {
    fn open(&mut self) -> Result<(), String> {
        let surroundings = (self.prepare)().map_err(|error| format!("{error:#}"))?;
        self.opened = Some(open(&self.config, surroundings)?);
        Ok(())
    }

    fn deliver(&mut self, records: &[Arc<Record>]) -> Delivered {
        match &mut self.opened {
            Some(delivery) => delivery.deliver(records),
            None => Delivered {
                down: Some("it is not open yet".to_owned().into()),
                ..Delivered::default()
            },
        }
    }

    fn reopen(&mut self) -> Result<(), String> {
        self.opened
            .as_mut()
            .map_or(Ok(()), |delivery| delivery.reopen())
    }

    fn patience(&self) -> Duration {
        let opened = self.opened.as_ref();
        opened.map_or(Duration::ZERO, |delivery| delivery.patience())
    }
}
