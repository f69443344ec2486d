//! A tracer at work, and what the kernel knows of its cost.

use std::{
    collections::HashMap,
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

/// How long a tracer may take to attach.
const ATTACH_TIMEOUT: Duration = Duration::from_secs(20);

/// A running tracer; stopped when dropped.
pub struct Tracer {
    child: Child,
    output: mpsc::Receiver<String>,
    /// From its start to its line with `attached`, if it has one.
    pub attached_after: Duration,
}

/// What its eBPF programs have cost, while the kernel counts that.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProgramCost {
    /// Time in all programs, in ns.
    pub ns: u64,
    /// Runs of the program that runs most.
    pub max_runs: u64,
}

impl Tracer {
    /// Starts `program` with stdout to `out` and waits until its stderr has a line with `attached`;
    /// a program without such a line is given two seconds.
    pub fn start(
        program: &Path,
        args: &[&str],
        out: impl Into<Stdio>,
        attached: Option<&str>,
    ) -> Result<Self> {
        let begun = Instant::now();
        let mut child = Command::new(program)
            .args(args)
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let stderr = child.stderr.take().context("it has no stderr")?;
        let (lines, output) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if lines.send(line).is_err() {
                    break;
                }
            }
        });
        let mut tracer = Self {
            child,
            output,
            attached_after: Duration::ZERO,
        };
        let mut output = "it printed nothing".to_owned();
        match attached {
            None => thread::sleep(Duration::from_secs(2)),
            Some(words) => loop {
                match tracer.output.recv_timeout(ATTACH_TIMEOUT) {
                    Ok(line) if line.contains(words) => break,
                    Ok(line) => output = line,
                    Err(_) => bail!("{} has not attached: {output}", program.display()),
                }
            },
        }
        tracer.attached_after = begun.elapsed();
        Ok(tracer)
    }

    /// CPU time of all its threads, in seconds.
    pub fn cpu(&self) -> Result<f64> {
        let mut ns = 0;
        for thread in fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            let schedstat = fs::read_to_string(thread?.path().join("schedstat"))?;
            let first = schedstat.split_ascii_whitespace().next();
            ns += first.and_then(|ns| ns.parse::<u64>().ok()).unwrap_or(0);
        }
        Ok(ns as f64 / 1e9)
    }

    /// How often its threads have gone to sleep by themselves.
    pub fn wake_ups(&self) -> Result<u64> {
        let mut switches = 0;
        for thread in fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            let status = fs::read_to_string(thread?.path().join("status"))?;
            switches += number_after(&status, "voluntary_ctxt_switches:").unwrap_or(0);
        }
        Ok(switches)
    }

    /// Its peak resident memory in bytes.
    pub fn peak_memory(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let kib = number_after(&status, "VmHWM:").context("no VmHWM in its status")?;
        Ok(kib * 1024)
    }

    /// What its programs have cost since they were loaded (`kernel.bpf_stats_enabled` must be set).
    pub fn program_cost(&self) -> Result<ProgramCost> {
        let mut programs = HashMap::new();
        for entry in fs::read_dir(format!("/proc/{}/fdinfo", self.child.id()))? {
            // Descriptors come and go.
            let Ok(info) = fs::read_to_string(entry?.path()) else {
                continue;
            };
            if let (Some(id), Some(ns), Some(runs)) = (
                number_after(&info, "prog_id:"),
                number_after(&info, "run_time_ns:"),
                number_after(&info, "run_cnt:"),
            ) {
                programs.insert(id, (ns, runs));
            }
        }
        Ok(ProgramCost {
            ns: programs.values().map(|(ns, _)| ns).sum(),
            max_runs: programs.values().map(|(_, runs)| *runs).max().unwrap_or(0),
        })
    }

    /// Stops it as Ctrl-C does, and returns what it has written since it attached.
    pub fn stop(mut self) -> Result<Vec<String>> {
        let pid = self.child.id().to_string();
        Command::new("kill").args(["-INT", &pid]).status()?;
        self.child.wait()?;
        Ok(self.output.iter().collect())
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        // It may have been stopped.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn number_after(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}
