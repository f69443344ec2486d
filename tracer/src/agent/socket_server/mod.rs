//! The unix socket on which commands of this host ask the agent. It runs in a thread of its own and
//! passes each question to the event loop, which looks up a bounded number of things: a client
//! never stops the loop, however it behaves.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fs::File;
use std::future;
use std::io;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use rustix::process::geteuid;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::runtime;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until, timeout};

use super::{output_locks, serving};
use crate::agent_socket::{Answer, FrameError, HEADER_LEN, Question, socket_path};
use crate::safe_path::{self, BoundSocket, ResolvedPath};
use tcpclose_sys::host::priority;

/// The largest number of clients at one time. For a further one, the oldest is disconnected.
const MAX_CLIENTS: usize = 8;

/// How many clients may wait to be accepted.
const BACKLOG: i32 = 16;

/// How long a client may take for a question, and to read its answer. Tests on a busy machine need
/// the large difference to what is done at once.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(if cfg!(test) { 60 } else { 2 });

/// How long a client may be connected.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(if cfg!(test) { 60 } else { 10 });

/// The loop answers within milliseconds; if it has not by then, it does not run.
const LOOP_TIMEOUT: Duration = Duration::from_secs(2);

/// The time from one question for the loop to the next, of all clients together. Each takes less
/// than a millisecond.
const QUESTION_INTERVAL: Duration = Duration::from_millis(5);

/// A question for the event loop.
#[derive(Debug)]
pub(super) struct AgentQuestion {
    pub question: Question,
    pub answer: oneshot::Sender<Answer>,
}

/// The running server. Dropping it stops it and removes the socket.
#[derive(Debug)]
pub(super) struct SocketServer {
    _stop: oneshot::Sender<()>,
    _place: BoundSocket,
    /// Only its holder may replace the socket.
    _lock: File,
}

impl SocketServer {
    /// Listens in the agent's `run_directory`, and passes questions on.
    ///
    /// # Errors
    /// Another agent answers there, or the socket cannot be made.
    pub fn start(
        run_directory: &Path,
        questions: mpsc::Sender<AgentQuestion>,
    ) -> anyhow::Result<Self> {
        safe_path::create_folders(run_directory)
            .with_context(|| format!("{} cannot be created", run_directory.display()))?;
        let lock = output_locks::lock("agent", run_directory)?;
        let path = socket_path(run_directory);
        let place = ResolvedPath::find(&path).and_then(|place| place.listen(BACKLOG));
        let (listener, place) =
            place.with_context(|| format!("{} cannot be made", path.display()))?;
        listener.set_nonblocking(true)?;
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (stop, stopped) = oneshot::channel();
        let asker = Arc::new(LoopClient::new(questions));
        priority::spawn("answers", move || {
            let serving = serve(listener, asker);
            let ended = "commands can no longer ask this agent";
            serving::run(runtime, serving, stopped, ended);
        })?;
        Ok(Self {
            _stop: stop,
            _place: place,
            _lock: lock,
        })
    }
}

async fn serve(listener: UnixListener, asker: Arc<LoopClient>) -> io::Error {
    let listener = match tokio::net::UnixListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return error,
    };
    let mut clients = Clients::default();
    loop {
        let stream = serving::accept(async || listener.accept().await).await;
        let peer = stream.peer_cred().map(|peer| peer.uid());
        if !peer.is_ok_and(may_ask) {
            continue;
        }
        let asker = Arc::clone(&asker);
        clients.make_room();
        let serving = async move {
            // Errors of clients need no report.
            let _ = timeout(CONNECTION_TIMEOUT, answer_questions(stream, &asker)).await;
        };
        clients.0.push_back(tokio::spawn(serving).abort_handle());
    }
}

/// Returns whether a user may ask: root, and the one that the agent runs as. The mode of the socket
/// allows the same, and may be changed.
fn may_ask(uid: u32) -> bool {
    uid == 0 || uid == geteuid().as_raw()
}

/// The connected clients, the oldest first.
#[derive(Default)]
struct Clients(VecDeque<AbortHandle>);

impl Clients {
    /// Makes room for one more client.
    fn make_room(&mut self) {
        self.0.retain(|client| !client.is_finished());
        while self.0.len() >= MAX_CLIENTS
            && let Some(oldest) = self.0.pop_front()
        {
            oldest.abort();
        }
    }
}

/// Asks the event loop, one question after the other.
#[derive(Debug)]
struct LoopClient {
    questions: mpsc::Sender<AgentQuestion>,
    /// When the next question may be asked.
    next: Mutex<Instant>,
}

impl LoopClient {
    fn new(questions: mpsc::Sender<AgentQuestion>) -> Self {
        Self {
            questions,
            next: Mutex::new(Instant::now()),
        }
    }

    /// Returns the answer; `None` if the loop does not answer.
    async fn ask(&self, question: Question) -> Option<Answer> {
        let mut next = self.next.lock().await;
        sleep_until(*next).await;
        let (answer, answered) = oneshot::channel();
        let question = AgentQuestion { question, answer };
        let asked = async {
            self.questions.send(question).await.ok()?;
            answered.await.ok()
        };
        let answer = timeout(LOOP_TIMEOUT, asked).await;
        *next = Instant::now() + QUESTION_INTERVAL;
        answer.ok().flatten()
    }
}

/// Answers the questions of a client until it goes, or sends something else, or is too slow.
async fn answer_questions(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    asker: &LoopClient,
) -> Option<()> {
    loop {
        let question = timeout(CLIENT_TIMEOUT, read_question(&mut stream)).await;
        let answer = match question.ok()?.ok()? {
            Ok(question) => asker.ask(question).await?.to_frame(),
            Err(FrameError::Version(_)) => {
                let answer = Answer::other_version();
                timeout(CLIENT_TIMEOUT, stream.write_all(&answer))
                    .await
                    .ok()?
                    .ok()?;
                // What follows is of that version, too.
                return None;
            }
            Err(_) => return None,
        };
        let written = timeout(CLIENT_TIMEOUT, stream.write_all(&answer)).await;
        written.ok()?.ok()?;
    }
}

/// Reads a question. What it is if it is none is not an error of the connection.
async fn read_question(
    stream: &mut (impl AsyncRead + Unpin),
) -> io::Result<Result<Question, FrameError>> {
    let mut header = [0; HEADER_LEN];
    stream.read_exact(&mut header).await?;
    let len = match Question::content_len(header) {
        Ok(len) => len,
        Err(error) => return Ok(Err(error)),
    };
    let mut content = vec![0; len];
    stream.read_exact(&mut content).await?;
    Ok(Question::from_content(&content))
}

/// Waits for a question for as long as there is a server; for ever if there is none.
pub(super) async fn next_question(questions: &mut mpsc::Receiver<AgentQuestion>) -> AgentQuestion {
    match questions.recv().await {
        Some(question) => question,
        None => future::pending().await,
    }
}
