//! Processes that tests start: their output is collected as it comes, and they never outlive the test.

use std::io::{BufRead as _, BufReader, Read};
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use super::sys;

/// Long enough for a busy machine; only a failing test waits this long.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Enough for what has happened already and only has to be read.
pub const SOON: Duration = Duration::from_secs(3);

/// Asks until the answer is there. `None` when it is not there after [`PATIENCE`].
pub fn eventually<T>(ask: impl FnMut() -> Option<T>) -> Option<T> {
    within(PATIENCE, ask)
}

/// Asks until the answer is there or the time is over.
pub fn within<T>(limit: Duration, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(answer) = ask() {
            return Some(answer);
        }
        if Instant::now() > deadline {
            return None;
        }
        thread::sleep(Duration::from_millis(5));
    }
}

#[derive(Default)]
struct Collected {
    lines: Vec<String>,
    ended: bool,
}

/// The lines a process has written so far.
#[derive(Clone, Default)]
pub struct Lines(Arc<(Mutex<Collected>, Condvar)>);

impl Lines {
    fn follow(source: impl Read + Send + 'static) -> Self {
        let lines = Self::default();
        let writer = lines.clone();
        thread::spawn(move || {
            let (collected, changed) = &*writer.0;
            let mut source = BufReader::new(source);
            let mut line = Vec::new();
            while source
                .read_until(b'\n', &mut line)
                .is_ok_and(|read| read > 0)
            {
                if line.last() == Some(&b'\n') {
                    line.pop();
                }
                let text = String::from_utf8_lossy(&line).into_owned();
                line.clear();
                collected.lock().unwrap().lines.push(text);
                changed.notify_all();
            }
            collected.lock().unwrap().ended = true;
            changed.notify_all();
        });
        lines
    }

    /// All lines so far.
    pub fn now(&self) -> Vec<String> {
        self.0.0.lock().unwrap().lines.clone()
    }

    /// All lines so far as one text.
    pub fn text(&self) -> String {
        self.now().join("\n")
    }

    /// Waits for what `find` looks for; `None` when the stream has ended or [`PATIENCE`] is over without it.
    pub fn wait<T>(&self, find: impl FnMut(&[String]) -> Option<T>) -> Option<T> {
        self.wait_for(PATIENCE, find)
    }

    /// As [`Self::wait`] with another limit.
    pub fn wait_for<T>(
        &self,
        limit: Duration,
        mut find: impl FnMut(&[String]) -> Option<T>,
    ) -> Option<T> {
        let (collected, changed) = &*self.0;
        let deadline = Instant::now() + limit;
        let mut guard = collected.lock().unwrap();
        loop {
            let found = find(&guard.lines);
            let left = deadline.saturating_duration_since(Instant::now());
            if found.is_some() || guard.ended || left.is_zero() {
                return found;
            }
            guard = changed.wait_timeout(guard, left).unwrap().0;
        }
    }

    fn wait_for_end(&self) {
        let (collected, changed) = &*self.0;
        let guard = collected.lock().unwrap();
        drop(
            changed
                .wait_timeout_while(guard, PATIENCE, |collected| !collected.ended)
                .unwrap(),
        );
    }
}

/// A running process of ours; killed (by its id) when dropped.
pub struct Process {
    child: Child,
    name: String,
    collects_stdout: bool,
    /// Its standard output; empty after [`Self::spawn_unread`].
    pub stdout: Lines,
    /// Its standard error.
    pub stderr: Lines,
}

impl Process {
    /// Starts the command with both outputs collected and no input.
    pub fn spawn(command: &mut Command) -> Self {
        let mut process = Self::spawn_unread(command);
        let stdout = process.take_stdout();
        process.stdout = Lines::follow(stdout);
        process.collects_stdout = true;
        process
    }

    /// As [`Self::spawn`], but standard output is left to the test: see [`Self::take_stdout`].
    pub fn spawn_unread(command: &mut Command) -> Self {
        let name = format!("{command:?}");
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
        let stderr: ChildStderr = child.stderr.take().expect("piped");
        Self {
            child,
            name,
            collects_stdout: false,
            stdout: Lines::default(),
            stderr: Lines::follow(stderr),
        }
    }

    /// The pipe of standard output; dropping it closes the reader's end.
    pub fn take_stdout(&mut self) -> ChildStdout {
        self.child
            .stdout
            .take()
            .expect("standard output is taken once")
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Asks it to stop as Ctrl-C does.
    pub fn interrupt(&self) {
        sys::signal(self.pid(), libc::SIGINT).expect("our own child takes signals");
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.child
            .try_wait()
            .expect("waiting for our own child")
            .is_none()
    }

    /// Waits until it has ended and all its output is read.
    pub fn wait(&mut self) -> ExitStatus {
        let status = eventually(|| self.child.try_wait().expect("waiting for our own child"));
        let Some(status) = status else {
            panic!(
                "{} does not end; its stderr:\n{}",
                self.name,
                self.stderr.text()
            );
        };
        self.stderr.wait_for_end();
        if self.collects_stdout {
            self.stdout.wait_for_end();
        }
        status
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.is_running() {
            // It may end between the look and the kill: then there is nothing to do.
            drop(self.child.kill());
            drop(self.child.wait());
        }
    }
}

/// What a command that ended by itself has said.
pub struct Ended {
    /// Exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

/// Runs a command to its end.
pub fn run(command: &mut Command) -> Ended {
    let mut process = Process::spawn(command);
    let code = process.wait().code();
    Ended {
        code,
        stdout: process.stdout.text(),
        stderr: process.stderr.text(),
    }
}
