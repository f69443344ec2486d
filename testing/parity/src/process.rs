//! The programs that run beside the workload: tcpdump and tcpclose, one of each at either end.

#![expect(unsafe_code, reason = "system calls that std does not offer")]

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::netns::{INTERFACE, NetNs};

/// For a program to start, or to stop when asked to.
const PATIENCE: Duration = Duration::from_secs(30);

/// A program whose lines are collected; killed when dropped.
struct Program {
    name: &'static str,
    child: Child,
    stdout: Lines,
    stderr: Lines,
    readers: Vec<thread::JoinHandle<()>>,
}

type Lines = Arc<Mutex<Vec<String>>>;

impl Program {
    /// Starts it inside `ns` and waits until its stderr has a line with `ready`.
    fn start(ns: &NetNs, name: &'static str, mut command: Command, ready: &str) -> Result<Self> {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = ns
            .run(|| command.spawn())?
            .with_context(|| format!("cannot start {name}"))?;
        let (out, err) = (child.stdout.take(), child.stderr.take());
        let (stdout, stderr) = (Lines::default(), Lines::default());
        let readers = vec![
            follow(out.expect("piped"), &stdout),
            follow(err.expect("piped"), &stderr),
        ];
        let mut program = Self {
            name,
            child,
            stdout,
            stderr,
            readers,
        };
        let is_ready = |program: &mut Self| {
            let lines = program.stderr.lock().expect("no panic meanwhile");
            lines.iter().any(|line| line.contains(ready))
        };
        if !program.wait_until(is_ready)? {
            bail!("{name} does not start: {}", program.said());
        }
        Ok(program)
    }

    /// False when the program ended, or patience did, without it.
    fn wait_until(&mut self, mut done: impl FnMut(&mut Self) -> bool) -> Result<bool> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let ended = self.child.try_wait()?.is_some();
            if done(self) {
                return Ok(true);
            }
            if ended || Instant::now() > deadline {
                return Ok(false);
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    fn said(&self) -> String {
        self.stderr.lock().expect("no panic meanwhile").join("\n")
    }

    /// Stops it as Ctrl-C does, and waits until all it has said is read.
    fn stop(mut self) -> Result<(Vec<String>, String)> {
        let id = libc::pid_t::try_from(self.child.id()).context("a process id")?;
        // SAFETY: takes no pointers; the child is ours and not yet waited for.
        unsafe { libc::kill(id, libc::SIGINT) };
        if !self.wait_until(|program| matches!(program.child.try_wait(), Ok(Some(_))))? {
            bail!("{} does not stop", self.name);
        }
        let status = self.child.wait()?;
        for reader in self.readers.drain(..) {
            reader.join().expect("a reader panicked");
        }
        if !status.success() {
            bail!("{} failed ({status}): {}", self.name, self.said());
        }
        let lines = std::mem::take(&mut *self.stdout.lock().expect("no panic meanwhile"));
        Ok((lines, self.said()))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            // It may end between the look and the kill: then there is nothing to do.
            drop(self.child.kill());
            drop(self.child.wait());
        }
    }
}

fn follow(source: impl std::io::Read + Send + 'static, lines: &Lines) -> thread::JoinHandle<()> {
    let lines = Arc::clone(lines);
    thread::spawn(move || {
        for line in BufReader::new(source).lines().map_while(Result::ok) {
            lines.lock().expect("no panic meanwhile").push(line);
        }
    })
}

/// tcpdump at one end's own side of the wire.
pub struct Tcpdump {
    program: Program,
    file: PathBuf,
}

impl Tcpdump {
    /// Starts it and waits until it captures into `file`.
    pub fn start(ns: &NetNs, tcpdump: &Path, file: PathBuf) -> Result<Self> {
        let mut command = Command::new(tcpdump);
        // Headers with all options, and a buffer (in KiB) for seconds without the processor.
        command
            .args([
                "-i", INTERFACE, "-n", "-U", "-s", "128", "-B", "65536", "-Z", "root", "-w",
            ])
            .arg(&file)
            .arg("tcp");
        let program = Program::start(ns, "tcpdump", command, "listening on")?;
        Ok(Self { program, file })
    }

    /// Stops it. It is an error when it has missed a packet.
    pub fn stop(self) -> Result<PathBuf> {
        // An interrupted tcpdump forgets what it has not read yet: the kernel hands packets over within a second.
        thread::sleep(Duration::from_millis(1_500));
        let (_, said) = self.program.stop()?;
        let count = |what: &str| {
            let line = said.lines().find(|line| line.contains(what));
            line.and_then(|line| line.split(' ').next()?.parse::<u64>().ok())
        };
        let (captured, received) = (count("captured"), count("received by filter"));
        if captured.is_none() || captured != received || count("dropped by kernel") != Some(0) {
            bail!("the capture is not complete: {said}");
        }
        Ok(self.file)
    }
}

/// `tcpclose watch` in one end's namespace.
pub struct Watch(Program);

impl Watch {
    /// Starts it and waits until it watches. It records, too, where `recording` names a file.
    pub fn start(ns: &NetNs, tcpclose: &Path, recording: Option<PathBuf>) -> Result<Self> {
        let mut command = Command::new(tcpclose);
        command.args([
            "watch",
            "--format",
            "json",
            "--netns",
            &ns.inode()?.to_string(),
        ]);
        if let Some(file) = recording {
            command.arg("--record").arg(file);
        }
        Program::start(ns, "tcpclose", command, "tcpclose: watching").map(Self)
    }

    /// How many lines it has written.
    pub fn lines(&self) -> usize {
        self.0.stdout.lock().expect("no panic meanwhile").len()
    }

    /// Stops it and returns all its lines.
    pub fn stop(self) -> Result<Vec<String>> {
        Ok(self.0.stop()?.0)
    }
}
