//! The HTTP endpoint: /metrics and /healthz. It has a thread of its own and asks the event loop for a snapshot, so a slow
//! client never stops the loop, and the answer proves that the loop is alive.

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::{Mutex, Semaphore, mpsc, oneshot};
use tokio::time::timeout;

use super::config;
use crate::output::prometheus::{self, Exporter, Snapshot};

/// The loop answers within milliseconds; if it does not by then, it stands still.
const PATIENCE: Duration = Duration::from_secs(2);

/// Clients at one time; more wait.
const CLIENTS: usize = 16;

/// A client that sends no request, or does not read its answer, is in the way of others for no longer.
const CLIENT_PATIENCE: Duration = Duration::from_secs(10);

const TEXT: &str = "text/plain; charset=utf-8";

/// A wish for a snapshot.
pub type Scrape = oneshot::Sender<Arc<Snapshot>>;

/// The running endpoint. It stops when this is dropped.
#[derive(Debug)]
pub struct Endpoint {
    address: SocketAddr,
    _stop: oneshot::Sender<()>,
}

struct Server {
    scrapes: mpsc::Sender<Scrape>,
    exporter: Mutex<Exporter>,
}

impl Endpoint {
    /// Listens, and answers from a thread of its own. Snapshots are asked for on `scrapes`.
    ///
    /// # Errors
    /// The address cannot be listened on: another agent does, for example.
    pub fn start(
        config: &config::Prometheus,
        scrapes: mpsc::Sender<Scrape>,
    ) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(config.listen)
            .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
            .with_context(|| match_in_use(config.listen))?;
        let address = listener.local_addr()?;
        let server = Arc::new(Server {
            scrapes,
            exporter: Mutex::new(Exporter::new(config.max_series.get())),
        });
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("starting the HTTP endpoint failed")?;
        let (stop, stopped) = oneshot::channel();
        thread::Builder::new()
            .name("http".to_owned())
            .spawn(move || {
                let serving = async {
                    tokio::select! {
                        error = serve(listener, server) => {
                            eprintln!("tcpclose: the HTTP endpoint has ended: {error}");
                        }
                        _ = stopped => {}
                    }
                };
                runtime.block_on(serving);
            })
            .context("the thread of the HTTP endpoint could not be started")?;
        Ok(Self {
            address,
            _stop: stop,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

fn match_in_use(address: SocketAddr) -> String {
    format!("prometheus cannot listen on {address} (is another tcpclose agent running?)")
}

async fn serve(listener: TcpListener, server: Arc<Server>) -> io::Error {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return error,
    };
    let clients = Arc::new(Semaphore::new(CLIENTS));
    loop {
        let Ok(place) = Arc::clone(&clients).acquire_owned().await else {
            return io::ErrorKind::Other.into();
        };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            // A client that is gone already, or no descriptors are left: neither lasts.
            Err(_) => {
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let server = Arc::clone(&server);
        tokio::spawn(async move {
            let answer = service_fn(|request| {
                let server = Arc::clone(&server);
                async move { Ok::<_, Infallible>(server.answer(&request).await) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(CLIENT_PATIENCE)
                .keep_alive(false)
                .serve_connection(TokioIo::new(stream), answer);
            // What a client does wrong is its own affair.
            let _ = timeout(CLIENT_PATIENCE + PATIENCE, connection).await;
            drop(place);
        });
    }
}

impl Server {
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
            Err(why) => return text(StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
        };
        match self.exporter.lock().await.encode(&snapshot) {
            Ok(metrics) => typed(StatusCode::OK, prometheus::CONTENT_TYPE, metrics),
            Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
        }
    }

    /// An output that does not work is said, but no reason to start the agent anew.
    async fn health(&self) -> Response<Full<Bytes>> {
        let snapshot = match self.snapshot().await {
            Ok(snapshot) => snapshot,
            Err(why) => return text(StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
        };
        let mut body = String::from("ok\n");
        for output in &snapshot.outputs {
            if let Some(outage) = &output.outage {
                body.push_str(&format!(
                    "output {} does not work: {outage}\n",
                    output.counts.name
                ));
            }
        }
        text(StatusCode::OK, body)
    }

    async fn snapshot(&self) -> Result<Arc<Snapshot>, &'static str> {
        let (wish, answer) = oneshot::channel();
        match timeout(PATIENCE, async {
            self.scrapes.send(wish).await.ok()?;
            answer.await.ok()
        })
        .await
        {
            Ok(Some(snapshot)) => Ok(snapshot),
            Ok(None) => Err("the tracer is gone"),
            Err(_) => Err("the tracer's event loop stands still: no answer within 2 s"),
        }
    }
}

fn text(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    typed(status, TEXT, body)
}

fn typed(status: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let kind = hyper::header::HeaderValue::from_static(kind);
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{Ipv4Addr, TcpStream};

    use super::*;

    fn start(scrapes: mpsc::Sender<Scrape>) -> Endpoint {
        let config = config::Prometheus {
            listen: (Ipv4Addr::LOCALHOST, 0).into(),
            ..config::Prometheus::default()
        };
        Endpoint::start(&config, scrapes).expect("a port is free")
    }

    fn get(endpoint: &Endpoint, request: &str) -> String {
        let mut stream = TcpStream::connect(endpoint.address()).expect("it listens");
        write!(stream, "{request} HTTP/1.0\r\n\r\n").expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        answer
    }

    #[test]
    fn a_loop_that_stands_still_is_unwell_and_says_why() {
        let (scrapes, wishes) = mpsc::channel(1);
        let endpoint = start(scrapes);
        for path in ["/healthz", "/metrics"] {
            let answer = get(&endpoint, &format!("GET {path}"));
            assert!(answer.starts_with("HTTP/1.0 503 "), "{answer}");
            assert!(answer.contains("event loop stands still"), "{answer}");
        }
        drop(wishes);
        let answer = get(&endpoint, "GET /healthz");
        assert!(answer.contains("the tracer is gone"), "{answer}");
    }

    #[test]
    fn an_output_that_does_not_work_is_said() {
        let (scrapes, mut wishes) = mpsc::channel::<Scrape>(1);
        let endpoint = start(scrapes);
        let answering = thread::spawn(move || {
            let outputs = vec![prometheus::OutputState {
                outage: Some("no space left".to_owned()),
                ..prometheus::OutputState::default()
            }];
            let snapshot = Arc::new(Snapshot {
                outputs,
                ..Snapshot::default()
            });
            while let Some(wish) = wishes.blocking_recv() {
                let _ = wish.send(snapshot.clone());
            }
        });
        let answer = get(&endpoint, "GET /healthz");
        assert!(answer.starts_with("HTTP/1.0 200 "), "{answer}");
        assert!(answer.contains("does not work: no space left"), "{answer}");
        let answer = get(&endpoint, "POST /metrics");
        assert!(answer.starts_with("HTTP/1.0 405 "), "{answer}");
        drop(endpoint);
        answering
            .join()
            .expect("the channel ends with the endpoint");
    }

    #[test]
    fn a_client_that_says_nothing_keeps_nobody_else_waiting() {
        let (scrapes, mut wishes) = mpsc::channel::<Scrape>(1);
        let endpoint = start(scrapes);
        let silent: Vec<_> = (0..CLIENTS - 1)
            .map(|_| TcpStream::connect(endpoint.address()).expect("it listens"))
            .collect();
        thread::spawn(move || {
            while let Some(wish) = wishes.blocking_recv() {
                let _ = wish.send(Arc::default());
            }
        });
        let answer = get(&endpoint, "GET /metrics");
        assert!(answer.contains("tcpclose_closes_total"), "{answer}");
        drop(silent);
    }
}
