//! The server, with answers that the test gives in place of the event loop.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::thread;

use super::*;
use crate::agent_socket::{AgentAddress, AgentStatus};
use tcpclose_core::types::{EndpointId, Nanos};

/// A folder in which servers answer, removed at the end.
struct RunDirectory(PathBuf);

impl RunDirectory {
    fn new(name: &str) -> Self {
        let name = format!("tcpclose-server-{name}-{}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }

    fn socket(&self) -> PathBuf {
        socket_path(&self.0)
    }

    /// Starts a server whose loop answers each question with its length.
    fn serve(&self) -> anyhow::Result<SocketServer> {
        let (questions, mut asked) = mpsc::channel(1);
        thread::spawn(move || {
            while let Some(AgentQuestion { question, answer }) = asked.blocking_recv() {
                let _ = answer.send(match question {
                    Question::Status => Answer::Status(AgentStatus {
                        version: "0".to_owned(),
                        pid: 7,
                        started: Nanos(1),
                        at: Nanos(2),
                    }),
                    Question::Sockets(ids) => Answer::Sockets(vec![None; ids.len()]),
                    Question::Minisockets(them) => Answer::Minisockets(vec![None; them.len()]),
                    Question::Routes(_) => Answer::Routes(Vec::new()),
                    Question::FlightRecorder => Answer::FlightRecorder(None),
                });
            }
        });
        SocketServer::start(&self.0, questions)
    }

    fn ask_status(&self) -> Result<AgentStatus, String> {
        let asked = AgentAddress::named(self.socket()).try_to_ask(|agent| agent.status());
        asked.map_err(|error| error.to_string())
    }

    /// What the server sends to a client that says this, until it disconnects.
    fn answer_to(&self, words: &[u8]) -> Vec<u8> {
        let mut stream = UnixStream::connect(self.socket()).expect("it listens");
        stream.write_all(words).expect("it reads");
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        answer
    }
}

impl Drop for RunDirectory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn its_owner_alone_may_ask_until_it_ends() {
    let directory = RunDirectory::new("owner");
    let server = directory.serve().expect("a new folder");
    let file = fs::metadata(directory.socket()).expect("a socket");
    assert!(file.file_type().is_socket());
    assert_eq!(file.permissions().mode() & 0o777, 0o600);
    assert_eq!(directory.ask_status().map(|status| status.pid), Ok(7));
    drop(server);
    assert!(!directory.socket().exists());
    let error = directory.ask_status().expect_err("it has ended");
    assert!(error.contains("no agent answers"), "{error}");
}

#[test]
fn several_questions_may_follow_each_other() {
    let directory = RunDirectory::new("several");
    let _server = directory.serve().expect("a new folder");
    let ids: Vec<EndpointId> = (0..5_000).map(EndpointId).collect();
    let asked = AgentAddress::named(directory.socket()).try_to_ask(|agent| {
        assert!(agent.sockets(&ids)?.is_empty());
        agent.status()
    });
    assert_eq!(asked.map(|status| status.pid).ok(), Some(7));
}

#[test]
fn a_second_agent_leaves_the_first_ones_socket() {
    let directory = RunDirectory::new("second");
    let first = directory.serve().expect("a new folder");
    let error = directory.serve().expect_err("there is one");
    assert!(
        error.to_string().contains("another tcpclose agent holds"),
        "{error:#}"
    );
    assert_eq!(directory.ask_status().map(|status| status.pid), Ok(7));
    drop(first);
    let _second = directory.serve().expect("there is none");
    assert_eq!(directory.ask_status().map(|status| status.pid), Ok(7));
}

#[test]
fn what_a_killed_agent_has_left_is_replaced() {
    let directory = RunDirectory::new("killed");
    fs::create_dir(&directory.0).expect("a new folder");
    for name in ["agent.sock", "agent.sock.new"] {
        drop(UnixListener::bind(directory.0.join(name)).expect("a socket"));
    }
    let _server = directory.serve().expect("nobody listens");
    assert_eq!(directory.ask_status().map(|status| status.pid), Ok(7));
    assert!(!directory.0.join("agent.sock.new").exists());
}

#[test]
fn another_file_is_never_replaced() {
    let directory = RunDirectory::new("file");
    fs::create_dir(&directory.0).expect("a new folder");
    fs::write(directory.socket(), "precious").expect("a file");
    let error = directory.serve().expect_err("it is no socket");
    let words = format!("{error:#}");
    assert!(words.contains("something else than a socket"), "{words}");
    let kept = fs::read_to_string(directory.socket()).expect("it is there");
    assert_eq!(kept, "precious");
}

#[test]
fn a_socket_that_another_has_placed_since_is_left() {
    let directory = RunDirectory::new("placed");
    let server = directory.serve().expect("a new folder");
    fs::remove_file(directory.socket()).expect("it is there");
    let _other = UnixListener::bind(directory.socket()).expect("a socket");
    drop(server);
    assert!(directory.socket().exists());
}

#[test]
fn another_version_is_answered_with_this_one_and_nothing_else() {
    let directory = RunDirectory::new("version");
    let _server = directory.serve().expect("a new folder");
    let answer = directory.answer_to(b"TCPC\x63\0\0\0\x04\0\0\0????");
    assert_eq!(answer, Answer::other_version());
}

#[test]
fn what_is_no_question_is_not_answered() {
    let directory = RunDirectory::new("garbage");
    let _server = directory.serve().expect("a new folder");
    for words in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        b"TCPC\x02\0\0\0\xff\xff\xff\xff",
        b"TCPC\x02\0\0\0\x02\0\0\0\xff\xff",
    ] {
        assert_eq!(directory.answer_to(words), b"", "{words:?}");
    }
    assert_eq!(directory.ask_status().map(|status| status.pid), Ok(7));
}

#[test]
fn clients_that_say_nothing_or_read_nothing_keep_no_other_out() {
    let directory = RunDirectory::new("idle");
    let _server = directory.serve().expect("a new folder");
    let connect = || UnixStream::connect(directory.socket()).expect("it listens");
    let _silent: Vec<UnixStream> = (0..3 * MAX_CLIENTS).map(|_| connect()).collect();
    let ids = Question::Sockets(vec![EndpointId(1); 1_000]).to_frame();
    let mut unread = Vec::new();
    for _ in 0..MAX_CLIENTS {
        let mut client = connect();
        client.set_nonblocking(true).expect("a socket");
        // Until nothing fits any more, or it is disconnected.
        for _ in 0..1_000 {
            if client.write_all(&ids).is_err() {
                break;
            }
        }
        unread.push(client);
    }
    assert_eq!(directory.ask_status().map(|status| status.pid), Ok(7));
}

#[test]
fn only_root_and_the_agents_user_may_ask() {
    let own = geteuid().as_raw();
    assert!(may_ask(0) && may_ask(own));
    assert!(!may_ask(own + 1));
}
