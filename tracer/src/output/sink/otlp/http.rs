//! Requests over HTTP, which POST protobuf messages.

use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER, USER_AGENT};
use hyper::{Request, StatusCode, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsServiceRequest, ExportLogsServiceResponse,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use prost::Message;

use crate::error_chain::error_chain;
use crate::output::sink::config::OtlpConfig;
use crate::output::sink::transport::Unavailable;

use super::answer::{Answer, Failure, printable};
use super::request::{self, MAX_RESPONSE_LEN, REQUEST_TIMEOUT};
use super::tls::{self, Connector};

/// A client that sends over HTTP.
pub(super) struct Http {
    client: Client<Connector, Full<Bytes>>,
    logs: Uri,
    metrics: Uri,
    headers: HeaderMap,
}

impl Http {
    pub(super) fn new(config: &OtlpConfig, connector: Connector) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/x-protobuf"),
        );
        headers.insert(USER_AGENT, HeaderValue::from_static(request::USER_AGENT));
        headers.extend(config.headers.map().clone());
        Self {
            client: Client::builder(TokioExecutor::new()).build(connector),
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
        let mut request = Request::post(uri.clone());
        request
            .headers_mut()
            .expect("the request is valid")
            .extend(self.headers.clone());
        let request = request
            .body(Full::from(message.encode_to_vec()))
            .expect("the request is valid");
        let answered = async {
            let response = self.client.request(request).await;
            let response = response.map_err(|error| match error.is_connect() {
                true => Failure::Unavailable(failure_text(&error).into()),
                false => Failure::Broken(failure_text(&error)),
            })?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, MAX_RESPONSE_LEN).collect().await;
            let body = body.map_err(|error| {
                Failure::Unavailable(format!("reading the answer failed: {error}").into())
            })?;
            Ok((head, body.to_bytes()))
        };
        let answered = tokio::time::timeout(REQUEST_TIMEOUT, answered).await;
        let (head, body) = answered.unwrap_or_else(|_| {
            let seconds = REQUEST_TIMEOUT.as_secs();
            Err(Failure::Unavailable(
                format!("no answer within {seconds} s").into(),
            ))
        })?;
        if head.status.is_success() {
            return A::decode(body)
                .map_err(|error| Failure::Refused(format!("its answer is not OTLP: {error}")));
        }
        let reason = match printable(&String::from_utf8_lossy(&body)) {
            text if text.is_empty() => format!("the receiver answered {}", head.status),
            text => format!("the receiver answered {}: {text}", head.status),
        };
        Err(match head.status {
            StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => Failure::Unavailable(Unavailable {
                reason,
                retry_after: retry_after(&head.headers),
            }),
            _ => Failure::Refused(reason),
        })
    }
}

/// Returns how long the receiver wants to be left alone. Dates, which receivers do not use here,
/// are ignored.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// Returns an error's message with those of its causes. An error of TLS is explained instead.
pub(super) fn failure_text(error: &(dyn std::error::Error + 'static)) -> String {
    tls::explain(error).unwrap_or_else(|| error_chain(error))
}
