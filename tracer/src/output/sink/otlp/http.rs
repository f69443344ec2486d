//! Requests over HTTP, which POST protobuf messages.

use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue, USER_AGENT};
use hyper::{StatusCode, Uri};
use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsServiceRequest, ExportLogsServiceResponse,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use prost::Message;

use crate::output::sink::config::OtlpConfig;
use crate::output::sink::http_client::{self, Connector, Failure, HttpClient};
use crate::output::sink::transport::Unavailable;

use super::answer::Answer;
use super::request::REQUEST_TIMEOUT;

/// A client that sends over HTTP.
pub(super) struct Http {
    client: HttpClient,
    logs: Uri,
    metrics: Uri,
    headers: HeaderMap,
}

impl Http {
    pub(super) fn new(config: &OtlpConfig, connector: Connector, more: HeaderMap) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/x-protobuf"),
        );
        headers.insert(
            USER_AGENT,
            HeaderValue::from_static(http_client::USER_AGENT),
        );
        headers.extend(more);
        Self {
            client: HttpClient::new(connector),
            logs: config.endpoint.logs().clone(),
            metrics: config.endpoint.metrics().clone(),
            headers,
        }
    }

    pub(super) async fn logs(
        &mut self,
        request: &ExportLogsServiceRequest,
    ) -> Result<Answer, Failure> {
        let answer: ExportLogsServiceResponse = self.post(&self.logs, request).await?;
        Ok(Answer::from_logs(answer.partial_success))
    }

    pub(super) async fn metrics(
        &mut self,
        request: &ExportMetricsServiceRequest,
    ) -> Result<Answer, Failure> {
        let answer: ExportMetricsServiceResponse = self.post(&self.metrics, request).await?;
        Ok(Answer::from_metrics(answer.partial_success))
    }

    async fn post<A: Message + Default>(
        &self,
        uri: &Uri,
        message: &impl Message,
    ) -> Result<A, Failure> {
        let body = message.encode_to_vec().into();
        let response = self
            .client
            .post(uri, &self.headers, body, REQUEST_TIMEOUT)
            .await?;
        if response.status.is_success() {
            let body = response
                .body
                .map_err(|error| Failure::Unanswered(error.into()))?;
            return A::decode(body)
                .map_err(|error| Failure::Refused(format!("its answer is not OTLP: {error}")));
        }
        Err(match response.status {
            StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => Failure::Unavailable(Unavailable {
                reason: response.reason(),
                retry_after: response.retry_after(),
            }),
            _ => Failure::Refused(response.reason()),
        })
    }
}
