//! The programs that run beside the workload: tcpdump and tcpclose, one of each at either endpoint.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::{Result, bail};
use tcpclose_kit::netns::NetNs;
use tcpclose_kit::process::ChildProcess;

/// A program beside the workload.
struct Program {
    name: &'static str,
    process: ChildProcess,
}

impl Program {
    /// Takes over a program that has been started, and waits until its stderr has a line with
    /// `ready`.
    fn when_ready(name: &'static str, process: ChildProcess, ready: &str) -> Result<Self> {
        if !process.stderr.wait_for_words(ready) {
            bail!("{name} does not start: {}", process.stderr.text());
        }
        Ok(Self { name, process })
    }

    /// Stops it as Ctrl-C does. Returns its lines, and its messages.
    fn stop(mut self) -> Result<(Vec<String>, String)> {
        self.process.interrupt();
        let status = self.process.wait();
        let messages = self.process.stderr.text();
        if !status.success() {
            bail!("{} failed ({status}): {messages}", self.name);
        }
        Ok((self.process.stdout.now(), messages))
    }
}

/// How many packets an interrupted tcpdump may leave unread: those of its last moment.
const MAX_UNREAD: u64 = 10;

/// tcpdump at one endpoint's own side of both wires.
pub struct Tcpdump {
    program: Program,
    file: PathBuf,
}

impl Tcpdump {
    /// Starts it and waits until it captures into `file`.
    pub fn start(ns: &NetNs, tcpdump: &Path, file: PathBuf) -> Result<Self> {
        let mut command = ns.command(tcpdump);
        // Headers with all options, and a buffer (in KiB) for seconds without the processor.
        command
            .args([
                "-i", "any", "-n", "-U", "-s", "128", "-B", "65536", "-Z", "root", "-w",
            ])
            .arg(&file)
            .arg("tcp");
        let process = ChildProcess::spawn(&mut command);
        let program = Program::when_ready("tcpdump", process, "listening on")?;
        Ok(Self { program, file })
    }

    /// Stops it. It is an error when it has missed a packet.
    pub fn stop(self) -> Result<PathBuf> {
        // An interrupted tcpdump forgets what it has not read yet: the kernel hands packets over
        // within a second.
        thread::sleep(Duration::from_millis(1_500));
        let (_, messages) = self.program.stop()?;
        let count = |what: &str| {
            let line = messages.lines().find(|line| line.contains(what));
            let line = line?;
            line.split(' ').next()?.parse::<u64>().ok()
        };
        let counts = count("captured").zip(count("received by filter"));
        // What is sent again to the end is still under way, and none of it is of a close any more.
        let unread = counts.map(|(captured, received)| received.saturating_sub(captured));
        if unread.is_none_or(|unread| unread > MAX_UNREAD) || count("dropped by kernel") != Some(0)
        {
            bail!("the capture is not complete: {messages}");
        }
        Ok(self.file)
    }
}

/// `tcpclose watch` in one endpoint's namespace.
pub struct Watch(Program);

impl Watch {
    /// Starts it and waits until it watches. It records, too, where `recording` names a file.
    pub fn start(ns: &NetNs, tcpclose: &Path, recording: Option<PathBuf>) -> Result<Self> {
        let mut command = ns.command(tcpclose);
        command.args([
            "watch",
            "--format",
            "json",
            "--netns",
            &ns.inode().to_string(),
        ]);
        if let Some(file) = recording {
            command.arg("--record").arg(file);
        }
        let process = ChildProcess::spawn(&mut command);
        Program::when_ready("tcpclose", process, "tcpclose: watching").map(Self)
    }

    /// How many lines it has written.
    pub fn lines(&self) -> usize {
        self.0.process.stdout.count()
    }

    /// Stops it and returns all its lines.
    pub fn stop(self) -> Result<Vec<String>> {
        Ok(self.0.stop()?.0)
    }
}
