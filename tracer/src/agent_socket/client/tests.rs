//! The client against sockets that do not behave as an agent does.

use std::fs;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::thread;

use super::*;
use crate::agent_socket::frame::Header;

/// A folder with a socket, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let name = format!("tcpclose-{name}-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir(&folder).expect("a new folder");
        Self(folder)
    }

    fn path(&self) -> PathBuf {
        self.0.join("agent.sock")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The error of a client that asks a server which reads its question and sends these bytes.
fn error_about(name: &str, answer: &'static [u8]) -> String {
    let folder = Folder::new(name);
    let path = folder.path();
    let listener = UnixListener::bind(&path).expect("a socket");
    let serving = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client comes");
        let mut question = vec![0; Question::Status.to_frame().len()];
        stream.read_exact(&mut question).expect("it asks");
        stream.write_all(answer).expect("it reads");
    });
    let status = AgentClient::connect(&path).and_then(|mut agent| agent.status());
    serving.join().expect("no panic");
    status.expect_err("it is no agent").to_string()
}

#[test]
fn where_nothing_listens_there_is_no_agent() {
    let folder = Folder::new("nobody");
    let path = folder.path();
    let reason = |path: &Path| AgentClient::connect(path).expect_err("no agent").reason;
    assert!(matches!(reason(&path), Reason::NoAgent));
    // What an agent leaves that was killed.
    drop(UnixListener::bind(&path).expect("a socket"));
    assert!(path.exists());
    assert!(matches!(reason(&path), Reason::NoAgent));
    let below = path.join("agent.sock");
    assert!(matches!(reason(&below), Reason::NoAgent));
}

#[test]
fn other_versions_are_named_in_one_sentence() {
    let words = error_about("newer", b"TCPC\x63\0\0\0\0\0\0\0");
    assert!(words.contains("has version 99 of the protocol"), "{words}");
    assert!(words.contains("restart the agent"), "{words}");
}

#[test]
fn an_answer_that_is_cut_is_no_answer() {
    for (name, cut) in [
        ("cut-0", &b""[..]),
        ("cut-1", b"TCPC\x02\0"),
        ("cut-2", b"TCPC\x02\0\0\0\x40\0\0\0\0\x05"),
    ] {
        let words = error_about(name, cut);
        assert!(words.contains("in the middle of its answer"), "{words}");
    }
}

#[test]
fn what_no_agent_answers_is_refused() {
    for (name, answer) in [
        ("http", &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..]),
        ("huge", b"TCPC\x02\0\0\0\xff\xff\xff\xff"),
        ("other", b"TCPC\x02\0\0\0\x02\0\0\0\x01\0"),
        ("content", b"TCPC\x02\0\0\0\x02\0\0\0\xff\xff"),
    ] {
        let words = error_about(name, answer);
        assert!(
            words.contains("gave no answer that an agent gives"),
            "{words}"
        );
    }
}

#[test]
fn an_agent_that_never_answers_is_not_waited_for() {
    let folder = Folder::new("silent");
    let path = folder.path();
    let _listener = UnixListener::bind(&path).expect("a socket");
    let mut agent =
        AgentClient::connect_for(&path, Duration::from_millis(50)).expect("it may wait");
    let error = agent.status().expect_err("it does not answer");
    assert!(matches!(error.reason, Reason::Timeout), "{error}");
    assert!(error.to_string().contains("takes too long"), "{error}");
}

#[test]
fn one_that_answers_a_byte_at_a_time_is_not_waited_for_either() {
    let folder = Folder::new("slow");
    let path = folder.path();
    let listener = UnixListener::bind(&path).expect("a socket");
    let serving = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client comes");
        let header = Header {
            version: 2,
            len: 1 << 20,
        };
        let mut sent = stream.write_all(&header.to_bytes());
        while sent.is_ok() {
            sent = stream.write_all(&[0]);
            thread::sleep(Duration::from_millis(5));
        }
    });
    let mut agent =
        AgentClient::connect_for(&path, Duration::from_millis(100)).expect("it may wait");
    let error = agent.status().expect_err("it does not come to an end");
    assert!(matches!(error.reason, Reason::Timeout), "{error}");
    drop(agent);
    serving.join().expect("no panic");
}
