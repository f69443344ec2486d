//! Running the agent.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use tcpclose_kit::process::ChildGuard;
use tcpclose_kit::scratch::Scratch;
use tcpclose_kit::wait::{self, WAIT_TIMEOUT};

/// `tcpclose agent`, to be given arguments.
pub fn agent() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tcpclose"));
    command
        .arg("agent")
        .stdin(Stdio::null())
        .env_remove("NOTIFY_SOCKET")
        .env_remove("WATCHDOG_USEC");
    command
}

/// A running agent, which is killed at the end if it has not ended by itself.
pub struct Agent {
    running: ChildGuard,
    stderr: PathBuf,
}

impl Agent {
    /// Starts it with this configuration and waits until it works.
    pub fn start(scratch: &Scratch, config: &str) -> io::Result<Self> {
        let file = scratch.write("agent.toml", config)?;
        let mut command = agent();
        command.arg("--config").arg(file);
        Self::run(command, scratch)
    }

    pub fn run(mut command: Command, scratch: &Scratch) -> io::Result<Self> {
        command.stdout(File::create(scratch.path("stdout"))?);
        Self::run_into(command, scratch)
    }

    /// With the stdout that the command has.
    pub fn run_into(mut command: Command, scratch: &Scratch) -> io::Result<Self> {
        let stderr = scratch.path("stderr");
        command.stderr(File::create(&stderr)?);
        let mut agent = Self {
            running: ChildGuard::spawn(&mut command)?,
            stderr,
        };
        agent.until("the agent is running")?;
        Ok(agent)
    }

    /// With the stderr that the command has, which nobody reads.
    pub fn with_stderr_unread(mut command: Command) -> io::Result<Self> {
        Ok(Self {
            running: ChildGuard::spawn(command.stdout(Stdio::null()))?,
            stderr: PathBuf::new(),
        })
    }

    pub fn pid(&self) -> u32 {
        self.running.pid()
    }

    pub fn stderr(&self) -> String {
        fs::read_to_string(&self.stderr).unwrap_or_default()
    }

    /// Waits until it has written this on stderr.
    pub fn until(&mut self, words: &str) -> io::Result<()> {
        let deadline = Instant::now() + WAIT_TIMEOUT;
        while !self.stderr().contains(words) {
            let ended = self.running.try_wait()?;
            if ended.is_some() || Instant::now() > deadline {
                let messages = self.stderr();
                return Err(io::Error::other(format!(
                    "no {words:?} ({ended:?}) in {messages:?}"
                )));
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        self.running.signal(signal)
    }

    /// Asks it to end, and returns how and how fast it did.
    pub fn end(mut self) -> io::Result<(ExitStatus, Duration)> {
        let begun = Instant::now();
        self.signal(Signal::TERM)?;
        let status = self.running.wait_for_end()?;
        Ok((status, begun.elapsed()))
    }
}

/// Status line and body of an answer.
pub fn get(address: SocketAddr, path: &str) -> io::Result<(String, String)> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(WAIT_TIMEOUT))?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: tcpclose\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.lines().next().unwrap_or_default();
    let chunked = head.to_ascii_lowercase().contains("transfer-encoding");
    assert!(!chunked, "the body comes whole: {head}");
    Ok((status.to_owned(), body.to_owned()))
}

/// Reads the records of a file, in order. Every line must be whole.
pub fn records(path: &Path) -> io::Result<Vec<Value>> {
    let text = fs::read_to_string(path)?;
    if !text.is_empty() && !text.ends_with('\n') {
        return Err(io::Error::other("the last line is cut"));
    }
    let parse = |line| serde_json::from_str(line).map_err(io::Error::from);
    text.lines().map(parse).collect()
}

pub fn records_of_kind<'a>(records: &'a [Value], kind: &str) -> Vec<&'a Value> {
    records
        .iter()
        .filter(|record| record["kind"] == kind)
        .collect()
}

/// Asks until there is an answer.
pub fn eventually<T>(what: &str, mut ask: impl FnMut() -> io::Result<Option<T>>) -> io::Result<T> {
    let answer = wait::eventually(|| ask().transpose());
    answer.unwrap_or_else(|| Err(io::Error::other(format!("never: {what}"))))
}
