//! Output over OpenTelemetry's protocol: findings become log records, summaries become metrics.
//!
//! Requests go over HTTP or gRPC, with or without TLS.

mod answer;
mod attributes;
mod client;
mod exports;
mod grpc;
mod http;
mod logs;
mod metrics;
mod request;
#[cfg(test)]
mod tests;
mod tls;

use std::sync::Arc;
use std::time::Duration;

use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::resource::v1::Resource;
use tokio::runtime::{self, Runtime};

use crate::record::Record;

use super::config::OtlpConfig;
use super::destination_error::DestinationError;
use super::last_accepted::LastAccepted;
use super::log_record::LogRecord;
use super::render::RenderContext;
use super::transport::{Delivered, Transport};

use self::answer::{Answer, Failure};
use self::client::Client;
use self::exports::Export;
pub(super) use self::tls::check;

/// How long to collect records for one request.
const BATCH_DELAY: Duration = Duration::from_secs(1);

/// The transport of an output of type `otlp`.
pub(super) struct Otlp {
    /// Runs only while a request is being sent.
    runtime: Runtime,
    config: OtlpConfig,
    client: Client,
    resource: Resource,
    scope: InstrumentationScope,
    last_accepted: LastAccepted,
    context: RenderContext,
}

impl Otlp {
    /// Prepares a client; the first request connects it.
    ///
    /// # Errors
    /// Certificates cannot be read.
    pub(super) fn new(
        config: &OtlpConfig,
        context: RenderContext,
        last_accepted: LastAccepted,
    ) -> Result<Self, DestinationError> {
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| DestinationError::Failed {
                operation: "starting its event loop",
                error,
            })?;
        let client = Client::new(config, &runtime);
        let client = match client {
            Ok(client) => client,
            Err(error) => {
                // Dropping a runtime panics if the caller is a task.
                runtime.shutdown_background();
                return Err(error);
            }
        };
        Ok(Self {
            runtime,
            config: config.clone(),
            client,
            resource: attributes::resource(config),
            scope: InstrumentationScope {
                name: env!("CARGO_PKG_NAME").to_owned(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                ..InstrumentationScope::default()
            },
            last_accepted,
            context,
        })
    }

    fn send_logs(&mut self, records: &[Arc<Record>]) -> Result<Answer, Failure> {
        let context = &mut self.context;
        let records = records.iter().map(|record| {
            let entry = LogRecord::new(record, context);
            logs::record(entry)
        });
        let request = logs::request(records.collect(), &self.resource, &self.scope);
        self.send(async |client: &mut Client| client.logs(&request).await)
    }

    fn send_metrics(&mut self, record: &Record) -> Result<Answer, Failure> {
        let Record::Summary(summary) = record else {
            return Ok(Answer::default());
        };
        let temporality = self.config.temporality;
        let RenderContext { clock, cgroups, .. } = &mut self.context;
        let Export { messages, accepted } = Export::new(
            &summary.snapshots,
            temporality,
            &self.last_accepted,
            clock,
            cgroups.as_mut(),
        );
        let request = metrics::request(messages, &self.resource, &self.scope);
        let answer = self.send(async |client: &mut Client| client.metrics(&request).await)?;
        // If some points were rejected, the receiver has the others all the same.
        self.last_accepted.set(accepted);
        Ok(answer)
    }

    /// Sends a request. An idle connection may have been closed meanwhile, so a broken one is
    /// made anew once.
    fn send(
        &mut self,
        request: impl AsyncFn(&mut Client) -> Result<Answer, Failure>,
    ) -> Result<Answer, Failure> {
        let Self {
            runtime, client, ..
        } = self;
        runtime.block_on(async {
            match request(client).await {
                Err(Failure::Broken(_)) => request(client).await,
                answer => answer,
            }
        })
    }
}

impl Transport for Otlp {
    /// Sends one request: the records up to the next summary, or a summary.
    fn deliver(&mut self, records: &[Arc<Record>]) -> Delivered {
        self.context.clock.refresh();
        let is_summary = |record: &Arc<Record>| matches!(**record, Record::Summary(_));
        let logs = records.iter().position(is_summary);
        let (count, answer) = match logs {
            Some(0) => (1, self.send_metrics(&records[0])),
            logs => {
                let count = logs.unwrap_or(records.len());
                (count, self.send_logs(&records[..count]))
            }
        };
        match answer {
            Ok(Answer { rejected, message }) => {
                // A summary is one record, however many of its data points were rejected.
                let rejected = usize::try_from(rejected).unwrap_or(0).min(count);
                Delivered {
                    written: count - rejected,
                    failed: rejected,
                    refusal: (rejected > 0).then_some(message),
                    unavailable: None,
                }
            }
            Err(Failure::Refused(reason)) => Delivered {
                failed: count,
                refusal: Some(reason),
                ..Delivered::default()
            },
            Err(Failure::Unavailable(unavailable)) => Delivered {
                unavailable: Some(unavailable),
                ..Delivered::default()
            },
            Err(Failure::Broken(reason)) => Delivered {
                unavailable: Some(reason.into()),
                ..Delivered::default()
            },
        }
    }

    /// Reads the certificates of the trusted authorities again.
    fn reopen(&mut self) -> Result<(), DestinationError> {
        self.client = Client::new(&self.config, &self.runtime)?;
        Ok(())
    }

    fn batch_delay(&self) -> Duration {
        BATCH_DELAY
    }
}
