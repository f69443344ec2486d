//! The client of outputs that send over HTTP: connections with or without TLS, headers, and what
//! becomes of a request.

mod failure;
pub(super) mod header_files;
pub(super) mod tls;

use std::cell::Cell;
use std::path::Path;
use std::time::{Duration, Instant};

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::header::{HeaderMap, RETRY_AFTER};
use hyper::{Request, StatusCode, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tokio::runtime::{self, Runtime};

use super::config::RequestHeaders;
use super::destination_error::DestinationError;

pub(super) use self::failure::{Failure, failure_text, printable};
pub(super) use self::tls::Connector;

/// The name and version of the sender in each request.
pub(super) const USER_AGENT: &str = concat!("tcpclose/", env!("CARGO_PKG_VERSION"));

/// The largest answer that is read. It has a few numbers and a sentence.
pub(super) const MAX_RESPONSE_LEN: usize = 64 * 1024;

/// Returns an event loop for an output's own thread. It runs only while a request is being sent.
///
/// # Errors
/// The operating system refuses it.
pub(super) fn event_loop() -> Result<Runtime, DestinationError> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| DestinationError::Failed {
        operation: "starting its event loop",
        error,
    })
}

/// Checks that the files that a client needs can be used.
///
/// # Errors
/// A file cannot be read, or has not what it is for.
pub(super) fn check(
    ca_file: Option<&Path>,
    headers: &RequestHeaders,
) -> Result<(), DestinationError> {
    tls::check(ca_file)?;
    header_files::read_headers(headers).map(drop)
}

/// After this time without a request, the receiver may have closed the connection.
const MIN_IDLE: Duration = Duration::from_millis(10);

/// Enough for the event loop to notice a connection that the receiver has closed.
const NOTICE_DELAY: Duration = Duration::from_millis(1);

/// Posts bodies.
pub(super) struct HttpClient {
    client: Client<Connector, Full<Bytes>>,
    last_answer: Cell<Instant>,
}

/// The head of an answer, and its body as far as it was read.
pub(super) struct Response {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Result<Bytes, String>,
}

impl HttpClient {
    pub(super) fn new(connector: Connector) -> Self {
        Self {
            client: Client::builder(TokioExecutor::new()).build(connector),
            last_answer: Cell::new(Instant::now()),
        }
    }

    /// Posts a body, and waits for the answer until `timeout` is over.
    ///
    /// # Errors
    /// There is no answer.
    pub(super) async fn post(
        &self,
        uri: &Uri,
        headers: &HeaderMap,
        body: Bytes,
        timeout: Duration,
    ) -> Result<Response, Failure> {
        let mut request = Request::post(uri.clone())
            .body(Full::from(body))
            .expect("the request is valid");
        request.headers_mut().extend(headers.clone());
        // The event loop stands still between requests. A request over a connection that is closed
        // already would count as one whose answer was lost.
        if self.last_answer.get().elapsed() > MIN_IDLE {
            tokio::time::sleep(NOTICE_DELAY).await;
            tokio::task::yield_now().await;
        }
        let until = tokio::time::Instant::now() + timeout;
        let no_answer = || format!("no answer within {} s", timeout.as_secs_f32());
        let response = tokio::time::timeout_at(until, self.client.request(request)).await;
        let response = response.map_err(|_| Failure::Unanswered(no_answer().into()))?;
        let response = response.map_err(|error| match error.is_connect() {
            true => Failure::Unavailable(failure_text(&error).into()),
            false => Failure::Broken(failure_text(&error)),
        })?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, MAX_RESPONSE_LEN).collect();
        let body = match tokio::time::timeout_at(until, body).await {
            Ok(Ok(body)) => Ok(body.to_bytes()),
            Ok(Err(error)) => Err(format!("reading the answer failed: {error}")),
            Err(_) => Err(no_answer()),
        };
        self.last_answer.set(Instant::now());
        Ok(Response {
            status: head.status,
            headers: head.headers,
            body,
        })
    }
}

impl Response {
    /// Describes an answer that is no success, with the receiver's own words in printable form.
    pub(super) fn reason(&self) -> String {
        let body = self.body.as_deref().unwrap_or_default();
        match printable(String::from_utf8_lossy(body).trim()) {
            text if text.is_empty() => format!("the receiver answered {}", self.status),
            text => format!("the receiver answered {}: {text}", self.status),
        }
    }

    /// Returns how long the receiver wants to be left alone. Dates, which receivers do not use
    /// here, are ignored.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        let seconds = self.headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
        Some(Duration::from_secs(seconds))
    }
}
