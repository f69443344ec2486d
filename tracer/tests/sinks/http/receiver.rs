//! A receiver of JSON lines over HTTP that follows a script.

use std::collections::VecDeque;
use std::io::{self, Read as _};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use flate2::read::MultiGzDecoder;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::HeaderMap;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::findings::ids;

/// What the receiver does with a request.
#[derive(Clone, Copy, Debug)]
pub enum Answer {
    /// Keeps the records, and answers with this status.
    Keep(u16),
    /// Keeps nothing, and answers with this status and this `Retry-After`.
    Status(u16, Option<u64>),
    /// Keeps the records, and closes the connection instead of an answer.
    KeepAndHangUp,
    /// Closes the connection after a part of the body.
    HangUp,
    /// Keeps the records, and gives no answer for so long.
    KeepAndSleep(Duration),
}

/// What has come.
#[derive(Default)]
pub struct Got {
    /// The lines of the requests that were kept, without compression.
    pub kept: Vec<Vec<u8>>,
    /// The bodies of all requests whose end has come, as they came.
    pub bodies: Vec<Bytes>,
    /// The paths with queries, and the headers, of all requests.
    pub heads: Vec<(String, HeaderMap)>,
    /// What to do with the next requests; after them all are kept.
    pub answers: VecDeque<Answer>,
}

impl Got {
    /// The `conn.id` of each record that was kept.
    pub fn ids(&self) -> Vec<u64> {
        self.kept.iter().flat_map(|lines| ids(lines)).collect()
    }
}

/// A running receiver. Ends, with its connections, when dropped.
pub struct Receiver {
    pub address: SocketAddr,
    got: Arc<Mutex<Got>>,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Receiver {
    pub fn start() -> Self {
        Self::start_at("127.0.0.1:0".parse().expect("an address"))
    }

    /// Starts at an address where another one was.
    pub fn start_at(address: SocketAddr) -> Self {
        let got = Arc::<Mutex<Got>>::default();
        let theirs = Arc::clone(&got);
        let (end, ended) = oneshot::channel();
        let (tell, reported) = std::sync::mpsc::channel();
        let thread = thread::spawn(move || {
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = runtime.enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let listener = TcpListener::bind(address).await.expect("a free port");
                tell.send(listener.local_addr().expect("an address"))
                    .expect("the test waits");
                tokio::select! {
                    () = serve(listener, theirs) => {}
                    _ = ended => {}
                }
            });
        });
        Self {
            address: reported.recv().expect("it listens"),
            got,
            end: Some(end),
            thread: Some(thread),
        }
    }

    pub fn got(&self) -> MutexGuard<'_, Got> {
        self.got.lock().expect("no panic")
    }

    pub fn will(&self, answers: impl IntoIterator<Item = Answer>) {
        self.got().answers.extend(answers);
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn serve(listener: TcpListener, got: Arc<Mutex<Got>>) {
    loop {
        let (stream, _) = listener.accept().await.expect("a connection");
        let got = Arc::clone(&got);
        tokio::spawn(async move {
            let answer = service_fn(|request| answer(request, &got));
            let connection = hyper::server::conn::http1::Builder::new();
            // Either side may hang up.
            let _ = connection
                .serve_connection(TokioIo::new(stream), answer)
                .await;
        });
    }
}

async fn answer(request: Request<Incoming>, got: &Mutex<Got>) -> io::Result<Response<Full<Bytes>>> {
    assert_eq!(request.method(), "POST");
    let hang_up = || Err(io::ErrorKind::ConnectionAborted.into());
    let path = request.uri().path_and_query().expect("a path").to_string();
    let headers = request.headers().clone();
    let answer = {
        let mut got = got.lock().expect("no panic");
        got.heads.push((path, headers.clone()));
        got.answers.pop_front().unwrap_or(Answer::Keep(200))
    };
    let mut body = request.into_body();
    if matches!(answer, Answer::HangUp) {
        let _ = body.frame().await;
        return hang_up();
    }
    let body = body.collect().await.expect("a body").to_bytes();
    let is_kept = !matches!(answer, Answer::Status(..));
    {
        let mut got = got.lock().expect("no panic");
        got.bodies.push(body.clone());
        if is_kept {
            got.kept.push(lines(&headers, &body));
        }
    }
    let response = match answer {
        Answer::Keep(status) => Response::builder().status(status),
        Answer::Status(status, retry_after) => {
            let response = Response::builder().status(status);
            match retry_after {
                Some(seconds) => response.header("retry-after", seconds),
                None => response,
            }
        }
        Answer::HangUp | Answer::KeepAndHangUp => return hang_up(),
        Answer::KeepAndSleep(time) => {
            tokio::time::sleep(time).await;
            Response::builder()
        }
    };
    let text = if is_kept { "" } else { "\u{1b}not like this" };
    Ok(response.body(text.into()).expect("a response"))
}

fn lines(headers: &HeaderMap, body: &Bytes) -> Vec<u8> {
    match headers.get("content-encoding") {
        None => body.to_vec(),
        Some(encoding) => {
            assert_eq!(encoding, "gzip");
            let mut lines = Vec::new();
            let mut decoder = MultiGzDecoder::new(&**body);
            decoder.read_to_end(&mut lines).expect("gzip");
            lines
        }
    }
}
