//! A running `tcpclose` whose lines are read as they come.

use std::io::{self, BufRead as _, BufReader, Lines};
use std::process::{ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use rustix::process::Signal;
use serde_json::Value;
use tcpclose_kit::process::ChildGuard;
use tcpclose_kit::wait::WAIT_TIMEOUT;

pub type Fallible<T> = Result<T, Box<dyn std::error::Error>>;

/// A running `tcpclose leaks --watch` or `tcpclose watch`.
pub struct Watch {
    running: ChildGuard,
    /// The lines that were not read yet.
    pub lines: Lines<BufReader<ChildStdout>>,
    /// The messages that came after it was attached and were not read yet.
    messages: Option<Receiver<String>>,
}

impl Watch {
    /// Starts the command and reads its output.
    pub fn spawn(command: &mut Command) -> Fallible<Self> {
        let mut running = ChildGuard::spawn(command.stdout(Stdio::piped()))?;
        let stdout = running.stdout.take().ok_or("no output")?;
        Ok(Self {
            running,
            lines: BufReader::new(stdout).lines(),
            messages: None,
        })
    }

    /// Starts it, and waits until it reports on stderr that it watches.
    pub fn attached(command: &mut Command) -> Fallible<Self> {
        let mut watch = Self::spawn(command.stderr(Stdio::piped()))?;
        let stderr = watch.running.stderr.take().ok_or("no messages")?;
        let mut stderr = BufReader::new(stderr);
        let mut messages = String::new();
        while !messages.contains("watching") {
            if stderr.read_line(&mut messages)? == 0 {
                return Err(format!("it ended: {messages}").into());
            }
        }
        // So that it never waits for somebody who reads them.
        let (sender, receiver) = channel();
        watch.messages = Some(receiver);
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        Ok(watch)
    }

    /// Waits for a message on stderr that contains this.
    pub fn notice(&mut self, words: &str) -> Fallible<String> {
        let messages = self.messages.as_ref().ok_or("stderr is not read")?;
        loop {
            let message = messages.recv_timeout(WAIT_TIMEOUT)?;
            if message.contains(words) {
                return Ok(message);
            }
        }
    }

    /// Returns the next line that contains this.
    pub fn wait_for(&mut self, words: &str) -> Fallible<String> {
        for line in &mut self.lines {
            let line = line?;
            if line.contains(words) {
                return Ok(line);
            }
        }
        Err(format!("{words:?} never came").into())
    }

    /// Returns the next record that contains this.
    pub fn record(&mut self, words: &str) -> Fallible<Value> {
        Ok(serde_json::from_str(&self.wait_for(words)?)?)
    }

    /// Stops it as Ctrl-C does. Returns its exit code.
    pub fn stop(mut self) -> io::Result<Option<i32>> {
        self.running.signal(Signal::INT)?;
        self.running.wait_for_end().map(|status| status.code())
    }
}
