//! Processes that tests start: they never outlive the test, and their output can be collected as it
//! comes.

use std::io::{self, BufRead as _, BufReader, Read};
use std::ops::{Deref, DerefMut};
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use serde_json::Value;

use crate::wait::{WAIT_TIMEOUT, eventually};

/// A child process, which is killed (by its id) when this is dropped.
pub struct ChildGuard(Child);

impl ChildGuard {
    /// Starts the command.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn spawn(command: &mut Command) -> io::Result<Self> {
        let child = command.spawn();
        child
            .map(Self)
            .map_err(|error| io::Error::new(error.kind(), format!("{command:?}: {error}")))
    }

    /// Returns its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// The kernel refuses it.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        Ok(kill_process(Pid::from_child(&self.0), signal)?)
    }

    /// Kills it, as a crash or an administrator would.
    pub fn kill(mut self) {
        self.end();
    }

    /// Returns whether it still runs.
    ///
    /// # Panics
    /// The kernel does not know our own child.
    pub fn is_running(&mut self) -> bool {
        self.try_wait()
            .expect("waiting for our own child")
            .is_none()
    }

    /// Waits for its end, but not for ever.
    ///
    /// # Errors
    /// It does not end.
    pub fn wait_for_end(&mut self) -> io::Result<ExitStatus> {
        let status = eventually(|| self.try_wait().transpose());
        status.unwrap_or_else(|| Err(io::ErrorKind::TimedOut.into()))
    }

    fn end(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Deref for ChildGuard {
    type Target = Child;

    fn deref(&self) -> &Child {
        &self.0
    }
}

impl DerefMut for ChildGuard {
    fn deref_mut(&mut self) -> &mut Child {
        &mut self.0
    }
}

impl Drop for ChildGuard {
    fn drop(&mut self) {
        self.end();
    }
}

#[derive(Default)]
struct CollectedLines {
    lines: Vec<String>,
    ended: bool,
}

/// The lines that a process has written so far.
#[derive(Clone, Default)]
pub struct Lines(Arc<(Mutex<CollectedLines>, Condvar)>);

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

    /// Returns all lines so far.
    #[must_use]
    pub fn now(&self) -> Vec<String> {
        self.0.0.lock().unwrap().lines.clone()
    }

    /// Returns how many lines there are so far.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.0.lock().unwrap().lines.len()
    }

    /// Returns all lines so far as one text.
    #[must_use]
    pub fn text(&self) -> String {
        self.now().join("\n")
    }

    /// Waits for what `find` looks for; `None` when the stream has ended or [`WAIT_TIMEOUT`] is
    /// over without it.
    pub fn wait<T>(&self, find: impl FnMut(&[String]) -> Option<T>) -> Option<T> {
        self.wait_for(WAIT_TIMEOUT, find)
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

    /// Waits for a line that contains these words; `false` when none comes.
    #[must_use]
    pub fn wait_for_words(&self, words: &str) -> bool {
        let has_words = |line: &String| line.contains(words);
        let find = |lines: &[String]| lines.iter().any(has_words).then_some(());
        self.wait(find).is_some()
    }

    fn wait_for_end(&self) {
        let (collected, changed) = &*self.0;
        let guard = collected.lock().unwrap();
        drop(
            changed
                .wait_timeout_while(guard, WAIT_TIMEOUT, |collected| !collected.ended)
                .unwrap(),
        );
    }
}

/// A child process whose output is collected.
pub struct ChildProcess {
    running: ChildGuard,
    name: String,
    collects_stdout: bool,
    /// Its standard output; empty after [`Self::spawn_unread`].
    pub stdout: Lines,
    /// Its standard error.
    pub stderr: Lines,
}

impl ChildProcess {
    /// Starts the command with both outputs collected and no input.
    ///
    /// # Panics
    /// It cannot be started.
    #[must_use]
    pub fn spawn(command: &mut Command) -> Self {
        let mut process = Self::spawn_unread(command);
        let stdout = process.stdout_pipe();
        process.stdout = Lines::follow(stdout);
        process.collects_stdout = true;
        process
    }

    /// As [`Self::spawn`], but standard output is left to the test: see [`Self::stdout_pipe`].
    ///
    /// # Panics
    /// It cannot be started.
    #[must_use]
    pub fn spawn_unread(command: &mut Command) -> Self {
        let name = format!("{command:?}");
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut running =
            ChildGuard::spawn(command).unwrap_or_else(|error| panic!("cannot start {error}"));
        let stderr: ChildStderr = running.stderr.take().expect("piped");
        Self {
            running,
            name,
            collects_stdout: false,
            stdout: Lines::default(),
            stderr: Lines::follow(stderr),
        }
    }

    /// Returns the pipe of standard output, to be read by the test. Dropping it closes the pipe.
    ///
    /// # Panics
    /// It was taken already.
    pub fn stdout_pipe(&mut self) -> ChildStdout {
        self.running
            .stdout
            .take()
            .expect("standard output is taken once")
    }

    /// Asks it to stop as Ctrl-C does.
    ///
    /// # Panics
    /// The kernel refuses the signal.
    pub fn interrupt(&self) {
        self.signal(Signal::INT)
            .expect("our own child takes signals");
    }

    /// Waits until it has ended and all its output is read.
    ///
    /// # Panics
    /// It does not end.
    pub fn wait(&mut self) -> ExitStatus {
        let status = self.running.wait_for_end().unwrap_or_else(|error| {
            panic!(
                "{} does not end ({error}); its stderr:\n{}",
                self.name,
                self.stderr.text()
            )
        });
        self.stderr.wait_for_end();
        if self.collects_stdout {
            self.stdout.wait_for_end();
        }
        status
    }
}

impl Deref for ChildProcess {
    type Target = ChildGuard;

    fn deref(&self) -> &ChildGuard {
        &self.running
    }
}

impl DerefMut for ChildProcess {
    fn deref_mut(&mut self) -> &mut ChildGuard {
        &mut self.running
    }
}

/// Exit code and output of a command that ended by itself.
#[derive(Clone, Debug)]
pub struct CommandOutput {
    /// Its exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl CommandOutput {
    /// Returns the JSON records on its standard output.
    ///
    /// # Panics
    /// A line is no JSON.
    #[must_use]
    pub fn records(&self) -> Vec<Value> {
        let parse =
            |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        self.stdout.lines().map(parse).collect()
    }

    /// Returns the only record.
    ///
    /// # Panics
    /// There are more, or none.
    #[must_use]
    pub fn record(&self) -> Value {
        let mut records = self.records();
        assert_eq!(records.len(), 1, "{}\n{}", self.stdout, self.stderr);
        records.remove(0)
    }
}

/// For tcpclose itself: it writes UTF-8, whatever it reads.
impl From<Output> for CommandOutput {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8 comes out, whatever goes in");
        Self {
            code: output.status.code(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }
}

/// Runs a command to its end and returns its standard output.
///
/// # Panics
/// It cannot be started, does not end, or fails.
#[track_caller]
pub fn output_of(command: &mut Command) -> String {
    let ended = run(command);
    assert_eq!(ended.code, Some(0), "{command:?}: {}", ended.stderr);
    ended.stdout
}

/// Runs a command to its end.
///
/// # Panics
/// It cannot be started, or does not end.
pub fn run(command: &mut Command) -> CommandOutput {
    let mut process = ChildProcess::spawn(command);
    let code = process.wait().code();
    CommandOutput {
        code,
        stdout: process.stdout.text(),
        stderr: process.stderr.text(),
    }
}
