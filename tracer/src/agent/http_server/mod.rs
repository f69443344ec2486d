//! The HTTP endpoint: /metrics and /healthz. It runs in a thread of its own and requests a snapshot
//! from the event loop, so that a slow client never stops the loop, and each answer proves that the
//! loop is alive.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::fmt::Display;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::runtime;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::task::{AbortHandle, spawn_blocking};
use tokio::time::timeout;

use super::{config, serving};
use crate::metrics::MetricsSnapshot;
use crate::output::prometheus::{self, Exporter};
use crate::output_status::OutputState;
use tcpclose_sys::host::cgroup::Cgroups;
use tcpclose_sys::host::priority;

/// The loop answers within milliseconds; if it has not by then, it does not run.
const LOOP_TIMEOUT: Duration = Duration::from_secs(2);

/// The largest number of clients at one time. For a further one, the oldest connection without a
/// request is closed.
const MAX_CLIENTS: usize = 16;

/// How long a client may take for its request. Tests on a busy machine need the large difference to
/// what is done at once.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(if cfg!(test) { 60 } else { 2 });

/// How long a client may take to read its answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

const TEXT_PLAIN: &str = "text/plain; charset=utf-8";

/// A request for a snapshot.
pub type Scrape = oneshot::Sender<Arc<MetricsSnapshot>>;

/// The running server. Dropping it stops it.
#[derive(Debug)]
pub struct HttpServer {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    ended: oneshot::Receiver<()>,
}

struct RequestHandler {
    scrapes: mpsc::Sender<Scrape>,
    exporter: Arc<Mutex<Exporter>>,
}

impl HttpServer {
    /// Listens, and answers in a thread of its own. It requests snapshots on `scrapes`.
    ///
    /// # Errors
    /// The address cannot be listened on, because another agent does, for example.
    pub fn start(
        config: &config::PrometheusConfig,
        scrapes: mpsc::Sender<Scrape>,
    ) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(config.listen)
            .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
            .map_err(|error| cannot_listen(config.listen, &error))?;
        let address = listener.local_addr()?;
        let exporter = Exporter::new(config.max_series.get(), Box::new(Cgroups::new()));
        let server = Arc::new(RequestHandler {
            scrapes,
            exporter: Arc::new(Mutex::new(exporter)),
        });
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("starting the HTTP endpoint failed")?;
        let (stop, stopped) = oneshot::channel();
        let (end, ended) = oneshot::channel();
        let serve = move || {
            let serving = serve(listener, server);
            serving::run(runtime, serving, stopped, "the HTTP endpoint has ended");
            // The address is free by now, even after a panic.
            drop(end);
        };
        priority::spawn("http", serve)
            .context("the thread of the HTTP endpoint could not be started")?;
        Ok(Self {
            address,
            stop,
            ended,
        })
    }

    /// Stops the server, and completes when its address is free.
    pub async fn stop(self) {
        drop(self.stop);
        // Nothing is ever sent: this waits for the sender's end.
        let _ = self.ended.await;
    }

    /// Returns the address on which the server listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

fn cannot_listen(address: SocketAddr, error: &io::Error) -> anyhow::Error {
    let hint = match error.kind() {
        io::ErrorKind::AddrInUse => " (is another tcpclose agent running?)",
        _ => "",
    };
    anyhow::anyhow!("prometheus cannot listen on {address}{hint}: {error}")
}

async fn serve(listener: TcpListener, server: Arc<RequestHandler>) -> io::Error {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return error,
    };
    let mut clients = Clients::default();
    loop {
        let stream = serving::accept(async || listener.accept().await).await;
        let server = Arc::clone(&server);
        let has_request = Arc::new(AtomicBool::new(false));
        let requested = Arc::clone(&has_request);
        let serving = async move {
            let answer = service_fn(|request| {
                requested.store(true, Ordering::Relaxed);
                let server = Arc::clone(&server);
                async move { Ok::<_, Infallible>(server.answer(&request).await) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(REQUEST_TIMEOUT)
                .keep_alive(false)
                .serve_connection(TokioIo::new(stream), answer);
            // Errors of clients need no report.
            let _ = timeout(ANSWER_TIMEOUT + LOOP_TIMEOUT, connection).await;
        };
        clients.make_room();
        clients.0.push_back(HttpClient {
            connection: tokio::spawn(serving).abort_handle(),
            has_request,
        });
    }
}

/// The connected clients, the oldest first.
#[derive(Default)]
struct Clients(VecDeque<HttpClient>);

struct HttpClient {
    connection: AbortHandle,
    has_request: Arc<AtomicBool>,
}

impl Clients {
    /// Makes room for one more client. Clients without a request go first.
    fn make_room(&mut self) {
        self.0.retain(|client| !client.connection.is_finished());
        while self.0.len() >= MAX_CLIENTS {
            let is_idle = |client: &HttpClient| !client.has_request.load(Ordering::Relaxed);
            let idle = self.0.iter().position(is_idle).unwrap_or(0);
            if let Some(client) = self.0.remove(idle) {
                client.connection.abort();
            }
        }
    }
}

impl RequestHandler {
    async fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut refused = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n".into());
            let allowed = hyper::header::HeaderValue::from_static("GET, HEAD");
            refused.headers_mut().insert(ALLOW, allowed);
            return refused;
        }
        match request.uri().path() {
            "/metrics" => self.metrics().await,
            "/healthz" => self.health().await,
            _ => text(
                StatusCode::NOT_FOUND,
                "there are /metrics and /healthz\n".into(),
            ),
        }
    }

    async fn metrics(&self) -> Response<Full<Bytes>> {
        let snapshot = match self.snapshot().await {
            Ok(snapshot) => snapshot,
            Err(reason) => return text(StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
        };
        // The names of containers are in files, for which /healthz must not wait.
        let exporter = Arc::clone(&self.exporter);
        let encode = move || exporter.blocking_lock().encode(&snapshot);
        let failed =
            |error: &dyn Display| text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n"));
        match spawn_blocking(encode).await {
            Ok(Ok(metrics)) => typed(StatusCode::OK, prometheus::CONTENT_TYPE, metrics),
            Ok(Err(error)) => failed(&error),
            Err(panic) => failed(&panic),
        }
    }

    /// Lists outputs that are down, but they are no reason to restart the agent. A thread that has
    /// panicked and could not be restarted is one.
    async fn health(&self) -> Response<Full<Bytes>> {
        let snapshot = match self.snapshot().await {
            Ok(snapshot) => snapshot,
            Err(reason) => return text(StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
        };
        let (status, mut body) = match &*snapshot.failed_threads {
            [] => (StatusCode::OK, "ok\n".to_owned()),
            failed => (
                StatusCode::SERVICE_UNAVAILABLE,
                format!("threads that have panicked: {}\n", failed.join(", ")),
            ),
        };
        for output in &snapshot.outputs {
            if let OutputState::Down { reason, .. } = &output.state {
                body.push_str(&format!("output {} is down: {reason}\n", output.name));
            }
        }
        text(status, body)
    }

    async fn snapshot(&self) -> Result<Arc<MetricsSnapshot>, &'static str> {
        let (request, answer) = oneshot::channel();
        match timeout(LOOP_TIMEOUT, async {
            self.scrapes.send(request).await.ok()?;
            answer.await.ok()
        })
        .await
        {
            Ok(Some(snapshot)) => Ok(snapshot),
            Ok(None) => Err("the tracer has ended"),
            Err(_) => Err("the tracer's event loop has not answered within 2 s"),
        }
    }
}

fn text(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    typed(status, TEXT_PLAIN, body)
}

fn typed(status: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let kind = hyper::header::HeaderValue::from_static(kind);
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}
