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

use std::sync::Arc;
use std::time::Duration;

use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::resource::v1::Resource;
use tokio::runtime::Runtime;

use crate::record::Record;

use super::config::OtlpConfig;
use super::destination_error::DestinationError;
use super::http_client::{self, Failure};
use super::last_accepted::LastAccepted;
use super::log_record::LogRecord;
use super::render::RenderContext;
use super::transport::{Delivered, Transport};

use self::answer::Answer;
use self::client::Client;
use self::exports::Export;

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
    /// Whether the answer to a request of the current delivery was lost.
    is_uncertain: bool,
}

impl Otlp {
    /// Prepares a client; the first request connects it.
    ///
    /// # Errors
    /// Certificates or headers cannot be read.
    pub(super) fn new(
        config: &OtlpConfig,
        context: RenderContext,
        last_accepted: LastAccepted,
    ) -> Result<Self, DestinationError> {
        let runtime = http_client::event_loop()?;
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
            is_uncertain: false,
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
            runtime,
            client,
            is_uncertain,
            ..
        } = self;
        runtime.block_on(async {
            let mut answer = request(client).await;
            if let Err(Failure::Broken(_)) = answer {
                *is_uncertain = true;
                answer = request(client).await;
            }
            let is_lost = matches!(answer, Err(Failure::Broken(_) | Failure::Unanswered(_)));
            *is_uncertain |= is_lost;
            answer
        })
    }
}

impl Transport for Otlp {
    /// Sends one request: the records up to the next summary, or a summary.
    fn deliver(&mut self, records: &[Arc<Record>]) -> Delivered {
        self.context.clock.refresh();
        self.is_uncertain = false;
        let is_summary = |record: &Arc<Record>| matches!(**record, Record::Summary(_));
        let logs = records.iter().position(is_summary);
        let (count, answer) = match logs {
            Some(0) => (1, self.send_metrics(&records[0])),
            logs => {
                let count = logs.unwrap_or(records.len());
                (count, self.send_logs(&records[..count]))
            }
        };
        let uncertain = if self.is_uncertain { count } else { 0 };
        match answer {
            Ok(Answer { rejected, message }) => {
                // A summary is one record, however many of its data points were rejected.
                let rejected = usize::try_from(rejected).unwrap_or(0).min(count);
                Delivered {
                    written: count - rejected,
                    failed: rejected,
                    refusal: (rejected > 0).then_some(message),
                    uncertain,
                    unavailable: None,
                }
            }
            Err(Failure::Refused(reason)) => Delivered {
                failed: count,
                refusal: Some(reason),
                uncertain,
                ..Delivered::default()
            },
            Err(Failure::Unavailable(unavailable) | Failure::Unanswered(unavailable)) => {
                Delivered {
                    uncertain,
                    unavailable: Some(unavailable),
                    ..Delivered::default()
                }
            }
            Err(Failure::Broken(reason)) => Delivered {
                uncertain,
                unavailable: Some(reason.into()),
                ..Delivered::default()
            },
        }
    }

    /// Reads the certificates of the trusted authorities and the files with headers again.
    fn reopen(&mut self) -> Result<(), DestinationError> {
        self.client = Client::new(&self.config, &self.runtime)?;
        Ok(())
    }

    fn batch_delay(&self) -> Duration {
        BATCH_DELAY
    }
}
