//! Batches of JSON lines, posted over HTTP.
//!
//! A batch whose answer was lost is sent again as the same bytes, so that a receiver which
//! recognizes what it has (ClickHouse's deduplication of inserted blocks) does not store it twice.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use flate2::write::GzEncoder;
use hyper::StatusCode;
use hyper::body::Bytes;
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue, USER_AGENT};
use tokio::runtime::Runtime;

use crate::record::Record;

use super::config::{Compression, HttpConfig};
use super::destination_error::DestinationError;
use super::http_client::header_files::read_headers;
use super::http_client::tls::{self, HttpVersion};
use super::http_client::{self, Failure, HttpClient, Response};
use super::render::RenderContext;
use super::transport::{Delivered, Transport, Unavailable};

/// The largest body before its compression. A batch that reaches it ends there.
const MAX_BODY_LEN: usize = 16 << 20;

/// The transport of an output of type `http`.
pub(super) struct Http {
    /// Runs only while a request is being sent.
    runtime: Runtime,
    config: HttpConfig,
    client: HttpClient,
    headers: HeaderMap,
    context: RenderContext,
    /// The largest number of records in a batch: less than configured after the receiver has found
    /// one too large.
    max_batch: usize,
    /// The batch that waits for another attempt: the next records of the queue.
    unsent: Option<Batch>,
}

/// The body of a request, and the records that are in it.
struct Batch {
    records: Vec<Arc<Record>>,
    body: Bytes,
}

impl Batch {
    /// Returns whether it has the first of these records. A new filter may have taken some of them
    /// out of the queue.
    fn is_front_of(&self, records: &[Arc<Record>]) -> bool {
        self.records.len() <= records.len()
            && self
                .records
                .iter()
                .zip(records)
                .all(|(sent, next)| Arc::ptr_eq(sent, next))
    }
}

impl Http {
    /// Prepares a client; the first request connects it.
    ///
    /// # Errors
    /// Certificates or headers cannot be read.
    pub(super) fn new(
        config: &HttpConfig,
        context: RenderContext,
    ) -> Result<Self, DestinationError> {
        let (client, headers) = client(config)?;
        Ok(Self {
            client,
            headers,
            // The last that can fail: dropping a runtime panics if the caller is a task.
            runtime: http_client::event_loop()?,
            config: config.clone(),
            context,
            max_batch: config.batch.0.get(),
            unsent: None,
        })
    }

    /// Renders the first records, as many as a body may have.
    fn render(&mut self, records: &[Arc<Record>]) -> Batch {
        self.context.clock.refresh();
        let mut lines = Vec::new();
        let mut count = 0;
        for record in records.iter().take(self.max_batch) {
            self.context.write_line(&mut lines, record);
            count += 1;
            if lines.len() >= MAX_BODY_LEN {
                break;
            }
        }
        Batch {
            records: records[..count].to_vec(),
            body: match self.config.compression {
                Compression::Gzip => gzip(&lines).into(),
                Compression::None => lines.into(),
            },
        }
    }

    /// Sends a batch. An idle connection may have been closed meanwhile, so a broken one is made
    /// anew once. Also returns whether an answer was lost.
    fn post(&self, batch: &Batch) -> (Result<Response, Failure>, bool) {
        let HttpConfig { url, timeout, .. } = &self.config;
        let post = || {
            let body = batch.body.clone();
            self.client.post(url.uri(), &self.headers, body, timeout.0)
        };
        self.runtime.block_on(async {
            let mut response = post().await;
            let mut is_uncertain = false;
            if let Err(Failure::Broken(_)) = response {
                is_uncertain = true;
                response = post().await;
            }
            is_uncertain |= matches!(response, Err(Failure::Broken(_) | Failure::Unanswered(_)));
            (response, is_uncertain)
        })
    }
}

/// What an answer means for its batch.
enum Verdict {
    Accepted,
    /// Fewer records may be accepted.
    TooLarge(String),
    Refused(String),
    Unavailable(Unavailable),
}

impl Verdict {
    fn new(response: Result<Response, Failure>) -> Self {
        let response = match response {
            Ok(response) => response,
            Err(Failure::Refused(reason)) => return Self::Refused(reason),
            Err(Failure::Broken(reason)) => return Self::Unavailable(reason.into()),
            Err(Failure::Unavailable(why) | Failure::Unanswered(why)) => {
                return Self::Unavailable(why);
            }
        };
        match response.status {
            status if status.is_success() => Self::Accepted,
            StatusCode::PAYLOAD_TOO_LARGE => Self::TooLarge(response.reason()),
            status
                if status.is_server_error()
                    || status == StatusCode::REQUEST_TIMEOUT
                    || status == StatusCode::TOO_EARLY
                    || status == StatusCode::TOO_MANY_REQUESTS =>
            {
                Self::Unavailable(Unavailable {
                    reason: response.reason(),
                    retry_after: response.retry_after(),
                })
            }
            _ => Self::Refused(response.reason()),
        }
    }
}

impl Transport for Http {
    fn deliver(&mut self, records: &[Arc<Record>]) -> Delivered {
        let mut uncertain = 0;
        loop {
            let unsent = self.unsent.take();
            let batch = unsent.filter(|batch| batch.is_front_of(records));
            let batch = batch.unwrap_or_else(|| self.render(records));
            let count = batch.records.len();
            let (response, is_uncertain) = self.post(&batch);
            if is_uncertain {
                uncertain = uncertain.max(count);
            }
            return match Verdict::new(response) {
                Verdict::TooLarge(_) if count > 1 => {
                    self.max_batch = count / 2;
                    continue;
                }
                Verdict::Accepted => Delivered {
                    written: count,
                    uncertain,
                    ..Delivered::default()
                },
                Verdict::TooLarge(reason) | Verdict::Refused(reason) => Delivered {
                    failed: count,
                    refusal: Some(reason),
                    uncertain,
                    ..Delivered::default()
                },
                Verdict::Unavailable(unavailable) => {
                    self.unsent = Some(batch);
                    Delivered {
                        uncertain,
                        unavailable: Some(unavailable),
                        ..Delivered::default()
                    }
                }
            };
        }
    }

    /// Reads the certificates of the trusted authorities and the files with headers again.
    fn reopen(&mut self) -> Result<(), DestinationError> {
        (self.client, self.headers) = client(&self.config)?;
        // The receiver may take larger bodies now.
        self.max_batch = self.config.batch.0.get();
        Ok(())
    }

    fn max_batch(&self) -> usize {
        self.config.batch.0.get()
    }

    fn batch_delay(&self) -> Duration {
        self.config.batch_delay.0
    }
}

/// Makes a client, and the headers of its requests.
fn client(config: &HttpConfig) -> Result<(HttpClient, HeaderMap), DestinationError> {
    let ca_file = config.ca_file.as_deref();
    let connector = tls::connector(config.url.uri(), ca_file, HttpVersion::Http1)?;
    let mut headers = HeaderMap::new();
    let agent = HeaderValue::from_static(http_client::USER_AGENT);
    headers.insert(USER_AGENT, agent);
    let lines = HeaderValue::from_static("application/x-ndjson");
    headers.insert(CONTENT_TYPE, lines);
    headers.extend(read_headers(&config.headers)?);
    if config.compression == Compression::Gzip {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    Ok((HttpClient::new(connector), headers))
}

/// Compresses with the fastest level, which leaves a tenth of JSON lines; others leave little less.
fn gzip(lines: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let written = encoder.write_all(lines).and_then(|()| encoder.finish());
    written.expect("writing to memory cannot fail")
}
