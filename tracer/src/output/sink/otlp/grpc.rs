//! Requests over gRPC.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_client::LogsServiceClient;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_client::MetricsServiceClient;
use tonic::metadata::MetadataMap;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt as _;

use hyper::HeaderMap;

use crate::output::sink::config::OtlpConfig;
use crate::output::sink::http_client::{
    Connector, Failure, MAX_RESPONSE_LEN, USER_AGENT, failure_text, printable,
};
use crate::output::sink::transport::Unavailable;

use super::answer::Answer;
use super::request::REQUEST_TIMEOUT;

/// A client that sends over gRPC.
pub(super) struct Grpc {
    logs: LogsServiceClient<Channel>,
    metrics: MetricsServiceClient<Channel>,
    headers: MetadataMap,
}

impl Grpc {
    pub(super) fn new(config: &OtlpConfig, connector: Connector, headers: HeaderMap) -> Self {
        let endpoint = Channel::builder(config.endpoint.base().clone());
        let endpoint = endpoint
            .user_agent(USER_AGENT)
            .expect("the user agent is ASCII");
        let channel = endpoint
            // A status and its message come in headers.
            .http2_max_header_list_size(MAX_RESPONSE_LEN as u32)
            .connect_timeout(REQUEST_TIMEOUT)
            .connect_with_connector_lazy(connector);
        Self {
            logs: LogsServiceClient::new(channel.clone())
                .max_decoding_message_size(MAX_RESPONSE_LEN),
            metrics: MetricsServiceClient::new(channel).max_decoding_message_size(MAX_RESPONSE_LEN),
            headers: MetadataMap::from_headers(headers),
        }
    }

    pub(super) async fn logs(
        &mut self,
        request: &ExportLogsServiceRequest,
    ) -> Result<Answer, Failure> {
        let request = self.request(request.clone());
        let answer = self.logs.export(request).await.map_err(failure)?;
        Ok(Answer::from_logs(answer.into_inner().partial_success))
    }

    pub(super) async fn metrics(
        &mut self,
        request: &ExportMetricsServiceRequest,
    ) -> Result<Answer, Failure> {
        let request = self.request(request.clone());
        let answer = self.metrics.export(request).await.map_err(failure)?;
        Ok(Answer::from_metrics(answer.into_inner().partial_success))
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        *request.metadata_mut() = self.headers.clone();
        request.set_timeout(REQUEST_TIMEOUT);
        request
    }
}

/// Decides by OTLP's rules whether a request may be retried. A receiver whose resources are
/// exhausted must say when.
fn failure(status: Status) -> Failure {
    let retry_after = status
        .get_details_retry_info()
        .and_then(|info| info.retry_delay);
    let (code, message) = (status.code(), printable(status.message()));
    // A status with a cause was made on this side: the receiver did not answer.
    let source = std::error::Error::source(&status);
    let timed_out = matches!(code, Code::Cancelled | Code::DeadlineExceeded);
    let broken = source.is_some_and(|cause| !timed_out && !is_of_connecting(cause));
    let cause = source.map(failure_text);
    let reason = match &cause {
        Some(cause) => format!("{message}: {cause}"),
        None => format!("the receiver answered {code:?}: {message}"),
    };
    if broken {
        return Failure::Broken(reason);
    }
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
    if !again {
        return Failure::Refused(reason);
    }
    let unavailable = Unavailable {
        reason,
        retry_after,
    };
    match timed_out {
        true => Failure::Unanswered(unavailable),
        false => Failure::Unavailable(unavailable),
    }
}

/// Returns whether the connection could not be established.
fn is_of_connecting(cause: &(dyn std::error::Error + 'static)) -> bool {
    cause.is::<tonic::ConnectError>() || cause.source().is_some_and(is_of_connecting)
}
