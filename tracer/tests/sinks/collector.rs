//! An OTLP receiver, made from the published definitions of the protocol.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_server::{
    LogsService, LogsServiceServer,
};
use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsPartialSuccess, ExportLogsServiceRequest, ExportLogsServiceResponse,
};
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::metrics::v1::Metric;
use prost::Message as _;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

/// How requests come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Http,
    Grpc,
}

pub const BOTH: [Protocol; 2] = [Protocol::Http, Protocol::Grpc];

impl Protocol {
    /// As the configuration names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Http => "http/protobuf",
            Self::Grpc => "grpc",
        }
    }
}

/// What the receiver does with a request.
#[derive(Clone, Copy, Debug)]
pub enum Answer {
    Take,
    /// Takes it, but for so many of its records.
    Reject(i64),
    /// Takes it, and says so in this many bytes.
    Chatter(usize),
    /// Wants it again, after this many seconds.
    Busy(u64),
    /// Wants it never again.
    Refuse,
    /// Gives none for so many seconds.
    Sleep(u64),
}

/// What has come.
#[derive(Default)]
pub struct Got {
    pub logs: Vec<ExportLogsServiceRequest>,
    pub metrics: Vec<ExportMetricsServiceRequest>,
    /// The `authorization` of each request.
    pub tokens: Vec<String>,
    /// When each request came.
    pub at: Vec<Instant>,
    /// What to do with the next requests; after them all are taken.
    pub answers: VecDeque<Answer>,
}

impl Got {
    /// The times between requests.
    pub fn between(&self) -> Vec<Duration> {
        let pairs = self.at.windows(2);
        pairs.map(|pair| pair[1] - pair[0]).collect()
    }

    pub fn log_records(&self) -> Vec<&LogRecord> {
        let resources = self.logs.iter().flat_map(|request| &request.resource_logs);
        let scopes = resources.flat_map(|resource| &resource.scope_logs);
        scopes.flat_map(|scope| &scope.log_records).collect()
    }

    pub fn all_metrics(&self) -> Vec<&Metric> {
        let resources = self.metrics.iter();
        let resources = resources.flat_map(|request| &request.resource_metrics);
        let scopes = resources.flat_map(|resource| &resource.scope_metrics);
        scopes.flat_map(|scope| &scope.metrics).collect()
    }
}

#[derive(Clone, Default)]
struct Shelf(Arc<Mutex<Got>>);

impl Shelf {
    fn lock(&self) -> MutexGuard<'_, Got> {
        self.0.lock().expect("no panic")
    }

    fn next_answer(&self, token: Option<&str>) -> Answer {
        let mut got = self.lock();
        got.at.push(Instant::now());
        got.tokens.push(token.unwrap_or_default().to_owned());
        got.answers.pop_front().unwrap_or(Answer::Take)
    }
}

/// A running receiver. Ends, with its connections, when dropped.
pub struct Collector {
    pub address: SocketAddr,
    shelf: Shelf,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Collector {
    pub fn start(protocol: Protocol) -> Self {
        Self::start_at(protocol, "127.0.0.1:0".parse().expect("an address"))
    }

    /// Starts at an address where another one was.
    pub fn start_at(protocol: Protocol, address: SocketAddr) -> Self {
        let shelf = Shelf::default();
        let theirs = shelf.clone();
        let (end, ended) = oneshot::channel();
        let (tell, reported) = std::sync::mpsc::channel();
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(async {
                let listener = TcpListener::bind(address).await.expect("a free port");
                tell.send(listener.local_addr().expect("an address"))
                    .expect("the test waits");
                match protocol {
                    Protocol::Http => tokio::select! {
                        () = serve_http(listener, theirs) => {}
                        _ = ended => {}
                    },
                    Protocol::Grpc => tokio::select! {
                        () = serve_grpc(listener, theirs) => {}
                        _ = ended => {}
                    },
                }
            });
        });
        Self {
            address: reported.recv().expect("it listens"),
            shelf,
            end: Some(end),
            thread: Some(thread),
        }
    }

    pub fn got(&self) -> MutexGuard<'_, Got> {
        self.shelf.lock()
    }

    pub fn will(&self, answers: impl IntoIterator<Item = Answer>) {
        self.got().answers.extend(answers);
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn serve_http(listener: TcpListener, shelf: Shelf) {
    loop {
        let (stream, _) = listener.accept().await.expect("a connection");
        let shelf = shelf.clone();
        tokio::spawn(async move {
            let answer = service_fn(|request| answer_http(request, shelf.clone()));
            let connection = hyper::server::conn::http1::Builder::new();
            // The client may go whenever it likes.
            let _ = connection
                .serve_connection(TokioIo::new(stream), answer)
                .await;
        });
    }
}

async fn answer_http(
    request: Request<Incoming>,
    shelf: Shelf,
) -> Result<Response<Full<Bytes>>, Infallible> {
    assert_eq!(request.method(), "POST");
    assert_eq!(request.headers()["content-type"], "application/x-protobuf");
    let token = request.headers().get("authorization");
    let token = token
        .and_then(|token| token.to_str().ok())
        .map(str::to_owned);
    let path = request.uri().path().to_owned();
    let body = request
        .into_body()
        .collect()
        .await
        .expect("a body")
        .to_bytes();
    let mut rejected = 0;
    let status = match shelf.next_answer(token.as_deref()) {
        Answer::Take => 200,
        Answer::Reject(count) => {
            rejected = count;
            200
        }
        Answer::Chatter(length) => {
            let answer = taken(1, "\u{1b}".repeat(length)).encode_to_vec();
            return Ok(Response::new(Full::from(answer)));
        }
        Answer::Busy(seconds) => {
            let response = Response::builder()
                .status(503)
                .header("retry-after", seconds);
            return Ok(response.body(Full::default()).expect("a response"));
        }
        Answer::Refuse => 400,
        Answer::Sleep(seconds) => {
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            503
        }
    };
    let mut answer = Vec::new();
    if status == 200 {
        match &*path {
            "/v1/logs" => {
                let request = ExportLogsServiceRequest::decode(body).expect("protobuf");
                shelf.lock().logs.push(request);
                answer = taken(rejected, "too old".to_owned()).encode_to_vec();
            }
            "/v1/metrics" => {
                let request = ExportMetricsServiceRequest::decode(body).expect("protobuf");
                shelf.lock().metrics.push(request);
            }
            path => panic!("nothing is at {path}"),
        }
    } else {
        answer = b"not like this".to_vec();
    }
    let response = Response::builder().status(status).body(answer.into());
    Ok(response.expect("a response"))
}

fn taken(rejected: i64, error_message: String) -> ExportLogsServiceResponse {
    ExportLogsServiceResponse {
        partial_success: (rejected > 0).then_some(ExportLogsPartialSuccess {
            rejected_log_records: rejected,
            error_message,
        }),
    }
}

async fn serve_grpc(listener: TcpListener, shelf: Shelf) {
    tonic::transport::Server::builder()
        // As collectors in use have it, whose windows grow by themselves.
        .initial_stream_window_size(4 << 20)
        .initial_connection_window_size(4 << 20)
        .add_service(LogsServiceServer::new(shelf.clone()))
        .add_service(MetricsServiceServer::new(shelf))
        .serve_with_incoming(tonic::transport::server::TcpIncoming::from(listener))
        .await
        .expect("a server");
}

impl Shelf {
    /// How many are rejected and why, or the error.
    async fn answer_grpc<T>(&self, request: &tonic::Request<T>) -> Result<(i64, String), Status> {
        let token = request.metadata().get("authorization");
        match self.next_answer(token.and_then(|token| token.to_str().ok())) {
            Answer::Take => Ok((0, String::new())),
            Answer::Reject(count) => Ok((count, "too old".to_owned())),
            Answer::Chatter(length) => Ok((1, "\u{1b}".repeat(length))),
            Answer::Busy(seconds) => {
                let details = ErrorDetails::with_retry_info(Some(Duration::from_secs(seconds)));
                Err(Status::with_error_details(
                    Code::ResourceExhausted,
                    "",
                    details,
                ))
            }
            Answer::Refuse => Err(Status::invalid_argument("not like this")),
            Answer::Sleep(seconds) => {
                tokio::time::sleep(Duration::from_secs(seconds)).await;
                Err(Status::unavailable(""))
            }
        }
    }
}

#[tonic::async_trait]
impl LogsService for Shelf {
    async fn export(
        &self,
        request: tonic::Request<ExportLogsServiceRequest>,
    ) -> Result<tonic::Response<ExportLogsServiceResponse>, Status> {
        let (rejected, why) = self.answer_grpc(&request).await?;
        self.lock().logs.push(request.into_inner());
        Ok(tonic::Response::new(taken(rejected, why)))
    }
}

#[tonic::async_trait]
impl MetricsService for Shelf {
    async fn export(
        &self,
        request: tonic::Request<ExportMetricsServiceRequest>,
    ) -> Result<tonic::Response<ExportMetricsServiceResponse>, Status> {
        self.answer_grpc(&request).await?;
        self.lock().metrics.push(request.into_inner());
        Ok(tonic::Response::new(ExportMetricsServiceResponse::default()))
    }
}
