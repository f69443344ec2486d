//! Processes beside the test's own, to tell owners apart: this same test binary, started again with
//! a task.

use std::env;
use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};

use tcpclose_kit::netns::NetNs;
use tcpclose_kit::process::ChildProcess;

const TASK: &str = "TCPCLOSE_TEST_HELPER";
const ENTRY: &str = "harness::helper::helper_process";

fn start(ns: &NetNs, task: &str) -> ChildProcess {
    let mut command = ns.command(env::current_exe().expect("this test binary"));
    command
        .args([ENTRY, "--exact", "--nocapture", "--test-threads=1"])
        .env(TASK, task);
    ChildProcess::spawn(&mut command)
}

/// Does the task it was started with; as a test among the others it does nothing.
#[test]
fn helper_process() {
    let Ok(task) = env::var(TASK) else { return };
    let words: Vec<&str> = task.split(' ').collect();
    match words[..] {
        ["serve", listen] => serve_and_exit(listen.parse().expect("an address")),
        ["connect", control, comm] => {
            connect_on_request(control.parse().expect("an address"), &from_hex(comm))
        }
        _ => panic!("no such task: {task}"),
    }
}

/// A process that accepts one connection, reads one byte, and exits without closing it.
pub struct Server {
    process: ChildProcess,
    /// Where it listens.
    pub port: u16,
}

impl Server {
    /// Starts it and waits until it listens.
    pub fn start(ns: &NetNs, listen: SocketAddr) -> Self {
        let process = start(ns, &format!("serve {listen}"));
        let port = process.stdout.wait(|lines| {
            lines
                .iter()
                .find_map(|line| line.strip_prefix("port ")?.parse().ok())
        });
        let port =
            port.unwrap_or_else(|| panic!("the helper does not listen: {}", process.stderr.text()));
        Self { process, port }
    }

    /// Returns the process's id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Waits for its end.
    pub fn wait(&mut self) {
        assert_eq!(
            self.process.wait().code(),
            Some(0),
            "helper: {}",
            self.process.stderr.text()
        );
    }
}

#[expect(clippy::exit, reason = "no destructor may close the socket")]
fn serve_and_exit(listen: SocketAddr) {
    let listener = TcpListener::bind(listen).expect("listening");
    println!(
        "\nport {}",
        listener.local_addr().expect("a bound socket").port()
    );
    let (mut stream, _) = listener.accept().expect("accepting");
    stream.read_exact(&mut [0]).expect("one byte");
    std::process::exit(0);
}

/// A process that connects on command.
pub struct Client {
    process: ChildProcess,
    control: TcpStream,
}

impl Client {
    /// Starts it under a name and waits until it is ready.
    pub fn start(ns: &NetNs, comm: &[u8]) -> Self {
        let listener = ns
            .run(|| TcpListener::bind(("127.0.0.1", 0)))
            .expect("listening");
        let address = listener.local_addr().expect("a bound socket");
        let process = start(ns, &format!("connect {address} {}", to_hex(comm)));
        let (control, _) = listener.accept().expect("the helper connects");
        Self { process, control }
    }

    /// Returns the process's id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Lets it connect. It holds the connection until the peer closes, then closes too.
    pub fn connect(&mut self, to: SocketAddr) {
        self.control
            .write_all(format!("{to}\n").as_bytes())
            .expect("the helper listens");
    }

    /// Lets it end, and waits for it.
    pub fn finish(self) {
        let Self {
            mut process,
            control,
        } = self;
        drop(control);
        assert_eq!(
            process.wait().code(),
            Some(0),
            "helper: {}",
            process.stderr.text()
        );
    }
}

#[expect(clippy::exit, reason = "no destructor is needed")]
fn connect_on_request(control: SocketAddr, comm: &[u8]) {
    let mut control = TcpStream::connect(control).expect("the test listens");
    fs::write("/proc/self/comm", comm).expect("a name of one's own");
    let mut line = Vec::new();
    let mut byte = [0];
    while control.read(&mut byte).expect("the test is there") == 1 {
        if byte[0] != b'\n' {
            line.push(byte[0]);
            continue;
        }
        let address: SocketAddr = String::from_utf8_lossy(&line).parse().expect("an address");
        line.clear();
        // The end of the stream, or a reset: either ends it, and a reset may come before connect()
        // is back.
        match TcpStream::connect(address) {
            Ok(mut stream) => drop(stream.read_to_end(&mut Vec::new())),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            Err(error) => panic!("connecting: {error}"),
        }
    }
    // The test runner's thread waits for this one; no destructor is needed.
    std::process::exit(0);
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> Vec<u8> {
    let byte = |at| u8::from_str_radix(&text[at..at + 2], 16).expect("hex");
    (0..text.len()).step_by(2).map(byte).collect()
}
