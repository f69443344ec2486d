//! Requests over gRPC.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_client::LogsServiceClient;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_client::MetricsServiceClient;
use tonic::metadata::{AsciiMetadataKey, AsciiMetadataValue, MetadataMap};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use tonic_types::StatusExt as _;

use crate::output::sink::config::OtlpConfig;
use crate::output::sink::delivery::Down;

use super::http::chain;
use super::{Answer, Failure, REQUEST_TIME};

/// See the module.
pub(super) struct Grpc {
    logs: LogsServiceClient<Channel>,
    metrics: MetricsServiceClient<Channel>,
    headers: MetadataMap,
}

impl Grpc {
    pub(super) fn new(config: &OtlpConfig) -> Result<Self, String> {
        let endpoint = Endpoint::from_shared(config.endpoint.clone())
            .and_then(|endpoint| {
                endpoint.user_agent(concat!("tcpclose/", env!("CARGO_PKG_VERSION")))
            })
            .map_err(|error| format!("`{}` is no address: {}", config.endpoint, chain(&error)))?;
        let channel = endpoint.connect_timeout(REQUEST_TIME).connect_lazy();
        let mut headers = MetadataMap::new();
        for (name, value) in &config.headers {
            let wrong = |error: &dyn std::fmt::Display| format!("header `{name}`: {error}");
            let key: AsciiMetadataKey = name.parse().map_err(|error| wrong(&error))?;
            let value: AsciiMetadataValue = value.parse().map_err(|error| wrong(&error))?;
            headers.insert(key, value);
        }
        Ok(Self {
            logs: LogsServiceClient::new(channel.clone()),
            metrics: MetricsServiceClient::new(channel),
            headers,
        })
    }

    pub(super) async fn logs(
        &mut self,
        request: &ExportLogsServiceRequest,
    ) -> Result<Answer, Failure> {
        let request = self.request(request.clone());
        let answer = self.logs.export(request).await.map_err(failure)?;
        let partial = answer.into_inner().partial_success.unwrap_or_default();
        Ok(Answer {
            rejected: partial.rejected_log_records,
            message: partial.error_message,
        })
    }

    pub(super) async fn metrics(
        &mut self,
        request: &ExportMetricsServiceRequest,
    ) -> Result<Answer, Failure> {
        let request = self.request(request.clone());
        let answer = self.metrics.export(request).await.map_err(failure)?;
        let partial = answer.into_inner().partial_success.unwrap_or_default();
        Ok(Answer {
            rejected: partial.rejected_data_points,
            message: partial.error_message,
        })
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        *request.metadata_mut() = self.headers.clone();
        request.set_timeout(REQUEST_TIME);
        request
    }
}

/// Which codes may be tried again is OTLP's rule; an exhausted receiver must say when.
fn failure(status: Status) -> Failure {
    let retry_after = status
        .get_details_retry_info()
        .and_then(|info| info.retry_delay);
    let (code, message) = (status.code(), status.message().escape_debug());
    // A status that has a cause is of this side's making: the receiver never gave one.
    let cause = std::error::Error::source(&status).map(chain);
    let reason = match &cause {
        Some(cause) => format!("{message}: {cause}"),
        None => format!("the receiver answered {code:?}: {message}"),
    };
    let again = match code {
        Code::Cancelled
        | Code::DeadlineExceeded
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unavailable
        | Code::DataLoss => true,
        Code::ResourceExhausted => retry_after.is_some(),
        _ => cause.is_some(),
    };
    if again {
        Failure::Down(Down {
            reason,
            retry_after,
        })
    } else {
        Failure::Refused(reason)
    }
}
