//! Opening the destination of an output: at once, or as soon as that is possible.

use std::sync::Arc;
use std::time::Duration;

use super::config::{SinkConfig, Target};
use super::destination_error::DestinationError;
use super::last_accepted::LastAccepted;
use super::render::RenderContext;
use super::transport::{DEFAULT_MAX_BATCH, Delivered, Transport};
use super::{file, journald, stdout, syslog};
use crate::record::Record;

/// Opens the destination of an output. A receiver that cannot be reached yet is not an error.
///
/// # Errors
/// Why the output cannot be used: another program writes to its file, for example.
pub(super) fn open(
    config: &SinkConfig,
    context: RenderContext,
    #[cfg_attr(
        not(feature = "otlp"),
        expect(unused_variables, reason = "OTLP alone has metrics")
    )]
    last_accepted: &LastAccepted,
) -> Result<Box<dyn Transport>, DestinationError> {
    Ok(match &config.target {
        Target::Stdout => {
            Box::new(stdout::Stdout::open(context).map_err(DestinationError::Stdout)?)
        }
        Target::File(path) => Box::new(file::JsonLinesFile::open(path, context)?),
        #[cfg(feature = "http")]
        Target::Http(http) => Box::new(super::http::Http::new(http, context)?),
        #[cfg(not(feature = "http"))]
        Target::Http(_) => return Err(DestinationError::Feature("http")),
        Target::Journald => Box::new(journald::Journald::new(context)),
        Target::Syslog(syslog) => Box::new(syslog::Syslog::new(syslog, context)),
        #[cfg(feature = "otlp")]
        Target::Otlp(otlp) => Box::new(super::otlp::Otlp::new(
            otlp,
            context,
            last_accepted.clone(),
        )?),
        #[cfg(not(feature = "otlp"))]
        Target::Otlp(_) => return Err(DestinationError::Feature("otlp")),
    })
}

impl SinkConfig {
    /// Checks that `open` would accept the destination, as far as that can be checked without
    /// changing anything.
    ///
    /// # Errors
    /// Why the output cannot be used.
    pub fn check_destination(&self) -> Result<(), DestinationError> {
        match &self.target {
            Target::File(path) => file::check(path),
            #[cfg(feature = "otlp")]
            Target::Otlp(otlp) => super::http_client::check(otlp.ca_file.as_deref(), &otlp.headers),
            #[cfg(not(feature = "otlp"))]
            Target::Otlp(_) => Err(DestinationError::Feature("otlp")),
            #[cfg(feature = "http")]
            Target::Http(http) => super::http_client::check(http.ca_file.as_deref(), &http.headers),
            #[cfg(not(feature = "http"))]
            Target::Http(_) => Err(DestinationError::Feature("http")),
            Target::Stdout | Target::Journald | Target::Syslog(_) => Ok(()),
        }
    }
}

/// Makes the context for each attempt to open an output.
type ContextFactory = Box<dyn FnMut() -> anyhow::Result<RenderContext> + Send>;

/// A transport that is opened in the output's own thread.
pub(super) struct LazyOpen {
    config: SinkConfig,
    make_context: ContextFactory,
    last_accepted: LastAccepted,
    transport: Option<Box<dyn Transport>>,
}

impl LazyOpen {
    pub(super) const fn new(
        config: SinkConfig,
        make_context: ContextFactory,
        last_accepted: LastAccepted,
    ) -> Self {
        Self {
            config,
            make_context,
            last_accepted,
            transport: None,
        }
    }
}

impl Transport for LazyOpen {
    fn open(&mut self) -> Result<(), DestinationError> {
        let context = (self.make_context)().map_err(DestinationError::Context)?;
        self.transport = Some(open(&self.config, context, &self.last_accepted)?);
        Ok(())
    }

    fn deliver(&mut self, records: &[Arc<Record>]) -> Delivered {
        match &mut self.transport {
            Some(transport) => transport.deliver(records),
            None => Delivered {
                unavailable: Some("it is not open yet".to_owned().into()),
                ..Delivered::default()
            },
        }
    }

    fn reopen(&mut self) -> Result<(), DestinationError> {
        self.transport
            .as_mut()
            .map_or(Ok(()), |transport| transport.reopen())
    }

    fn max_batch(&self) -> usize {
        let transport = self.transport.as_ref();
        transport.map_or(DEFAULT_MAX_BATCH, |transport| transport.max_batch())
    }

    fn batch_delay(&self) -> Duration {
        let transport = self.transport.as_ref();
        transport.map_or(Duration::ZERO, |transport| transport.batch_delay())
    }
}
